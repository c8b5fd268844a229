//! The engine from a stream of batches to a stream of batches.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use catchment_compute::engine::{FeatureStream, Report};
use catchment_compute::hilbert::Extent;
use catchment_compute::recipe::parse;
use catchment_compute::{AppliesTo, Limits, Recipe, Recipes, SedonaEngine, SpatialEngine, TransformJob, proj};
use catchment_formats::wkb;
use catchment_model::{Code, Crs, Problem};
use futures::StreamExt;
use geos::Geom;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("geom", DataType::Binary, true)]))
}

fn wkb_of(wkt: &str) -> Vec<u8> {
    let mut writer = geos::WKBWriter::new().unwrap();
    writer.set_output_dimension(geos::CoordDimensions::ThreeD);
    let geometry = geos::Geometry::new_from_wkt(wkt).unwrap();
    let mut bytes = writer.write_wkb(&geometry).unwrap();
    if bytes[4] == 0x80 {
        let code = 1000 + u32::from(bytes[1]);
        bytes[1..5].copy_from_slice(&code.to_le_bytes());
    }
    bytes
}

fn batch(first: i64, geometries: &[Option<Vec<u8>>]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + geometries.len() as i64));
    let geom: ArrayRef = Arc::new(geometries.iter().map(Option::as_deref).collect::<BinaryArray>());
    RecordBatch::try_new(schema(), vec![ids, geom]).unwrap()
}

fn built_in(intent: &str) -> Arc<Recipe> {
    Recipes::built_in().unwrap().for_intent(intent, AppliesTo::Vector).unwrap()
}

struct Outcome {
    batches: Vec<RecordBatch>,
    crs: Crs,
    report: Report,
}

impl Outcome {
    fn rows(&self) -> Vec<(i64, Option<Vec<u8>>)> {
        let mut rows = Vec::new();
        for batch in &self.batches {
            let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
            let geom = batch.column_by_name("geom").unwrap().as_binary::<i32>();
            rows.extend(ids.values().iter().copied().zip(geom.iter().map(|wkb| wkb.map(<[u8]>::to_vec))));
        }
        rows
    }
}

async fn run_stream(recipe: Arc<Recipe>, crs: &str, input: FeatureStream, memory: usize) -> Result<Outcome, Problem> {
    let spill = tempfile::tempdir().unwrap();
    let engine = SedonaEngine::new()?;
    let job = TransformJob {
        schema: schema(),
        input,
        crs: proj::resolve(crs)?,
        recipe,
        tags: serde_json::Map::new(),
        limits: Limits { memory_bytes: memory, spill_dir: spill.path().to_owned() },
    };
    let transformed = engine.transform(job).await?;
    let batches: Vec<_> = transformed.stream.collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
    assert!(batches.iter().all(|batch| batch.schema() == transformed.schema));
    Ok(Outcome { batches, crs: transformed.crs, report: transformed.report.read()? })
}

