//! Measures the engine and the writer alone, without reading: `transform_bench ROWS CRS OUT.parquet [RECIPE]`.
//!
//! The rows are star-shaped buildings as of `gen_vectors.py` in the benchmarks, clustered in towns, 1 % of them bow
//! ties, made in the CRS named: `EPSG:4326` or `EPSG:2056`. Prints seconds until the first batch is out, seconds in
//! all, and what was written. `SORT_MEGABYTES` is what sorting may take before it spills (256), `CORNERS` the
//! corners of each polygon (5 to 12).

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catchment_compute::{AppliesTo, Limits, Recipes, SedonaEngine, SpatialEngine, TransformJob, proj};
use catchment_formats::{GeoOptions, write_stream};
use catchment_settings::clock;
use futures::StreamExt;

/// A small generator of pseudo-random numbers (splitmix64), so that each run has the same rows.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }
}

fn ring(random: &mut Random, metres: bool, corners: usize) -> Vec<(f64, f64)> {
    let mut town = Random((random.next() * 900.0) as u64 * 7919);
    let (east, north) = (town.next(), town.next());
    let (dx, dy) = (random.next() + random.next() - 1.0, random.next() + random.next() - 1.0);
    let ((x, y), unit) = if metres {
        ((2_490_000.0 + east * 340_000.0 + dx * 2000.0, 1_080_000.0 + north * 210_000.0 + dy * 2000.0), 1.0)
    } else {
        ((5.9 + east * 4.6 + dx * 0.02, 45.8 + north * 2.0 + dy * 0.02), 1e-5)
    };
    let corners = if corners == 0 { 5 + (random.next() * 8.0) as usize } else { corners };
    let size = (4.0 + random.next() * 16.0) * unit;
    let mut points: Vec<_> = (0..corners)
        .map(|i| {
            let (angle, reach) =
                (std::f64::consts::TAU * i as f64 / corners as f64, size * (0.6 + 0.4 * random.next()));
            (x + reach * angle.cos(), y + reach * angle.sin())
        })
        .collect();
    if random.next() < 0.01 {
        points.swap(1, corners / 2 + 1);
    }
    points.push(points[0]);
    points
}

fn batch(schema: &SchemaRef, first: i64, rows: i64, metres: bool, corners: usize) -> RecordBatch {
    let mut random = Random(first as u64);
    let (mut id, mut name, mut height) = (Int64Builder::new(), StringBuilder::new(), Float64Builder::new());
    let mut geom = BinaryBuilder::new();
    for n in first..first + rows {
        id.append_value(n);
        name.append_option((random.next() > 0.1).then(|| format!("Käserei {n}")));
        height.append_option((random.next() > 0.05).then(|| (random.next() * 5750.0).round() / 100.0));
        let ring = ring(&mut random, metres, corners);
        let mut wkb = vec![1, 3, 0, 0, 0, 1, 0, 0, 0];
        wkb.extend((ring.len() as u32).to_le_bytes());
        for (x, y) in ring {
            wkb.extend(x.to_le_bytes());
            wkb.extend(y.to_le_bytes());
        }
        geom.append_value(wkb);
    }
    let columns: Vec<ArrayRef> =
        vec![Arc::new(id.finish()), Arc::new(name.finish()), Arc::new(height.finish()), Arc::new(geom.finish())];
    RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of the schema")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, crs, out, recipe @ ..] = arguments.as_slice() else {
        return Err("usage: transform_bench ROWS CRS OUT.parquet [RECIPE]".into());
    };
    let rows: i64 = rows.parse()?;
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let (memory, corners) = (setting("SORT_MEGABYTES").unwrap_or(256), setting("CORNERS").unwrap_or(0));
    let metres = crs == "EPSG:2056";
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("height", DataType::Float64, true),
        Field::new("geom", DataType::Binary, true),
    ]));
    let input = {
        let schema = schema.clone();
        let size = if corners == 0 { 8192 } else { (1_000_000 / corners as i64).clamp(1, 8192) };
        let starts = (0..rows).step_by(size as usize);
        futures::stream::iter(starts.map(move |at| Ok(batch(&schema, at, size.min(rows - at), metres, corners))))
            .boxed()
    };
    let spill = tempfile::tempdir()?;
    let begun = clock::monotonic();
    let engine = SedonaEngine::new()?;
    let transformed = engine
        .transform(TransformJob {
            schema,
            input,
            crs: proj::resolve(crs)?,
            recipe: Recipes::built_in()?.for_intent(recipe.first().map_or("", String::as_str), AppliesTo::Vector)?,
            tags: serde_json::Map::new(),
            limits: Limits { memory_bytes: memory << 20, spill_dir: spill.path().to_owned() },
        })
        .await?;
    println!("planned after {:?}", begun.elapsed());
    let mut first = true;
    let stream = transformed.stream.inspect(|_| {
        if std::mem::take(&mut first) {
            println!("first batch after {:?}", begun.elapsed());
        }
    });
    let options = GeoOptions::new(Some(transformed.crs.projjson.clone()));
    let written = write_stream(std::path::Path::new(out), &transformed.schema, options, stream).await?;
    println!("written after {:?}", begun.elapsed());
    println!("{:?}", transformed.report.read()?);
    println!(
        "{} bytes, {} row groups, bounds {:?}, {:?}",
        written.bytes, written.row_groups, written.bounds, written.geometry_types
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    Ok(())
}
