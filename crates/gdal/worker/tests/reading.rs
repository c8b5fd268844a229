//! Files as people have them, read by the real worker through the client.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod common;

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int32Type};
use catchment_gdal::ReadRequest;
use catchment_gdal::protocol::CrsSource;
use common::{Outcome, Place, collection, feature, houses, point};

fn rows(outcome: &Outcome) -> usize {
    outcome.batches.iter().map(|batch| batch.num_rows()).sum()
}

#[tokio::test]
async fn a_geojson_comes_with_its_rows_its_crs_and_its_geometry_as_wkb() {
    let place = Place::new();
    let path = place.write("town.geojson", houses(3));
    let outcome = place.read(&path, "GeoJSON").await.unwrap();
    let header = &outcome.header;
    assert_eq!((header.driver.as_str(), header.layer.as_str()), ("GeoJSON", "town"));
    assert_eq!(header.crs.authority.as_deref(), Some("EPSG:4326"));
    assert!(header.is_geographic);
    assert!(header.crs.projjson.is_object() && header.crs.wkt.starts_with("GEOGCRS["));
    assert_eq!((header.crs_source, header.geometry_type.as_str()), (CrsSource::File, "POINT"));
    assert_eq!(header.feature_count, Some(3));
    let batch = &outcome.batches[0];
    assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "name", "geom"]);
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[0, 1, 2]);
    assert_eq!(batch.column(1).as_string::<i32>().value(2), "Höuse");
    let wkb = batch.column(2).as_binary::<i32>().value(1);
    assert_eq!(wkb[..5], [1, 1, 0, 0, 0]);
    // Longitude first.
    assert_eq!(f64::from_le_bytes(wkb[5..13].try_into().unwrap()), 8.501);
    assert_eq!(outcome.summary.trailer.rows, 3);
    assert_eq!(outcome.summary.trailer.geometry_types, [("POINT".to_owned(), 3)]);
}

