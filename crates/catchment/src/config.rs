//! Run config: `{"ops": {"<step>": {"config": …}}}`, its schema and its faults.

use catchment_model::{Code, Fault, Problem};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::definitions::Definitions;
use crate::extract::Need;

/// Reads a value as `T`; the fault's path begins with `root`.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, root: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => root.to_owned(),
            inner if inner.starts_with('[') => format!("{root}{inner}"),
            inner => format!("{root}.{inner}"),
        };
        Fault { path, what: error.into_inner().to_string(), allowed: "see the config's JSON Schema".into() }
    })
}

/// The JSON Schema of `T` without references, so that it can stand inside another.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// One problem for all faults of a run config.
pub(crate) fn problem(faults: Vec<Fault>) -> Problem {
    Problem::new(Code::InvalidConfig, "the run config is wrong").faults(faults)
}

/// The JSON Schema of a job's run config.
pub(crate) fn job_schema(definitions: &Definitions, steps: &[String]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for step in steps {
        let Some(asset) = definitions.asset(step) else { continue };
        let Some(schema) = asset.config_schema() else { continue };
        let wanted = asset.requires_config();
        let inner = if wanted { json!(["config"]) } else { json!([]) };
        properties.insert(
            step.clone(),
            json!({"type": "object", "properties": {"config": schema}, "required": inner, "additionalProperties": false}),
        );
        if wanted {
            required.push(step.clone());
        }
    }
    let outer = if required.is_empty() { json!([]) } else { json!(["ops"]) };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "ops": {"type": "object", "properties": properties, "required": required, "additionalProperties": false},
        },
        "required": outer,
        "additionalProperties": false,
    })
}

/// Every fault of a run config for these steps, with its JSON path; none where it is good.
pub(crate) fn faults(definitions: &Definitions, steps: &[String], run_config: &Value) -> Vec<Fault> {
    let mut faults = envelope(steps, run_config);
    for step in steps {
        let Some(asset) = definitions.asset(step) else { continue };
        let root = format!("$.ops.{step}.config");
        let config = run_config.pointer(&format!("/ops/{}/config", escape(step)));
        let Some(Need::Config { schema, check }) = asset.needs.iter().find(|n| matches!(n, Need::Config { .. })) else {
            if config.is_some_and(|c| !c.is_null() && c != &json!({})) {
                faults.push(fault(&root, "this step takes no config", "nothing"));
            }
            continue;
        };
        match config {
            None if !asset.requires_config() => {}
            None => faults.push(fault(&root, "config is missing", "an object as the step's schema says")),
            Some(config) => faults.extend(against(&schema(), *check, config, &root)),
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn envelope(steps: &[String], run_config: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut object = |value: &Value, path: &str, allowed: &dyn Fn(&str) -> bool, names: &str| match value {
        Value::Null => {}
        Value::Object(map) => {
            for name in map.keys().filter(|name| !allowed(name)) {
                faults.push(fault(&format!("{path}.{name}"), "this field is not known", names));
            }
        }
        _ => faults.push(fault(path, "an object is expected here", names)),
    };
    object(run_config, "$", &|name| name == "ops", "ops");
    if let Some(ops) = run_config.get("ops") {
        object(ops, "$.ops", &|name| steps.iter().any(|s| s == name), &steps.join(", "));
        for (name, op) in ops.as_object().into_iter().flatten() {
            object(op, &format!("$.ops.{name}"), &|field| field == "config", "config");
        }
    }
    faults
}

fn against(schema: &Value, check: fn(&Value) -> Result<(), Fault>, config: &Value, root: &str) -> Vec<Fault> {
    let faults: Vec<_> = match jsonschema::validator_for(schema) {
        Err(error) => vec![fault(root, &format!("the step's own schema is wrong: {error}"), "a JSON Schema")],
        Ok(validator) => validator
            .iter_errors(config)
            .map(|error| {
                let path = json_path(root, config, &error.instance_path().to_string());
                fault(&path, &error.to_string(), "see the config's JSON Schema")
            })
            .collect(),
    };
    if !faults.is_empty() {
        return faults;
    }
    match check(config) {
        Ok(()) => Vec::new(),
        Err(found) => vec![Fault { path: format!("{root}{}", found.path.trim_start_matches('$')), ..found }],
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

fn escape(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

fn fault(path: &str, what: &str, allowed: &str) -> Fault {
    Fault { path: path.to_owned(), what: what.to_owned(), allowed: allowed.to_owned() }
}
