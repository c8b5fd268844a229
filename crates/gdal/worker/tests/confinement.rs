//! The sandbox and its limits, from within and from without.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod common;

use std::collections::HashMap;
use std::fmt::Write;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use catchment_gdal::Worker;
use catchment_model::problem::Code;
use common::{BINARY, Place, collection, houses};
use serde_json::Value;

#[test]
fn nothing_outside_can_be_read_written_reached_or_started() {
    let place = Place::new();
    let secret = place.write("secret", "secret");
    let target = place.path("written");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(BINARY)
        .args(["sandbox", "--json", "--probe", "--read"])
        .arg(&secret)
        .arg("--write")
        .arg(&target)
        .args(["--connect", &listener.local_addr().unwrap().to_string()])
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{findings:#}");
    assert!(!target.exists());
    let attempts: HashMap<&str, bool> = findings["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| {
            let what = attempt["what"].as_str().unwrap();
            (what.split(' ').next().unwrap(), attempt["refused"].as_bool().unwrap())
        })
        .filter(|(what, _)| *what != "write" && *what != "read")
        .collect();
    assert_eq!(attempts, HashMap::from([("connect", true), ("start", true), ("trace", true)]));
}

#[tokio::test]
async fn what_is_in_force_is_in_the_header_and_in_the_report() {
    let place = Place::new();
    let outcome = place.read(&place.write("a.geojson", houses(1)), "GeoJSON").await.unwrap();
    let report = Worker::new(BINARY).sandbox_report().await.unwrap();
    assert_eq!(outcome.header.sandbox.missing(), report.missing());
    assert!(report.files_confined && report.network_confined, "{report:?}");
    for name in ["no_new_privileges", "capabilities", "limits", "seccomp"] {
        assert!(report.layers.iter().any(|layer| layer.name == name && layer.in_force), "{name}: {report:?}");
    }
}

/// A KML is parsed into a tree in memory, whatever its size.
fn large_kml() -> String {
    let mut kml = String::from("<?xml version=\"1.0\"?><kml xmlns=\"http://www.opengis.net/kml/2.2\"><Document>");
    for id in 0..60_000 {
        let _ = write!(
            kml,
            "<Placemark><name>{id}</name><Point><coordinates>{},1</coordinates></Point></Placemark>",
            id % 90
        );
    }
    kml.push_str("</Document></kml>");
    kml
}

#[tokio::test]
async fn a_file_that_needs_more_memory_than_allowed_fails_with_that_reason() {
    let mut place = Place::new();
    place.worker.limits.memory = 24 << 20;
    let problem = place.read(&place.write("a.kml", large_kml()), "KML").await.err().unwrap();
    assert_eq!(problem.code, Code::LimitExceeded, "{problem}");
    assert!(problem.what.contains("memory"), "{problem}");
    let ring = "[1.5,2.5],".repeat(2_000_000);
    let feature = format!(
        r#"{{"type":"Feature","properties":{{}},"geometry":{{"type":"LineString","coordinates":[{ring}[0,0]]}}}}"#
    );
    let problem = place.read(&place.write("a.geojson", collection(&[feature])), "GeoJSON").await.err().unwrap();
    assert_eq!(problem.code, Code::LimitExceeded, "{problem}");
}

#[tokio::test]
async fn a_file_that_needs_more_processor_time_than_allowed_fails_with_that_reason() {
    let mut place = Place::new();
    place.worker.limits.cpu = Duration::from_secs(1);
    let problem = place.read(&place.write("a.geojson", houses(900_000)), "GeoJSON").await.err().unwrap();
    assert_eq!(problem.code, Code::LimitExceeded, "{problem}");
    assert!(problem.what.contains("processor time"), "{problem}");
}

#[tokio::test]
async fn a_file_that_takes_longer_than_allowed_is_stopped() {
    let mut place = Place::new();
    place.worker.limits.wait = Duration::from_millis(300);
    let problem = place.read(&place.write("a.geojson", houses(900_000)), "GeoJSON").await.err().unwrap();
    assert_eq!(problem.code, Code::LimitExceeded, "{problem}");
    assert!(problem.what.contains("longer than"), "{problem}");
}
