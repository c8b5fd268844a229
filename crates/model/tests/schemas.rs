//! The committed JSON Schemas are those of the types. `UPDATE_SCHEMAS=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use catchment_model::schemas;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

fn compare(name: &str, schema: &Value) {
    let path = folder().join(name);
    let text = format!("{schema:#}\n");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "schemas/{name} is not what the types say: run `UPDATE_SCHEMAS=1 ./test quick`");
}

#[test]
fn the_committed_schema_of_the_manifest_is_that_of_the_type() {
    compare("manifest.schema.json", &schemas::manifest());
}

#[test]
fn the_committed_schema_of_each_collection_is_that_of_its_type() {
    for name in schemas::COLLECTIONS {
        compare(&format!("ledger/{name}.schema.json"), &schemas::collection(name).unwrap());
    }
}

#[test]
fn a_schema_says_its_draft_and_describes_every_field() {
    let schema = schemas::manifest();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (name, field) in schema["properties"].as_object().unwrap() {
        assert!(field["description"].is_string(), "{name} has no description");
    }
}
