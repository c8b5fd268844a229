//! What uploaders read when their manifest is wrong, fixed by snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use catchment_model::manifest::{FileType, JoinHow, Rules, TagValue};
use catchment_model::{Manifest, Problem};
use serde_json::{Value, json};

fn rules() -> Rules {
    Rules { landing_bucket: "landing-zone".into() }
}

fn parse(text: &str) -> Result<Manifest, Problem> {
    Manifest::parse(text.as_bytes(), &rules())
}

/// Compares with the committed text (`INSTA_UPDATE=always` writes it anew).
fn snapshot(name: &str, text: String) {
    insta::assert_snapshot!(name, text);
}

/// The problem as a person sees it: a line for each fault.
fn refused(text: &str) -> String {
    let problem = parse(text).expect_err("it should be refused");
    let mut lines = vec![format!("{}: {}", problem.code, problem.what)];
    lines.extend(problem.place.map(|place| format!("at {place}")));
    lines.extend(problem.cause.map(|cause| format!("because {cause}")));
    lines.extend(problem.faults.iter().map(|f| format!("{} {} | allowed: {}", f.path, f.what, f.allowed)));
    lines.extend(problem.remedy.map(|remedy| format!("remedy: {remedy}")));
    lines.join("\n")
}

fn good() -> Value {
    json!({
        "batch_id": "batch-1",
        "uploader": "alice",
        "intent": "ingest_vector",
        "files": [{
            "path": "s3://landing-zone/batch-1/parcels.geojson",
            "type": "vector",
            "format": "GeoJSON",
            "crs": "EPSG:4326",
        }],
        "metadata": {
            "project": "ALPHA", "description": "User supplied context",
            "title": "", "keywords": [], "source": "", "license": "", "attribution": "",
            "tags": {"dataset_id": "parcels", "priority": 1, "tolerance": 0.5, "draft": true},
            "join_config": null,
        },
    })
}

fn with(change: impl FnOnce(&mut Value)) -> String {
    let mut manifest = good();
    change(&mut manifest);
    manifest.to_string()
}

#[test]
fn the_contracts_example_is_valid() {
    let manifest = parse(&good().to_string()).unwrap();
    assert_eq!(manifest.dataset_id().as_str(), "parcels");
    assert_eq!(manifest.files[0].kind, FileType::Vector);
    assert_eq!(manifest.files[0].path.key(), "batch-1/parcels.geojson");
    assert_eq!(manifest.metadata.tag("priority"), Some(&TagValue::Integer(1)));
    assert_eq!(manifest.metadata.tag("tolerance").and_then(TagValue::as_f64), Some(0.5));
    assert_eq!(manifest.metadata.tag("draft"), Some(&TagValue::Bool(true)));
    assert!(manifest.metadata.join_config.is_none());
}

#[test]
fn metadata_may_be_empty_and_the_dataset_then_follows_from_the_batch() {
    let manifest = parse(&with(|m| m["metadata"] = json!({}))).unwrap();
    assert_eq!(manifest.dataset_id(), catchment_model::DatasetId::of_batch("batch-1"));
}

#[test]
fn a_join_has_no_files_and_says_what_it_joins() {
    let text = with(|m| {
        m["intent"] = json!("join_datasets");
        m.as_object_mut().unwrap().remove("files");
        m["metadata"]["join_config"] =
            json!({"spatial_dataset_id": "parcels", "tabular_dataset_id": "owners", "left_key": "id"});
    });
    let join = parse(&text).unwrap().metadata.join_config.unwrap();
    assert_eq!((join.how, join.right_key, join.spatial_version), (JoinHow::Left, None, None));
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    assert!(parse(&format!("\u{feff}{}", good())).is_ok());
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    snapshot(
        "not_json",
        [
            refused(""),
            refused("batch_id: a"),
            refused("{\n  \"batch_id\": \"a\",\n}"),
            refused("{\"batch_id\": \"a\""),
            refused("[1, 2"),
            refused("[1, 2]"),
            refused(&format!("{}null{}", "[".repeat(40), "]".repeat(40))),
            refused(&format!("\"{}\"", "x".repeat(1 << 20))),
        ]
        .join("\n\n"),
    );
}

