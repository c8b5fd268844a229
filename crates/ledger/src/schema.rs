//! Each document is checked against its collection's JSON Schema before it is stored.

use std::sync::OnceLock;

use catchment_model::{Fault, schemas};
use jsonschema::Validator;
use serde::Serialize;
use serde_json::Value;

use crate::{LedgerError, Result};

/// Compiled when a collection is first written: a process that writes to one pays for one.
static VALIDATORS: [OnceLock<Option<Validator>>; schemas::COLLECTIONS.len()] =
    [const { OnceLock::new() }; schemas::COLLECTIONS.len()];

/// The document as JSON text, where it fits the schema of its collection.
///
/// # Errors
/// [`LedgerError::Schema`] with every fault.
pub fn checked(collection: &'static str, document: &impl Serialize) -> Result<String> {
    let bug = |what: String| LedgerError::Schema {
        collection,
        faults: vec![Fault { path: "$".into(), what, allowed: "a document of this collection".into() }],
    };
    let value = serde_json::to_value(document).map_err(|e| bug(e.to_string()))?;
    let at = schemas::COLLECTIONS.iter().position(|name| *name == collection);
    let validator = at.and_then(|at| {
        VALIDATORS[at]
            .get_or_init(|| schemas::collection(collection).and_then(|schema| jsonschema::validator_for(&schema).ok()))
            .as_ref()
    });
    let Some(validator) = validator else { return Err(bug("the collection has no usable schema".into())) };
    if !validator.is_valid(&value) {
        return Err(LedgerError::Schema { collection, faults: faults(validator, &value) });
    }
    serde_json::to_string(&value).map_err(|e| bug(e.to_string()))
}

fn faults(validator: &Validator, value: &Value) -> Vec<Fault> {
    validator
        .iter_errors(value)
        .take(20)
        .map(|error| Fault {
            path: format!("${}", error.instance_path().to_string().replace('/', ".")),
            what: error.to_string(),
            allowed: format!("what the schema says at {}", error.schema_path()),
        })
        .collect()
}
