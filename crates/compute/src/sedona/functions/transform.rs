//! `catchment_transform(geometry, 'AUTHORITY:CODE', row)`: coordinates of another CRS, in the order x, y. The source
//! CRS is that of the column's type. A whole batch goes through PROJ in one call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef};
use catchment_formats::wkb::{self, Kind, Sequence};
use catchment_model::{Code, Crs, Problem};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{Pool, at_feature, world};
use crate::proj::{self, Transformer};
use crate::sedona::errors::external;
use crate::sedona::geometry_type::{self, binary};
use crate::sedona::tally::Tally;

pub(super) struct Transform {
    tally: Arc<Tally>,
    ways: Mutex<HashMap<(String, String), Arc<Way>>>,
    signature: Signature,
}

super::identity!(Transform);

impl std::fmt::Debug for Transform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transform")
    }
}

/// A pair of CRSs with the transformers that are ready for it.
struct Way {
    source: Crs,
    target: Crs,
    identity: bool,
    transformers: Pool<Transformer>,
}

impl Transform {
    pub(super) fn new(tally: Arc<Tally>) -> Self {
        let signature = Signature::any(3, Volatility::Volatile);
        Self { tally, ways: Mutex::new(HashMap::new()), signature }
    }

    fn way(&self, geometry: &FieldRef, target: &str) -> Result<Arc<Way>, Problem> {
        let key = (geometry_type::crs_text(geometry).unwrap_or_default().to_owned(), target.to_owned());
        let broken = || Problem::new(Code::Bug, "a lock of the engine is poisoned");
        let mut ways = self.ways.lock().map_err(|_| broken())?;
        if let Some(way) = ways.get(&key) {
            return Ok(way.clone());
        }
        let (source, target) = (geometry_type::crs_of(geometry)?, proj::resolve(target)?);
        let transformer = Transformer::new(&source, &target)?;
        let identity = transformer.is_identity();
        let way = Way { source, target, identity, transformers: Pool::new() };
        way.transformers.put(transformer);
        let way = Arc::new(way);
        ways.insert(key, way.clone());
        Ok(way)
    }
}

impl ScalarUDFImpl for Transform {
    fn name(&self) -> &str {
        "catchment_transform"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let target = literal(args.scalar_arguments.get(1).copied().flatten())?;
        let way = self.way(&args.arg_fields[0], target).map_err(external)?;
        Ok(Arc::new(geometry_type::field(args.arg_fields[0].name(), &way.target)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = match &args.args[1] {
            ColumnarValue::Scalar(value) => literal(Some(value))?,
            ColumnarValue::Array(_) => literal(None)?,
        };
        let way = self.way(&args.arg_fields[0], target).map_err(external)?;
        let geometry = binary(&args.args[0].to_array(args.number_rows)?)?;
        let rows = args.args[2].to_array(args.number_rows)?;
        if way.identity {
            if !(world::is_bounded(&way.target) && world::overshoots(&geometry)) {
                return Ok(args.args[0].clone());
            }
            let (snapped, _, moved) = transform(None, &way, &geometry, &rows).map_err(external)?;
            self.tally.snapped(moved);
            return Ok(ColumnarValue::Array(Arc::new(snapped)));
        }
        let mut transformer = way.transformers.take(|| Transformer::new(&way.source, &way.target)).map_err(external)?;
        let (transformed, area, moved) = transform(Some(&mut transformer), &way, &geometry, &rows).map_err(external)?;
        self.tally.snapped(moved);
        self.tally.transformed(&way.source, &way.target, transformer.used(), area);
        way.transformers.put(transformer);
        Ok(ColumnarValue::Array(Arc::new(transformed)))
    }
}

fn literal(value: Option<&ScalarValue>) -> Result<&str> {
    match value {
        Some(
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)),
        ) => Ok(text),
        _ => Err(DataFusionError::Plan("the target CRS of catchment_transform must be a text literal".to_owned())),
    }
}

/// The coordinates of a batch, out of their geometries.
#[derive(Default)]
struct Flat {
    x: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    heights: bool,
    /// Index of the row, where its bytes begin, and the run.
    runs: Vec<(usize, usize, Sequence)>,
}

/// The batch in the target CRS, its bounds there, and how many coordinates were moved onto the edge of the world.
/// Without a transformer the CRSs are the same.
fn transform(
    transformer: Option<&mut Transformer>,
    way: &Way,
    geometry: &BinaryArray,
    rows: &ArrayRef,
) -> Result<(BinaryArray, Option<[f64; 4]>, u64), Problem> {
    let offsets = geometry.value_offsets();
    let first = offsets[0] as usize;
    let last = offsets[geometry.len()] as usize;
    let mut bytes = geometry.value_data()[first..last].to_vec();
    let mut flat = gather(geometry, rows)?;
    if !flat.heights {
        flat.z = Vec::new();
    }
    if let Some(transformer) = transformer {
        transformer.transform(&mut flat.x, &mut flat.y, &mut flat.z);
    }
    let moved = if world::is_bounded(&way.target) { world::snap(&mut flat.x, &mut flat.y) } else { 0 };
    let area = check(&flat, way, geometry, rows)?;
    scatter(&flat, &mut bytes);
    let offsets: Vec<i32> = offsets.iter().map(|offset| offset - offsets[0]).collect();
    let array = BinaryArray::new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), geometry.nulls().cloned());
    Ok((array, area, moved))
}