#[test]
fn text_that_is_not_utf8_is_told_with_its_place() {
    let problem = Manifest::parse(b"{\"batch_id\": \"\xff\"}", &rules()).unwrap_err();
    assert_eq!(problem.place.as_deref(), Some("byte 15"));
}

#[test]
fn ten_faults_are_told_at_once() {
    snapshot(
        "ten_faults",
        refused(
            r#"{
            "batch_id": " ", "batchid": "a", "uploader": 7, "intent": "ingest vector", "files": [
                {"path": "s3://data-lake/x.geojson", "type": "vecto", "format": "GeoJSON", "crs": "2056"},
                {"path": "s3://landing-zone/../x", "type": "vector", "formt": "GPKG"},
                {"path": "s3://landing-zone/a.gpkg", "type": "vector", "format": "GPKG", "crs": "LV95"},
                {"path": "s3://landing-zone/a.gpkg", "type": "vector", "format": "GPKG", "layer": ""}
            ],
            "metadata": {"tags": {"dataset_id": "../etc", "list": [1]}, "titel": "x", "keywords": "a"}
        }"#,
        ),
    );
}

#[test]
fn names_that_occur_twice_are_told() {
    let text = r#"{"batch_id": "a", "batch_id": "b", "uploader": "u", "intent": "ingest_vector",
        "files": [{"path": "s3://landing-zone/a", "path": "s3://landing-zone/b", "type": "vector", "format": "GPKG"}],
        "metadata": {}}"#;
    snapshot("names_twice", refused(text));
}

#[test]
fn what_is_missing_is_told() {
    snapshot(
        "missing",
        [
            refused("{}"),
            refused(
                r#"{"batch_id": null, "uploader": "u", "intent": "x", "files": [{}], "metadata": {"join_config": {}}}"#,
            ),
        ]
        .join("\n\n"),
    );
}

#[test]
fn an_intent_and_its_files_must_agree() {
    snapshot("intents", [
        refused(&with(|m| m["intent"] = json!("ingest_raster"))),
        refused(&with(|m| m["files"] = json!([]))),
        refused(&with(|m| m["intent"] = json!("join_datasets"))),
        refused(&with(|m| { m["intent"] = json!("my_recipe"); m["files"][0]["type"] = json!("tabular"); })),
        refused(&with(|m| m["metadata"]["join_config"] = json!({
            "spatial_dataset_id": "a", "tabular_dataset_id": "b/c", "left_key": "k", "how": "cross", "spatial_version": 0
        }))),
    ].join("\n\n"));
}

#[test]
fn files_lie_in_the_landing_zone_and_not_among_manifests() {
    snapshot(
        "paths",
        [
            "s3://data-lake/x",
            "s3://landing-zone/manifests/x.json",
            "/tmp/x",
            "s3://landing-zone/a/../b",
            "s3://landing-zone/",
            "https://example.org/x",
        ]
        .map(|path| refused(&with(|m| m["files"][0]["path"] = json!(path))))
        .join("\n\n"),
    );
}

#[test]
fn a_crs_is_taken_in_any_of_its_notations() {
    for crs in [
        "EPSG:2056",
        "epsg:4326",
        "OGC:CRS84",
        "ESRI:102100",
        "+proj=longlat +datum=WGS84",
        "urn:ogc:def:crs:EPSG::2056",
        "GEOGCS[\"WGS 84\",DATUM[\"WGS_1984\",SPHEROID[\"WGS 84\",6378137,298.257223563]]]",
        "PROJCRS[\"a\"]",
        "COMPD_CS[\"a\"]",
    ] {
        assert!(parse(&with(|m| m["files"][0]["crs"] = json!(crs))).is_ok(), "{crs}");
    }
    for bad in ["2056", "WGS84", "EPSG:", "EPSG:abc", "EPSG 2056"] {
        assert!(parse(&with(|m| m["files"][0]["crs"] = json!(bad))).is_err(), "{bad}");
    }
}

#[test]
fn more_faults_than_a_person_reads_are_counted() {
    let mut manifest = good();
    for i in 0..500 {
        manifest[format!("extra {i}")] = json!(i);
    }
    let problem = parse(&manifest.to_string()).unwrap_err();
    assert_eq!(problem.faults.len(), 101);
    assert_eq!(problem.faults[100].what, "has 400 more faults, not listed");
}
