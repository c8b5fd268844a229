//! Files of the writer, read again with the parquet crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use catchment_formats::{GeoOptions, GeoParquetWriter, Written, write_stream};
use catchment_model::documents::TypeName;
use catchment_model::{Code, Problem};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

fn point(x: f64, y: f64) -> Vec<u8> {
    let mut wkb = vec![1, 1, 0, 0, 0];
    wkb.extend(x.to_le_bytes());
    wkb.extend(y.to_le_bytes());
    wkb
}

fn schema(bbox: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(bbox, DataType::Utf8, true),
        Field::new("n", DataType::Int32, false),
        Field::new("geom", DataType::Binary, true),
    ]))
}

fn batch(schema: &SchemaRef, geometries: &[Option<Vec<u8>>]) -> RecordBatch {
    let rows = geometries.len() as i32;
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..rows).map(|n| Some(format!("row {n}"))).collect::<StringArray>()),
        Arc::new(Int32Array::from_iter_values(0..rows)),
        Arc::new(geometries.iter().map(Option::as_deref).collect::<BinaryArray>()),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn geo(written: &Written) -> serde_json::Value {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&written.path).unwrap()).unwrap();
    let metadata = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let geo = metadata.iter().find(|entry| entry.key == "geo").unwrap();
    serde_json::from_str(geo.value.as_ref().unwrap()).unwrap()
}

fn write(schema: &SchemaRef, batches: &[RecordBatch]) -> (tempfile::TempDir, Result<Written, Problem>) {
    let folder = tempfile::tempdir().unwrap();
    let crs = serde_json::json!({"type": "GeographicCRS", "name": "WGS 84"});
    let path = folder.path().join("data.parquet");
    let written = GeoParquetWriter::create(&path, schema, GeoOptions::new(Some(crs))).and_then(|mut writer| {
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.finish()
    });
    (folder, written)
}

#[test]
fn a_file_says_what_is_in_it_and_its_hash_is_that_of_its_bytes() {
    let schema = schema("name");
    let empty = vec![1, 3, 0, 0, 0, 0, 0, 0, 0];
    let rows = [Some(point(7.1, 46.2)), None, Some(empty), Some(point(8.3, 47.4))];
    let (_folder, written) = write(&schema, &[batch(&schema, &rows)]);
    let written = written.unwrap();
    let bytes = std::fs::read(&written.path).unwrap();
    assert_eq!((written.bytes, &written.sha256), (bytes.len() as u64, &hex::encode(Sha256::digest(&bytes))));
    assert_eq!((written.rows, written.row_groups), (4, 1));
    assert_eq!(written.bounds, Some([7.1, 46.2, 8.3, 47.4]));
    assert_eq!(written.geometry_types, ["Point", "Polygon"]);
    assert_eq!((written.null_geometries, written.empty_geometries), (1, 1));
    let names: Vec<_> = written.column_schema.iter().map(|(name, c)| (name.as_str(), c.type_name)).collect();
    assert_eq!(names, [("name", TypeName::String), ("n", TypeName::Integer), ("geom", TypeName::Geometry)]);

    let geo = geo(&written);
    assert_eq!((&geo["version"], &geo["primary_column"]), (&"1.1.0".into(), &"geom".into()));
    let column = &geo["columns"]["geom"];
    assert_eq!(column["bbox"], serde_json::json!([7.1, 46.2, 8.3, 47.4]));
    assert_eq!(column["geometry_types"], serde_json::json!(["Point", "Polygon"]));
    assert_eq!(column["crs"]["name"], "WGS 84");
    assert_eq!(column["covering"]["bbox"]["ymax"], serde_json::json!(["bbox", "ymax"]));
}

