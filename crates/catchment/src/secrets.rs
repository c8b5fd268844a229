//! Environment variables in config: `{"env": "NAME"}` stands for the value of NAME wherever the config's schema wants
//! a text or number there. The value is put in where config is read, so it is stored and shown nowhere. A code server
//! gives its runs the variables that their config names; no others of its own reach them.

use std::ops::Deref;

use catchment_model::Fault;
use jsonschema::error::ValidationErrorKind;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::fault;
use crate::schema::known_fields;

/// A password, key or token in config. It cannot be printed; [`reveal`](catchment_settings::Secret::reveal) is the
/// only way to the text. In a run config it is best an environment variable: `{"env": "NAME"}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
pub struct Secret(#[schemars(with = "String")] catchment_settings::Secret);

impl Secret {
    /// Wraps a text, for a test.
    pub fn new(text: impl Into<String>) -> Self {
        Self(catchment_settings::Secret::new(text))
    }
}

impl Deref for Secret {
    type Target = catchment_settings::Secret;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

const VARIABLE: &str = "the environment variable";
const IS_NOT_SET: &str = "is not set where the code location runs: set it there, or in its `environment`";

/// Whether a fault is that an environment variable is not set here.
pub(crate) fn is_unset(fault: &Fault) -> bool {
    fault.what.starts_with(VARIABLE) && fault.what.ends_with(IS_NOT_SET)
}

/// Config with the values of environment variables in it.
pub(crate) struct Resolved {
    pub(crate) value: Value,
    /// The JSON paths of those values.
    secret: Vec<String>,
}

impl Resolved {
    /// The fault without any value of an environment variable.
    pub(crate) fn masked(&self, found: Fault) -> Fault {
        let touches = |path: &&String| path.starts_with(&found.path) || found.path.starts_with(path.as_str());
        match self.secret.iter().find(touches) {
            None => found,
            Some(_) => Fault { what: "the value of the environment variable does not fit here".to_owned(), ..found },
        }
    }
}

/// Checks config by its schema, after putting environment variables in where it does not fit without.
pub(crate) fn resolve(schema: &Value, config: &Value, root: &str) -> Result<Resolved, Vec<Fault>> {
    let validator = jsonschema::validator_for(schema)
        .map_err(|error| vec![fault(root, &format!("its own schema is wrong: {error}"), "a JSON Schema")])?;
    let mut value = config.clone();
    let mut missing = Vec::new();
    let places: Vec<String> = validator.iter_errors(config).map(|e| e.instance_path().to_string()).collect();
    let mut found = Vec::new();
    for place in &places {
        variables(config.pointer(place).unwrap_or(&Value::Null), place, &mut found);
    }
    found.sort();
    found.dedup();
    for (place, name) in &found {
        match std::env::var(name) {
            Ok(text) => put(&mut value, place, &text, &validator),
            Err(_) => {
                let what = format!("{VARIABLE} {name} {IS_NOT_SET}");
                missing.push(fault(&json_path(root, config, place), &what, "the name of a variable that is set"));
            }
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let secret = found.iter().map(|(place, _)| json_path(root, config, place)).collect();
    let resolved = Resolved { value, secret };
    let faults: Vec<_> = validator
        .iter_errors(&resolved.value)
        .flat_map(|error| {
            let path = json_path(root, config, &error.instance_path().to_string());
            match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    let allowed = known_fields(schema, &error.schema_path().to_string());
                    let of = |name| fault(&format!("{path}.{name}"), "there is no such field", &allowed);
                    unexpected.iter().map(of).collect()
                }
                _ => vec![resolved.masked(fault(&path, &error.to_string(), "see the config's JSON Schema"))],
            }
        })
        .collect();
    if faults.is_empty() { Ok(resolved) } else { Err(faults) }
}

/// The environment variables that config may name, at any depth.
pub(crate) fn named(config: &Value) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    variables(config, "", &mut found);
    found.into_iter().map(|(_, name)| name)
}

/// Every `{"env": "NAME"}` at a place or below, by JSON pointer.
fn variables(value: &Value, place: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => match (map.len(), map.get("env")) {
            (1, Some(Value::String(name))) => found.push((place.to_owned(), name.clone())),
            _ => map.iter().for_each(|(name, inner)| {
                let name = name.replace('~', "~0").replace('/', "~1");
                variables(inner, &format!("{place}/{name}"), found);
            }),
        },
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, inner)| variables(inner, &format!("{place}/{at}"), found));
        }
        _ => {}
    }
}

/// Puts a text in; as a number or truth value where only that fits.
fn put(value: &mut Value, place: &str, text: &str, validator: &jsonschema::Validator) {
    let fits = |value: &Value| !validator.iter_errors(value).any(|error| error.instance_path().to_string() == place);
    let mut set = |new: Value| {
        if let Some(slot) = value.pointer_mut(place) {
            *slot = new;
        }
        fits(value)
    };
    if set(Value::String(text.to_owned())) {
        return;
    }
    let fitted = serde_json::from_str(text).ok().filter(|scalar: &Value| scalar.is_number() || scalar.is_boolean());
    if !fitted.is_some_and(&mut set) {
        set(Value::String(text.to_owned()));
    }
}

/// A JSON pointer (RFC 6901) into `document` as a JSON path (RFC 9535).
fn json_path(root: &str, document: &Value, pointer: &str) -> String {
    let mut path = root.to_owned();
    let mut here = Some(document);
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Array(items)) = here {
            path.push_str(&format!("[{name}]"));
            here = name.parse::<usize>().ok().and_then(|at| items.get(at));
        } else {
            path.push_str(&format!(".{name}"));
            here = here.and_then(|value| value.get(&name));
        }
    }
    path
}
