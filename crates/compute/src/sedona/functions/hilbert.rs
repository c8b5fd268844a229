//! `catchment_hilbert(geometry)`: the Hilbert key of the centre of the geometry's bounds; null where it has none.

use std::sync::Arc;

use arrow::array::{Array, UInt64Builder};
use arrow::datatypes::DataType;
use catchment_formats::wkb;
use catchment_model::{Code, Problem};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use crate::hilbert::Extent;
use crate::sedona::errors::external;
use crate::sedona::geometry_type::binary;
use crate::sedona::tally::Tally;

#[derive(Debug)]
pub(super) struct Hilbert {
    tally: Arc<Tally>,
    extent: Extent,
    signature: Signature,
}

super::identity!(Hilbert);

impl Hilbert {
    pub(super) fn new(tally: Arc<Tally>, extent: Extent) -> Self {
        Self { tally, extent, signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Hilbert {
    fn name(&self) -> &str {
        "catchment_hilbert"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::UInt64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let geometry = binary(&args.args[0].to_array(args.number_rows)?)?;
        let mut keys = UInt64Builder::with_capacity(geometry.len());
        let mut empties = 0;
        for wkb in &geometry {
            match wkb {
                None => keys.append_null(),
                Some(wkb) => {
                    let summary = wkb::scan(wkb).map_err(|fault| {
                        external(
                            Problem::new(Code::GeometryInvalid, "a geometry is not well-known binary")
                                .cause(fault.to_string()),
                        )
                    })?;
                    match summary.bounds {
                        Some([xmin, ymin, xmax, ymax]) => {
                            keys.append_value(self.extent.key(xmin.midpoint(xmax), ymin.midpoint(ymax)));
                        }
                        None => {
                            empties += 1;
                            keys.append_null();
                        }
                    }
                }
            }
        }
        self.tally.placed(geometry.null_count() as u64, empties);
        Ok(ColumnarValue::Array(Arc::new(keys.finish())))
    }
}
