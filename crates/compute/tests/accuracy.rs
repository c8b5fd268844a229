//! Coordinates agree with those of Debian's `ogr2ogr`, on real data, within 1e-8 degrees.
//!
//! The data are those of `CATCHMENT_TEST_DATA` (by default `../shared/data` beside the checkout). Where that folder
//! is missing these tests have nothing to compare, except with `CI=true`, where it must be there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use catchment_compute::proj::{Transformer, resolve};
use serde_json::Value;

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("CATCHMENT_TEST_DATA").map_or(beside, PathBuf::from);
    assert!(
        folder.is_dir() || std::env::var("CI").is_err(),
        "CATCHMENT_TEST_DATA names no folder: {}",
        folder.display()
    );
    folder.is_dir().then_some(folder)
}

fn ogr2ogr(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ogr2ogr").args(arguments).output().expect("ogr2ogr is there (Debian's gdal-bin)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All positions of a file in the order of the file, as GDAL writes them with all their digits.
fn positions(file: &str, options: &[&str]) -> Vec<(f64, f64)> {
    fn collect(value: &Value, into: &mut Vec<(f64, f64)>) {
        match value.as_array().map(Vec::as_slice) {
            Some([Value::Number(x), Value::Number(y), ..]) => into.push((x.as_f64().unwrap(), y.as_f64().unwrap())),
            Some(parts) => parts.iter().for_each(|part| collect(part, into)),
            None => {}
        }
    }
    let mut arguments = vec!["-f", "GeoJSON", "/vsistdout/", file, "-lco", "COORDINATE_PRECISION=15"];
    arguments.extend(options);
    let json: Value = serde_json::from_slice(&ogr2ogr(&arguments)).unwrap();
    let mut found = Vec::new();
    for feature in json["features"].as_array().unwrap() {
        collect(&feature["geometry"]["coordinates"], &mut found);
    }
    found
}

fn agree(file: &str, crs: &str) {
    let source = positions(file, &[]);
    let theirs = positions(file, &["-t_srs", "EPSG:4326"]);
    assert!(source.len() == theirs.len() && source.len() > 10);
    let (mut x, mut y): (Vec<f64>, Vec<f64>) = source.into_iter().unzip();
    let mut transformer = Transformer::new(&resolve(crs).unwrap(), &resolve("EPSG:4326").unwrap()).unwrap();
    transformer.transform(&mut x, &mut y, &mut []);
    for ((x, y), (their_x, their_y)) in x.iter().zip(&y).zip(theirs) {
        assert!((x - their_x).abs() < 1e-8 && (y - their_y).abs() < 1e-8, "({x}, {y}) and ({their_x}, {their_y})");
    }
}

#[test]
fn new_york_in_us_feet_agrees_with_ogr2ogr() {
    let Some(data) = data() else { return };
    let zip = std::fs::read_dir(data.join("nybb")).unwrap().map(|entry| entry.unwrap().path());
    let zip = zip.into_iter().find(|path| path.extension().is_some_and(|e| e == "zip")).expect("a zipped Shapefile");
    agree(&format!("/vsizip/{}", zip.display()), "EPSG:2263");
}

#[test]
fn switzerland_in_lv95_agrees_with_ogr2ogr() {
    let Some(data) = data() else { return };
    let shape = std::fs::read_dir(data.join("natural_earth")).unwrap().map(|entry| entry.unwrap().path());
    let shape = shape.into_iter().find(|path| path.extension().is_some_and(|e| e == "shp")).expect("a Shapefile");
    let folder = tempfile::tempdir().unwrap();
    let lv95 = folder.path().join("lv95.gpkg").display().to_string();
    ogr2ogr(&[
        &lv95,
        &shape.display().to_string(),
        "-t_srs",
        "EPSG:2056",
        "-clipsrc",
        "5.96",
        "45.82",
        "10.49",
        "47.81",
    ]);
    agree(&lv95, "EPSG:2056");
}
