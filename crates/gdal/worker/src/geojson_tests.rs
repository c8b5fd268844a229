//! What the look at a GeoJSON file finds.

use super::*;

fn collection(features: &[&str]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

fn feature(geometry: &str) -> String {
    format!(r#"{{"type":"Feature","properties":{{"a":[1,{{}}]}},"geometry":{geometry}}}"#)
}

#[test]
fn whole_files_are_counted() {
    let features: Vec<String> = [
        "null",
        r#"{"type":"Point","coordinates":[1,2.5,-3]}"#,
        r#"{"coordinates":[],"type":"Polygon"}"#,
        r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]],[]]}"#,
        r#"{"type":"GeometryCollection","geometries":[{"type":"LineString","coordinates":[[0,0],[1,1]]}]}"#,
    ]
    .iter()
    .map(|geometry| feature(geometry))
    .collect();
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    let tally = check_object(collection(&features).as_bytes(), &|_| {}).unwrap();
    assert_eq!(tally, Tally { features: 5, null_geometries: 1 });
    assert_eq!(check_object(br#"{"coordinates":[1,2],"type":"Point"}"#, &|_| {}).unwrap().features, 1);
    assert_eq!(check_sequence(format!("{}\n\n{}\n", features[0], features[1]).as_bytes()).unwrap().features, 2);
}

#[test]
fn a_broken_feature_is_named_with_its_place() {
    for (broken, why) in [
        (feature(r#"{"type":"Point","coordinates":["a","b"]}"#), "expected a number"),
        (feature(r#"{"type":"Polygon","coordinates":[[[1,2],[3],[4,5]]]}"#), "fewer than two"),
        (feature(r#"{"type":"Polygon","coordinates":[[1,2],[3,4]]}"#), "not nested"),
        (feature(r#"{"type":"Blob","coordinates":[1,2]}"#), "Blob"),
        (feature(r#"{"type":"Point"}"#), "no \"coordinates\""),
        (feature("\"POINT(1 2)\""), "geometry object or null"),
        (r#"{"type":"Banana"}"#.to_owned(), "Banana"),
        ("42".to_owned(), "a feature"),
    ] {
        let text = collection(&[&feature("null"), &broken, &feature("null")]);
        let problem = check_object(text.as_bytes(), &|_| {}).unwrap_err();
        assert_eq!(problem.what, "the GeoJSON file has a broken feature", "{broken}");
        assert!(problem.place.clone().unwrap().starts_with("feature 2"), "{broken}: {problem}");
        assert!(problem.cause.clone().unwrap().contains(why), "{broken}: {problem}");
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_never_taken_for_whole() {
    let text = collection(&[&feature("null"), &feature(r#"{"type":"Point","coordinates":[1,2]}"#)]);
    for end in 1..text.len() {
        let problem = check_object(&text.as_bytes()[..end], &|_| {}).unwrap_err();
        assert_eq!(problem.what, "the GeoJSON file is cut off", "{end}");
    }
    assert!(check_object(format!("{text}x").as_bytes(), &|_| {}).unwrap_err().what.contains("not valid JSON"));
}

#[test]
fn a_broken_line_of_a_sequence_is_named() {
    let text = format!("{}\n{}\n{{\"type\":\n", feature("null"), feature("null"));
    let problem = check_sequence(text.as_bytes()).unwrap_err();
    assert!(problem.place.unwrap().starts_with("line 3"), "the third line is broken");
}