async fn run(recipe: Arc<Recipe>, crs: &str, batches: Vec<RecordBatch>) -> Result<Outcome, Problem> {
    let input = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
    run_stream(recipe, crs, input, 64 << 20).await
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_geometries_in_the_target_crs_keep_their_very_bytes() {
    let polygon = wkb_of("POLYGON ((7 46, 8 46, 8 47, 7 46))");
    let big_endian = {
        let mut bytes = vec![0];
        bytes.extend(1u32.to_be_bytes());
        bytes.extend(7.5f64.to_be_bytes());
        bytes.extend(46.5f64.to_be_bytes());
        bytes
    };
    let input = batch(1, &[Some(polygon.clone()), Some(big_endian.clone()), None]);
    let outcome = run(built_in("ingest_vector"), "OGC:CRS84", vec![input]).await.unwrap();
    let mut rows = outcome.rows();
    assert_eq!(rows.pop(), Some((3, None)), "a row without a geometry comes last");
    rows.sort();
    assert_eq!(rows, [(1, Some(polygon)), (2, Some(big_endian))]);
    assert_eq!(outcome.crs.authority.as_deref(), Some("EPSG:4326"));
    assert_eq!(outcome.report.crs_operation, None);
    assert_eq!((outcome.report.rows_in, outcome.report.rows_out, outcome.report.null_geometries), (3, 3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bow_tie_is_repaired_as_geos_does_and_counted() {
    let bow_tie = "POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))";
    let input = batch(1, &[Some(wkb_of(bow_tie)), Some(wkb_of("POLYGON EMPTY")), Some(wkb_of("POINT (1 1)"))]);
    let outcome = run(built_in("ingest_vector"), "EPSG:4326", vec![input]).await.unwrap();
    let rows = outcome.rows();
    let (_, repaired) = rows.iter().find(|(id, _)| *id == 1).unwrap();
    let repaired = geos::Geometry::new_from_wkb(repaired.as_ref().unwrap()).unwrap();
    let expected = geos::Geometry::new_from_wkt(bow_tie).unwrap().make_valid().unwrap();
    assert!(repaired.equals_exact(&expected, 0.0).unwrap());
    assert_eq!((outcome.report.repaired, outcome.report.still_invalid, outcome.report.empty_geometries), (1, 0, 1));
    assert_eq!(rows.last().unwrap().0, 2, "an empty geometry comes last");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_ring_is_closed_and_a_height_survives_its_repair() {
    let mut open = vec![1, 3, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0];
    for number in [0.0f64, 0.0, 1.0, 0.0, 1.0, 1.0] {
        open.extend(number.to_le_bytes());
    }
    let high = wkb_of("POLYGON Z ((0 0 5, 2 2 5, 2 0 5, 0 2 5, 0 0 5))");
    let outcome = run(built_in("ingest_vector"), "EPSG:4326", vec![batch(1, &[Some(open), Some(high)])]).await.unwrap();
    assert_eq!(outcome.report.repaired, 2);
    for (id, wkb) in outcome.rows() {
        let summary = wkb::scan(wkb.as_ref().unwrap()).unwrap();
        assert_eq!(summary.header.z, id == 2);
        assert_eq!(summary.heights, (id == 2).then_some([5.0, 5.0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinates_of_another_crs_are_transformed_and_the_operation_is_reported() {
    let points = [Some(wkb_of("POINT Z (2600000 1200000 540)")), Some(wkb_of("POINT EMPTY")), None];
    let outcome = run(built_in("ingest_vector"), "EPSG:2056", vec![batch(1, &points)]).await.unwrap();
    let rows = outcome.rows();
    let summary = wkb::scan(rows[0].1.as_ref().unwrap()).unwrap();
    let [x, y, ..] = summary.bounds.unwrap();
    assert!((x - 7.438632).abs() < 2e-5 && (y - 46.951083).abs() < 2e-5, "{x} {y}");
    assert_eq!(summary.heights, Some([540.0, 540.0]), "a CRS without heights leaves them alone");
    let operation = outcome.report.crs_operation.unwrap();
    assert!(operation.name.contains("CH1903+ to WGS 84"), "{operation:?}");
    assert_eq!(operation.accuracy_m, Some(1.0));
    assert_eq!(outcome.report.empty_geometries, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_cannot_be_projected_is_named_with_its_feature() {
    let input = batch(1, &[Some(wkb_of("POINT (500000 5200000)")), Some(wkb_of("LINESTRING (500000 0, 1e30 1e30)"))]);
    let problem = run(built_in("ingest_vector"), "EPSG:32632", vec![input]).await.err().unwrap();
    assert_eq!(problem.code, Code::CrsInvalid);
    assert_eq!(problem.place.as_deref(), Some("feature 2 of the source"));
    assert!(problem.what.contains("(1000000000000000000000000000000, "), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinate_that_is_no_number_is_named_with_its_feature() {
    let mut broken = wkb_of("LINESTRING (0 0, 1 1)");
    let at = broken.len() - 8;
    broken[at..].copy_from_slice(&f64::NAN.to_le_bytes());
    for crs in ["EPSG:4326", "EPSG:2056"] {
        let input = batch(1, &[None, Some(broken.clone())]);
        let problem = run(built_in("ingest_vector"), crs, vec![input]).await.err().unwrap();
        assert_eq!(problem.code, Code::GeometryInvalid);
        assert_eq!(problem.place.as_deref(), Some("feature 2 of the source"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_out_along_the_hilbert_curve_whatever_is_spilled() {
    let batches: Vec<_> = (0..60)
        .map(|n| {
            let points: Vec<_> = (0..1000)
                .map(|i| {
                    let k = f64::from(n * 1000 + i);
                    let (x, y) =
                        ((k * 0.618_033_988_7).fract() * 360.0 - 180.0, (k * 0.754_877_666).fract() * 180.0 - 90.0);
                    Some(wkb_of(&format!("LINESTRING ({x} {y}, {x} {y}, {x} {y}, {x} {y}, {x} {y}, {x} {y})")))
                })
                .collect();
            batch(i64::from(n) * 1000, &points)
        })
        .collect();
    let recipe = Arc::new(parse("intent: x\napplies_to: vector\nsteps: [drop_empty]\n").unwrap());
    let input = |batches: Vec<RecordBatch>| futures::stream::iter(batches.into_iter().map(Ok)).boxed();
    let ample = run_stream(recipe.clone(), "EPSG:4326", input(batches.clone()), 256 << 20).await.unwrap();
    let tight = run_stream(recipe, "EPSG:4326", input(batches), 16 << 20).await.unwrap();
    assert_eq!(ample.rows(), tight.rows());
    let keys: Vec<_> = ample
        .rows()
        .iter()
        .map(|(_, wkb)| wkb::scan(wkb.as_ref().unwrap()).unwrap().bounds.unwrap())
        .map(|[xmin, ymin, xmax, ymax]| Extent::DEGREES.key(xmin.midpoint(xmax), ymin.midpoint(ymax)))
        .collect();
    assert_eq!(keys.len(), 60_000);
    assert!(keys.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn generalising_keeps_shapes_valid_and_drops_vertices() {
    let circle: Vec<_> = (0..=360)
        .map(|d| f64::from(d % 360).to_radians())
        .map(|a| format!("{} {}", a.cos() / 4.0, a.sin() / 4.0))
        .collect();
    let input = batch(1, &[Some(wkb_of(&format!("POLYGON (({}))", circle.join(", "))))]);
    let outcome = run(built_in("generalize_vector"), "EPSG:4326", vec![input]).await.unwrap();
    let simple = geos::Geometry::new_from_wkb(outcome.rows()[0].1.as_ref().unwrap()).unwrap();
    assert!(simple.is_valid().unwrap());
    let vertices = simple.get_num_coordinates().unwrap();
    assert!((20..300).contains(&vertices), "{vertices}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_the_recipe_runs_and_one_that_reads_elsewhere_is_refused() {
    let recipe =
        |sql: &str| Arc::new(parse(&format!("intent: x\napplies_to: vector\nsteps:\n- sql: \"{sql}\"\n")).unwrap());
    let rows = || vec![batch(1, &[Some(wkb_of("POINT (1 1)")), Some(wkb_of("POINT (2 2)"))])];
    let fine =
        run(recipe("SELECT id * 10 AS id, ST_Envelope(geom) AS geom FROM {input} WHERE id > 1"), "EPSG:4326", rows());
    assert_eq!(fine.await.unwrap().rows()[0].0, 20);
    for hostile in [
        "SELECT id, geom FROM {input}, '/etc/passwd.csv'",
        "SELECT id, geom FROM {input} WHERE id IN (SELECT 1 FROM information_schema.tables)",
    ] {
        let problem = run(recipe(hostile), "EPSG:4326", rows()).await.err().unwrap();
        assert_eq!(problem.code, Code::RecipeInvalid, "{problem}");
    }
    let lost = run(recipe("SELECT id, CASE WHEN id > 1 THEN geom END AS geom FROM {input}"), "EPSG:4326", rows());
    if let Err(problem) = lost.await {
        assert!(problem.what.contains("loses the CRS"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_input_comes_out_as_it_went_in_and_an_empty_input_is_an_empty_output() {
    let broken = Problem::new(Code::FileCorrupt, "the file is cut off").place("a.geojson");
    let input = futures::stream::iter([Ok(batch(1, &[None])), Err(broken.clone())]).boxed();
    let problem = run_stream(built_in("ingest_vector"), "EPSG:2056", input, 64 << 20).await.err().unwrap();
    assert_eq!(problem, broken);
    let nothing = run(built_in("ingest_vector"), "EPSG:2056", vec![]).await.unwrap();
    assert!(nothing.rows().is_empty());
    assert_eq!(nothing.report, Report::default());
}
