//! Bad files, each with its clear error.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use catchment_gdal::ReadRequest;
use catchment_model::problem::{Code, Problem};
use common::{Place, collection, feature, houses, point};

async fn refusal(place: &Place, path: &Path, format: &str) -> Problem {
    match place.read(path, format).await {
        Ok(_) => panic!("{} was read as {format}", path.display()),
        Err(problem) => problem,
    }
}

#[tokio::test]
async fn missing_empty_and_cut_off_files_are_told_apart() {
    let place = Place::new();
    assert_eq!(refusal(&place, &place.path("no.geojson"), "GeoJSON").await.code, Code::FileNotFound);
    assert_eq!(refusal(&place, &place.write("empty.geojson", ""), "GeoJSON").await.code, Code::FileEmpty);
    let whole = houses(10);
    let problem = refusal(&place, &place.write("cut.geojson", &whole[..whole.len() / 2]), "GeoJSON").await;
    assert_eq!(problem.code, Code::FileCorrupt);
    assert!(problem.what.contains("cut off"), "{problem}");
    assert!(problem.place.unwrap().contains("line 5"));
}

#[tokio::test]
async fn binary_files_that_are_cut_off_are_damaged() {
    let place = Place::new();
    let town = place.write("town.geojson", houses(3000));
    for (name, format) in [("town.gpkg", "GPKG"), ("town.fgb", "FGB"), ("town.shp", "SHP")] {
        place.ogr2ogr(&[name, town.to_str().unwrap()]);
        let bytes = fs::read(place.path(name)).unwrap();
        place.write(name, &bytes[..bytes.len() * 2 / 3]);
        let problem = refusal(&place, &place.path(name), format).await;
        assert_eq!(problem.code, Code::FileCorrupt, "{name}: {problem}");
    }
}

#[tokio::test]
async fn a_broken_feature_in_the_middle_is_named_with_its_place() {
    let place = Place::new();
    let features = [
        feature(1, "a", &point(1.0, 2.0)),
        feature(2, "b", r#"{"type":"Polygon","coordinates":[[[1,2],[3],[4,5]]]}"#),
        feature(3, "c", &point(1.0, 2.0)),
    ];
    let problem = refusal(&place, &place.write("a.geojson", collection(&features)), "GeoJSON").await;
    assert_eq!(problem.code, Code::FileCorrupt);
    assert!(problem.place.unwrap().contains("feature 2 (counted from 1), line 2"));
}

#[tokio::test]
async fn a_file_that_is_not_what_the_manifest_says_is_refused_with_both_names() {
    let place = Place::new();
    let town = place.write("town.geojson", houses(2));
    place.ogr2ogr(&["town.gpkg", town.to_str().unwrap()]);
    let problem = refusal(&place, &place.path("town.gpkg"), "GeoJSON").await;
    assert_eq!(problem.code, Code::FormatMismatch);
    assert!(problem.what.contains("GeoJSON") && problem.what.contains("GPKG"), "{problem}");
    let problem = refusal(&place, &place.write("image.geojson", b"II*\0rest of it"), "GeoJSON").await;
    assert!(problem.what.contains("a TIFF image"), "{problem}");
    assert_eq!(refusal(&place, &place.write("junk.shp", "hello"), "SHP").await.code, Code::FormatMismatch);
    assert_eq!(refusal(&place, &town, "PostgreSQL").await.code, Code::FormatNotAllowed);
}

#[tokio::test]
async fn a_virtual_file_that_points_elsewhere_is_never_followed() {
    let place = Place::new();
    let vrt = "<OGRVRTDataSource><OGRVRTLayer name=\"passwd\"><SrcDataSource>/etc/passwd</SrcDataSource>\
               </OGRVRTLayer></OGRVRTDataSource>";
    for name in ["a.vrt", "a.geojson", "a.csv"] {
        for format in ["GeoJSON", "CSV", "VRT"] {
            assert_eq!(refusal(&place, &place.write(name, vrt), format).await.code, Code::FormatNotAllowed);
        }
    }
}

#[tokio::test]
async fn a_crs_that_is_missing_unknown_or_contradicted_is_refused() {
    let place = Place::new();
    let town = place.write("town.geojson", houses(2));
    place.ogr2ogr(&["town.shp", town.to_str().unwrap()]);
    let with = |crs: &str| ReadRequest { crs: Some(crs.to_owned()), ..place.request(&place.path("town.shp"), "SHP") };
    let problem = place.read_as(with("EPSG:2056")).await.err().unwrap();
    assert_eq!(problem.code, Code::CrsConflict);
    assert!(problem.what.contains("EPSG:4326") && problem.what.contains("EPSG:2056"), "{problem}");
    for crs in ["EPSG:999999", "/etc/passwd", "http://127.0.0.1/crs", "nonsense"] {
        assert_eq!(place.read_as(with(crs)).await.err().unwrap().code, Code::CrsInvalid, "{crs}");
    }
    fs::remove_file(place.path("town.prj")).unwrap();
    let problem = refusal(&place, &place.path("town.shp"), "SHP").await;
    assert_eq!(problem.code, Code::CrsMissing);
    assert!(problem.remedy.unwrap().contains("`crs`"));
}

#[tokio::test]
async fn two_layers_need_a_name_and_an_unknown_one_is_refused_with_the_list() {
    let place = Place::new();
    let town = place.write("town.geojson", houses(2));
    place.ogr2ogr(&["two.gpkg", town.to_str().unwrap(), "-nln", "roads"]);
    place.ogr2ogr(&["-append", "two.gpkg", town.to_str().unwrap(), "-nln", "houses"]);
    let request = ReadRequest { layer: Some("rivers".to_owned()), ..place.request(&place.path("two.gpkg"), "GPKG") };
    for problem in [refusal(&place, &place.path("two.gpkg"), "GPKG").await, place.read_as(request).await.err().unwrap()]
    {
        assert_eq!(problem.code, Code::LayerAmbiguous);
        assert!(problem.cause.unwrap().contains("`roads`, `houses`"));
    }
}

#[tokio::test]
async fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let place = Place::new();
    let mut writer = zip::ZipWriter::new(fs::File::create(place.path("bomb.zip")).unwrap());
    writer.start_file("a.geojson", zip::write::SimpleFileOptions::default()).unwrap();
    let zeros = vec![b'0'; 1 << 20];
    for _ in 0..80 {
        writer.write_all(&zeros).unwrap();
    }
    writer.finish().unwrap();
    let problem = refusal(&place, &place.path("bomb.zip"), "GeoJSON").await;
    assert_eq!(problem.code, Code::ArchiveRefused);
    assert!(problem.what.contains("times its size"), "{problem}");
}

