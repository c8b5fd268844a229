//! `catchment_make_valid(geometry, row)`: as PostGIS's ST_MakeValid, but a valid geometry keeps its very bytes, and
//! repairs are counted. SedonaDB's own rebuilds every geometry, and `CASE` over geometries loses their type there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder};
use arrow::datatypes::{DataType, FieldRef};
use catchment_formats::wkb;
use catchment_model::{Code, Problem};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{Pool, at_feature};
use crate::geos::{Geos, Repair};
use crate::sedona::errors::external;
use crate::sedona::geometry_type::binary;
use crate::sedona::tally::Tally;

pub(super) struct MakeValid {
    tally: Arc<Tally>,
    engines: Pool<Geos>,
    signature: Signature,
}

super::identity!(MakeValid);

impl std::fmt::Debug for MakeValid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MakeValid")
    }
}

impl MakeValid {
    pub(super) fn new(tally: Arc<Tally>) -> Self {
        Self { tally, engines: Pool::new(), signature: Signature::any(2, Volatility::Volatile) }
    }

    /// The repaired geometries by their index, in order.
    fn repair(
        &self,
        geos: &mut Geos,
        geometry: &BinaryArray,
        rows: &ArrayRef,
    ) -> Result<Vec<(usize, Vec<u8>)>, Problem> {
        let mut patches = Vec::new();
        let mut still_invalid = 0;
        for (index, wkb) in geometry.iter().enumerate() {
            let Some(wkb) = wkb else { continue };
            let result = examine(geos, wkb).map_err(|problem| at_feature(problem, rows, index))?;
            match result {
                Repair::Valid => {}
                Repair::Repaired(bytes) => patches.push((index, bytes)),
                Repair::StillInvalid(bytes) => {
                    still_invalid += 1;
                    patches.push((index, bytes));
                }
            }
        }
        self.tally.repaired(patches.len() as u64, still_invalid);
        Ok(patches)
    }
}

fn examine(geos: &mut Geos, bytes: &[u8]) -> Result<Repair, Problem> {
    let summary = wkb::scan(bytes).map_err(|fault| {
        Problem::new(Code::GeometryInvalid, "a geometry is not well-known binary").cause(fault.to_string())
    })?;
    if let Some((position, x, y)) = summary.not_finite {
        return Err(Problem::new(Code::GeometryInvalid, "a geometry has a coordinate that is not a finite number")
            .cause(format!("position {position} is ({x}, {y})"))
            .remedy("correct the feature in the source and upload it again"));
    }
    if !summary.header.kind.can_be_invalid() || summary.bounds.is_none() {
        return Ok(Repair::Valid);
    }
    geos.repair(bytes).map_err(|cause| {
        Problem::new(Code::GeometryInvalid, "a geometry cannot be repaired")
            .cause(cause)
            .remedy("correct the feature in the source and upload it again")
    })
}

impl ScalarUDFImpl for MakeValid {
    fn name(&self) -> &str {
        "catchment_make_valid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = args.arg_fields[0].as_ref().clone();
        Ok(Arc::new(field.with_data_type(DataType::Binary).with_nullable(true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let geometry = binary(&args.args[0].to_array(args.number_rows)?)?;
        let rows = args.args[1].to_array(args.number_rows)?;
        let start = || Geos::new().map_err(|cause| Problem::new(Code::Bug, "GEOS cannot start").cause(cause));
        let mut geos = self.engines.take(start).map_err(external)?;
        let patches = self.repair(&mut geos, &geometry, &rows).map_err(external)?;
        self.engines.put(geos);
        Ok(ColumnarValue::Array(Arc::new(patched(geometry, &patches))))
    }
}

fn patched(geometry: BinaryArray, patches: &[(usize, Vec<u8>)]) -> BinaryArray {
    if patches.is_empty() {
        return geometry;
    }
    let extra: usize = patches.iter().map(|(_, bytes)| bytes.len()).sum();
    let length = geometry.value_offsets()[geometry.len()] - geometry.value_offsets()[0];
    let mut builder = BinaryBuilder::with_capacity(geometry.len(), length as usize + extra);
    let mut patches = patches.iter().peekable();
    for (index, wkb) in geometry.iter().enumerate() {
        match patches.next_if(|(at, _)| *at == index) {
            Some((_, bytes)) => builder.append_value(bytes),
            None => builder.append_option(wkb),
        }
    }
    builder.finish()
}