#[test]
fn the_covering_holds_each_geometry_and_is_null_where_there_is_none() {
    let schema = schema("name");
    let (_folder, written) = write(&schema, &[batch(&schema, &[Some(point(7.1, -46.2)), None])]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(written.unwrap().path).unwrap()).unwrap();
    let rows = reader.build().unwrap().next().unwrap().unwrap();
    let covering = rows.column_by_name("bbox").unwrap().as_struct();
    let part = |name: &str| f64::from(covering.column_by_name(name).unwrap().as_primitive::<Float32Type>().value(0));
    assert!(part("xmin") <= 7.1 && 7.1 <= part("xmax") && part("ymin") <= -46.2 && -46.2 <= part("ymax"));
    assert!(part("xmax") - part("xmin") < 1e-6);
    use arrow::array::Array;
    assert!(covering.is_valid(0) && covering.is_null(1));
}

#[test]
fn a_column_called_bbox_keeps_its_name() {
    let schema = schema("bbox");
    let (_folder, written) = write(&schema, &[batch(&schema, &[Some(point(1.0, 2.0))])]);
    let written = written.unwrap();
    assert_eq!(written.covering, "geom_bbox");
    assert_eq!(geo(&written)["columns"]["geom"]["covering"]["bbox"]["xmin"], serde_json::json!(["geom_bbox", "xmin"]));
}

#[test]
fn no_rows_make_a_valid_file() {
    let (_folder, written) = write(&schema("name"), &[]);
    let written = written.unwrap();
    assert_eq!((written.rows, written.bounds, written.row_groups), (0, None, 0));
    assert_eq!(geo(&written)["columns"]["geom"]["geometry_types"], serde_json::json!([]));
}

#[test]
fn what_geoparquet_cannot_hold_is_refused_with_its_row() {
    let schema = schema("name");
    let mut measured = point(1.0, 2.0);
    measured[1..5].copy_from_slice(&2001u32.to_le_bytes());
    measured.extend(3.0f64.to_le_bytes());
    for (bad, code) in [
        (measured, Code::Unsupported),
        (vec![1, 2, 3], Code::GeometryInvalid),
        (point(f64::INFINITY, 0.0), Code::GeometryInvalid),
    ] {
        let (_folder, written) = write(&schema, &[batch(&schema, &[None, Some(bad)])]);
        let problem = written.unwrap_err();
        assert_eq!(problem.code, code);
        assert!(problem.place.unwrap().starts_with("row 2 of "));
    }
}

#[test]
fn row_groups_have_a_size_that_filters_can_skip() {
    let schema = schema("name");
    let rows: Vec<_> = (0..10_000).map(|n| Some(point(f64::from(n), 1.0))).collect();
    let batches = vec![batch(&schema, &rows); 6];
    let (_folder, written) = write(&schema, &batches);
    assert_eq!(written.unwrap().row_groups, 2);
}

#[tokio::test]
async fn a_stream_is_written_and_its_error_ends_the_file() {
    let schema = schema("name");
    let folder = tempfile::tempdir().unwrap();
    let one = batch(&schema, &[Some(point(1.0, 2.0))]);
    let stream = futures::stream::iter(vec![Ok::<_, Problem>(one.clone()); 100]);
    let path = folder.path().join("a.parquet");
    let written = write_stream(&path, &schema, GeoOptions::new(None), stream).await.unwrap();
    assert_eq!(written.rows, 100);
    assert_eq!(geo(&written)["columns"]["geom"]["crs"], serde_json::Value::Null);

    let broken = Problem::new(Code::FileCorrupt, "cut off");
    let stream = futures::stream::iter([Ok(one.clone()), Err(broken.clone())]);
    let path = folder.path().join("b.parquet");
    assert_eq!(write_stream(&path, &schema, GeoOptions::new(None), stream).await, Err(broken));

    let stream = futures::stream::iter([Ok::<_, Problem>(one)]);
    let again = write_stream(&path, &schema, GeoOptions::new(None), stream).await.unwrap_err();
    assert_eq!(again.code, Code::Io, "a file that is there is not overwritten");
}