#[tokio::test]
async fn hostile_and_ambiguous_archives_are_refused() {
    let mut place = Place::new();
    let town = place.write("town.geojson", houses(2));
    for member in ["../town.geojson", "/tmp/town.geojson", "..\\town.geojson", "C:\\town.geojson"] {
        let archive = place.zip("evil.zip", &[(member, &town)]);
        assert_eq!(refusal(&place, &archive, "GeoJSON").await.code, Code::ArchiveRefused, "{member}");
    }
    let mut writer = zip::ZipWriter::new(fs::File::create(place.path("link.zip")).unwrap());
    writer.add_symlink("town.geojson", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    assert_eq!(refusal(&place, &place.path("link.zip"), "GeoJSON").await.code, Code::ArchiveRefused);
    let archive = place.zip("two.zip", &[("a.geojson", &town), ("b.geojson", &town)]);
    let problem = refusal(&place, &archive, "GeoJSON").await;
    assert_eq!(problem.code, Code::LayerAmbiguous);
    assert!(problem.cause.unwrap().contains("`a.geojson`, `b.geojson`"));
    assert_eq!(refusal(&place, &archive, "SHP").await.code, Code::FormatMismatch);
    let bytes = fs::read(&archive).unwrap();
    let cut = place.write("cut.zip", &bytes[..bytes.len() / 2]);
    assert_eq!(refusal(&place, &cut, "GeoJSON").await.code, Code::FileCorrupt);
    place.worker.limits.archive_members = 1;
    assert_eq!(refusal(&place, &archive, "GeoJSON").await.code, Code::ArchiveRefused);
}

#[tokio::test]
async fn text_that_is_not_in_the_claimed_encoding_names_the_field() {
    let place = Place::new();
    let town = houses(2).replace("Höuse", "H?use").into_bytes();
    let town: Vec<u8> = town.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    let problem = refusal(&place, &place.write("a.geojson", town), "GeoJSON").await;
    assert_eq!(problem.code, Code::FileCorrupt);
    assert!(problem.what.contains("`name`"), "{problem}");
}

#[tokio::test]
async fn a_gml_whose_schema_would_merge_its_parts_is_refused() {
    let place = Place::new();
    let parts = r#"{"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]],[[[5,5],[6,5],[6,6],[5,5]]]]}"#;
    let mixed = place.write("a.geojson", collection(&[feature(1, "a", parts)]));
    place.ogr2ogr(&["-f", "GML", "sound.gml", mixed.to_str().unwrap()]);
    assert!(place.read(&place.path("sound.gml"), "GML").await.is_ok());
    let schema = fs::read_to_string(place.path("sound.xsd")).unwrap();
    let schema = schema.replace("MultiSurfaceProperty", "SurfaceProperty").replace("to MultiPolygon", "to Polygon");
    place.write("sound.xsd", schema);
    let problem = refusal(&place, &place.path("sound.gml"), "GML").await;
    assert!(problem.what.contains("schema says POLYGON"), "{problem}");
}
