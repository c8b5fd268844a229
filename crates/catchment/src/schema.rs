//! JSON Schemas of config: what it may hold, and nothing else.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

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

/// The names of the fields that there are, where the schema at `path` (a JSON pointer to its `additionalProperties`)
/// allows no other.
pub(crate) fn known_fields(schema: &Value, path: &str) -> String {
    let known = path.rsplit_once('/').and_then(|(parent, _)| schema.pointer(parent)?.get("properties")?.as_object());
    known.into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect::<Vec<_>>().join(", ")
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
    fn a_schema_allows_the_fields_that_there_are_and_no_other() {
        let schema = schema_of::<Outer>();
        let allows = |config: Value| jsonschema::is_valid(&schema, &config);
        let good = json!({
            "inner": [{"depth": 1}], "free": {"a": {"depth": 2}}, "any": {"x": 1},
            "kind": {"type": "Area", "depth": 3},
        });
        assert!(allows(good.clone()));
        for (place, name) in [("", "iner"), ("/inner/0", "deep"), ("/free/a", "deep")] {
            let mut wrong = good.clone();
            wrong.pointer_mut(place).unwrap()[name] = json!(1);
            assert!(!allows(wrong.clone()), "{wrong}");
        }
        assert_eq!(known_fields(&schema, "/properties/inner/items/additionalProperties"), "depth");
    }
}