#[tokio::test]
async fn null_and_empty_geometries_are_kept_and_counted() {
    let place = Place::new();
    let features = [
        feature(1, "a", &point(1.0, 2.0)),
        feature(2, "b", "null"),
        feature(3, "c", r#"{"type":"MultiPolygon","coordinates":[]}"#),
    ];
    let path = place.write("a.geojson", collection(&features));
    let outcome = place.read(&path, "geojson").await.unwrap();
    assert_eq!(rows(&outcome), 3);
    let trailer = &outcome.summary.trailer;
    assert_eq!((trailer.null_geometries, trailer.empty_geometries), (1, 1));
}

#[tokio::test]
async fn a_zipped_shapefile_in_latin_1_comes_as_utf8_in_its_own_crs() {
    let place = Place::new();
    let path = place.write("town.geojson", houses(4));
    place.ogr2ogr(&["-t_srs", "EPSG:2056", "-lco", "ENCODING=ISO-8859-1", "houses.shp", path.to_str().unwrap()]);
    let members: Vec<(String, PathBuf)> = ["shp", "shx", "dbf", "prj", "cpg"]
        .map(|end| (format!("in/houses.{end}"), place.path(&format!("houses.{end}"))))
        .into();
    let members: Vec<(&str, &Path)> = members.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect();
    let archive = place.zip("houses.zip", &members);
    for declared in [None, Some("EPSG:2056")] {
        let request = ReadRequest { crs: declared.map(str::to_owned), ..place.request(&archive, "SHP") };
        let outcome = place.read_as(request).await.unwrap();
        let header = &outcome.header;
        assert_eq!(header.archive_member.as_deref(), Some("in/houses.shp"));
        assert_eq!((header.crs.authority.as_deref(), header.is_geographic), (Some("EPSG:2056"), false));
        assert_eq!(header.encoding.as_deref(), Some("ISO-8859-1"));
        assert_eq!(outcome.batches[0].column_by_name("name").unwrap().as_string::<i32>().value(0), "Höuse");
        assert_eq!(rows(&outcome), 4);
    }
}

#[tokio::test]
async fn a_shapefile_without_prj_takes_the_manifests_crs() {
    let place = Place::new();
    let path = place.write("town.geojson", houses(2));
    place.ogr2ogr(&["bare.shp", path.to_str().unwrap()]);
    std::fs::remove_file(place.path("bare.prj")).unwrap();
    let request = ReadRequest { crs: Some("EPSG:4326".to_owned()), ..place.request(&place.path("bare.shp"), "SHP") };
    let header = place.read_as(request).await.unwrap().header;
    assert_eq!((header.crs.authority.as_deref(), header.crs_source), (Some("EPSG:4326"), CrsSource::Declared));
}

#[tokio::test]
async fn a_geopackage_and_a_flatgeobuf_come_layer_by_layer() {
    let place = Place::new();
    let path = place.write("town.geojson", houses(5));
    let town = path.to_str().unwrap();
    place.ogr2ogr(&["two.gpkg", town, "-nln", "roads"]);
    place.ogr2ogr(&["-append", "two.gpkg", town, "-nln", "houses", "-where", "id < 2"]);
    let request = ReadRequest { layer: Some("houses".to_owned()), ..place.request(&place.path("two.gpkg"), "GPKG") };
    let outcome = place.read_as(request).await.unwrap();
    assert_eq!(outcome.header.layers, ["roads", "houses"]);
    assert_eq!((rows(&outcome), outcome.header.feature_count), (2, Some(2)));
    place.ogr2ogr(&["town.fgb", town]);
    let outcome = place.read(&place.path("town.fgb"), "FlatGeobuf").await.unwrap();
    assert_eq!(rows(&outcome), 5);
    assert!(outcome.header.extent.is_some_and(|extent| extent.minx == 8.5 && extent.miny == 47.3));
}

#[tokio::test]
async fn files_without_features_end_at_once() {
    let place = Place::new();
    let path = place.write("none.geojson", collection(&[]));
    place.ogr2ogr(&["none.fgb", path.to_str().unwrap()]);
    for (name, format) in [("none.geojson", "GeoJSON"), ("none.fgb", "FGB")] {
        let outcome = place.read(&place.path(name), format).await.unwrap();
        assert_eq!((rows(&outcome), outcome.summary.trailer.rows), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn an_attribute_that_is_called_geom_is_renamed_and_mapped() {
    let place = Place::new();
    let feature = r#"{"type":"Feature","properties":{"geom":"x"},"geometry":null}"#.to_owned();
    let outcome = place.read(&place.write("a.geojson", collection(&[feature])), "GeoJSON").await.unwrap();
    assert_eq!(
        (outcome.header.fields[0].source.as_str(), outcome.header.fields[0].column.as_str()),
        ("geom", "geom_1")
    );
    assert_eq!(outcome.batches[0].column_by_name("geom").unwrap().data_type(), &DataType::Binary);
}

#[tokio::test]
async fn curves_become_lines_with_a_warning_that_counts_them() {
    let place = Place::new();
    place.write("arcs.csv", "id,WKT\n1,\"CIRCULARSTRING(0 0,1 1,2 0)\"\n2,\"LINESTRING(0 0,1 1)\"\n");
    place.ogr2ogr(&["-a_srs", "EPSG:2056", "arcs.gpkg", "arcs.csv"]);
    let outcome = place.read(&place.path("arcs.gpkg"), "GPKG").await.unwrap();
    let trailer = &outcome.summary.trailer;
    assert_eq!((trailer.linearized_geometries, trailer.warning_count), (1, 1));
    assert!(trailer.warnings[0].contains("1 geometries have curves"), "{:?}", trailer.warnings);
    assert_eq!(trailer.geometry_types, [("LINESTRING".to_owned(), 2)]);
    let wkb = outcome.batches[0].column_by_name("geom").unwrap().as_binary::<i32>().value(0).to_vec();
    assert_eq!(wkb[1..5], [2, 0, 0, 0]);
    assert!(wkb.len() > 9 + 3 * 16, "the arc has more points than its three");
}

#[tokio::test]
async fn z_coordinates_are_kept() {
    let place = Place::new();
    let geometry = r#"{"type":"Point","coordinates":[1,2,3]}"#;
    let outcome =
        place.read(&place.write("z.geojson", collection(&[feature(1, "a", geometry)])), "GeoJSON").await.unwrap();
    assert!(outcome.summary.trailer.has_z);
    assert_eq!(outcome.batches[0].column_by_name("geom").unwrap().as_binary::<i32>().value(0).len(), 5 + 3 * 8);
}

#[tokio::test]
async fn batches_are_cut_to_the_size_that_the_reader_wants() {
    let mut place = Place::new();
    place.worker.limits.batch_bytes = 4096;
    let outcome = place.read(&place.write("a.geojson", houses(2000)), "GeoJSON").await.unwrap();
    assert_eq!(rows(&outcome), 2000);
    assert!(outcome.batches.len() > 10, "{} batches", outcome.batches.len());
    let last = outcome.batches.last().unwrap();
    assert_eq!(last.column(0).as_primitive::<Int32Type>().value(last.num_rows() - 1), 1999);
}

/// Real files, where the harness names a folder of them.
#[tokio::test]
async fn the_real_files_come_whole() {
    let Some(data) = std::env::var_os("CATCHMENT_TEST_DATA").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "CI must name a folder of real data in CATCHMENT_TEST_DATA");
        return;
    };
    let place = Place::new();
    let countries = place.read(&data.join("natural_earth/naturalearth_lowres.shp"), "SHP").await.unwrap();
    assert_eq!((rows(&countries), countries.header.crs.authority.as_deref()), (177, Some("EPSG:4326")));
    let boroughs = place.read(&data.join("nybb/nybb_16a.zip"), "SHP").await.unwrap();
    assert_eq!((rows(&boroughs), boroughs.header.crs.authority.as_deref()), (5, Some("EPSG:2263")));
}
