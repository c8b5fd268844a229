//! The JSON Schemas (draft 2020-12) of what is exchanged, generated from the types. Copies are committed under
//! `schemas/`; a test compares them and writes them anew when `UPDATE_SCHEMAS=1` is set.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::documents::{ActivityLog, Asset, Dataset, Lineage, ManifestDoc, RejectedManifest, RunDoc};
use crate::manifest::Manifest;

/// The ledger's collections, by name.
pub const COLLECTIONS: [&str; 7] =
    ["manifests", "rejected_manifests", "runs", "assets", "lineage", "activity_logs", "datasets"];

/// The schema of a manifest.
pub fn manifest() -> Value {
    schema_of::<Manifest>()
}

/// The schema of a collection's documents; `None` where there is no such collection.
pub fn collection(name: &str) -> Option<Value> {
    Some(match name {
        "manifests" => schema_of::<ManifestDoc>(),
        "rejected_manifests" => schema_of::<RejectedManifest>(),
        "runs" => schema_of::<RunDoc>(),
        "assets" => schema_of::<Asset>(),
        "lineage" => schema_of::<Lineage>(),
        "activity_logs" => schema_of::<ActivityLog>(),
        "datasets" => schema_of::<Dataset>(),
        _ => return None,
    })
}

fn schema_of<T: JsonSchema>() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
    let Value::Object(mut members) = schema else { return schema };
    // What a reader looks for comes first.
    let mut ordered = Map::new();
    for name in ["$schema", "title", "description"] {
        if let Some(member) = members.shift_remove(name) {
            ordered.insert(name.to_owned(), member);
        }
    }
    ordered.append(&mut members);
    Value::Object(ordered)
}
