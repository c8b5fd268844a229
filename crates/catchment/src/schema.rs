//! JSON Schemas of config: what it may hold, and nothing else.

use catchment_model::Fault;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Whatever stands beside `properties` under one of these names may allow further fields.
const OPENS: [&str; 7] =
    ["additionalProperties", "unevaluatedProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"];

/// The JSON Schema of `T` without references, so that it can stand inside another. A field that `T` would pass over is
/// not allowed: whoever gives one has mistyped it.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(close);
        if !OPENS.iter().any(|name| schema.contains_key(*name)) {
            schema.insert("additionalProperties".to_owned(), false.into());
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(name) {
            close(inner);
        }
    }
}

/// The fields of a config that its schema does not allow, each with its path, which begins with `root`.
pub(crate) fn unknown_fields(schema: &Value, config: &Value, root: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    look(schema, config, root, &mut faults);
    faults
}

fn look(schema: &Value, config: &Value, path: &str, faults: &mut Vec<Fault>) {
    match config {
        Value::Object(fields) => {
            let none = Map::new();
            let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            let further = schema.get("additionalProperties");
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match (known.get(name), further) {
                    (Some(schema), _) | (None, Some(schema @ Value::Object(_))) => look(schema, value, &path, faults),
                    (None, Some(Value::Bool(false))) => faults.push(Fault {
                        path,
                        what: "there is no such field".to_owned(),
                        allowed: known.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
                    }),
                    _ => {}
                }
            }
        }
        Value::Array(values) => {
            let Some(schema) = schema.get("items") else { return };
            for (place, value) in values.iter().enumerate() {
                look(schema, value, &format!("{path}[{place}]"), faults);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Outer {
        inner: Option<Vec<Inner>>,
        free: BTreeMap<String, Inner>,
        any: Value,
        kind: Kind,
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Inner {
        depth: u32,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(tag = "type")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Kind {
        Line { width: f64 },
        Area(Inner),
    }

    #[test]
    fn a_field_that_nobody_reads_is_told_with_its_path_and_the_fields_that_there_are() {
        let schema = schema_of::<Outer>();
        let paths = |config: Value| {
            unknown_fields(&schema, &config, "$").into_iter().map(|fault| fault.path).collect::<Vec<_>>()
        };
        let good = json!({
            "inner": [{"depth": 1}], "free": {"a": {"depth": 2}}, "any": {"x": 1},
            "kind": {"type": "Area", "depth": 3},
        });
        assert_eq!(paths(good), [""; 0]);
        assert_eq!(paths(json!({"iner": [], "any": 1})), ["$.iner"]);
        assert_eq!(paths(json!({"free": {"a": {"deep": 1}}})), ["$.free.a.deep"]);
        let faults = unknown_fields(&schema_of::<Inner>(), &json!({"deep": 1}), "$");
        assert_eq!(faults[0].allowed, "depth");
    }

    #[test]
    fn the_schema_says_so_too() {
        assert_eq!(schema_of::<Inner>()["additionalProperties"], false);
        assert_eq!(schema_of::<Kind>().get("additionalProperties"), None);
    }
}