fn gather(geometry: &BinaryArray, rows: &ArrayRef) -> Result<Flat, Problem> {
    let mut flat = Flat::default();
    let first = geometry.value_offsets()[0] as usize;
    for (index, wkb) in geometry.iter().enumerate() {
        let Some(wkb) = wkb else { continue };
        let start = geometry.value_offsets()[index] as usize - first;
        let mut not_finite = None;
        wkb::walk(wkb, |run| {
            let before = flat.x.len();
            for (x, y, z) in wkb::positions(wkb, run) {
                if !(x.is_finite() && y.is_finite()) {
                    not_finite.get_or_insert((x, y, run.header.kind));
                }
                flat.x.push(x);
                flat.y.push(y);
                // A height that is unknown goes through PROJ as 0 and stays unknown.
                flat.z.push(if z.is_finite() { z } else { 0.0 });
            }
            if matches!(not_finite, Some((x, y, Kind::Point)) if x.is_nan() && y.is_nan()) {
                // The empty point: nothing to transform.
                not_finite = None;
                flat.x.truncate(before);
                flat.y.truncate(before);
                flat.z.truncate(before);
            } else {
                flat.heights |= run.header.z;
                flat.runs.push((index, start, run));
            }
        })
        .map_err(|fault| {
            let problem = Problem::new(Code::GeometryInvalid, "a geometry is not well-known binary");
            at_feature(problem.cause(fault.to_string()), rows, index)
        })?;
        if let Some((x, y, _)) = not_finite {
            let problem =
                Problem::new(Code::GeometryInvalid, "a geometry has a coordinate that is not a finite number")
                    .cause(format!("({x}, {y})"))
                    .remedy("correct the feature in the source and upload it again");
            return Err(at_feature(problem, rows, index));
        }
    }
    Ok(flat)
}

/// The bounds of what came out, or the feature that could not be transformed.
fn check(flat: &Flat, way: &Way, geometry: &BinaryArray, rows: &ArrayRef) -> Result<Option<[f64; 4]>, Problem> {
    let mut area = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    let mut finite = true;
    for (x, y) in flat.x.iter().zip(&flat.y) {
        finite &= x.is_finite() && y.is_finite();
        area = [area[0].min(*x), area[1].min(*y), area[2].max(*x), area[3].max(*y)];
    }
    if finite {
        return Ok((area[0] <= area[2]).then_some(area));
    }
    let mut at = 0;
    for (index, _, run) in &flat.runs {
        let bad = (at..at + run.count).position(|i| !(flat.x[i].is_finite() && flat.y[i].is_finite()));
        if let Some(position) = bad {
            let (x, y, _) = wkb::positions(geometry.value(*index), *run).nth(position).unwrap_or_default();
            let problem = Problem::new(
                Code::CrsInvalid,
                format!(
                    "the coordinates ({x}, {y}) cannot be transformed from {} to {}",
                    way.source.label(),
                    way.target.label()
                ),
            )
            .cause("they lie outside of what the CRS can express")
            .remedy(
                "look whether the file's CRS is the one of its coordinates; correct it, or state the right one as crs",
            );
            return Err(at_feature(problem, rows, *index));
        }
        at += run.count;
    }
    Err(Problem::new(Code::Bug, "a coordinate went astray"))
}

fn scatter(flat: &Flat, bytes: &mut [u8]) {
    let mut at = 0;
    for (_, start, run) in &flat.runs {
        let width = run.header.dimensions() * 8;
        let from = start + run.offset;
        for position in bytes[from..from + run.count * width].chunks_exact_mut(width) {
            let write = |place: &mut [u8], value: f64| {
                place.copy_from_slice(&if run.header.little { value.to_le_bytes() } else { value.to_be_bytes() });
            };
            write(&mut position[0..8], flat.x[at]);
            write(&mut position[8..16], flat.y[at]);
            if run.header.z {
                let mut old = [0u8; 8];
                old.copy_from_slice(&position[16..24]);
                let old = if run.header.little { f64::from_le_bytes(old) } else { f64::from_be_bytes(old) };
                if old.is_finite() && flat.z[at].is_finite() {
                    write(&mut position[16..24], flat.z[at]);
                }
            }
            at += 1;
        }
    }
}
