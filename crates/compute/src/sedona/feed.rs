//! The input stream as a table of the engine that can be read once.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use catchment_model::{Code, Crs, Problem};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;

use super::errors::external;
use super::tally::Tally;
use super::{BATCH_ROWS, geometry_type};
use crate::engine::FeatureStream;
use crate::proj;
use crate::sql::GEOMETRY;

/// The hidden column that numbers the source's rows from 1, so that an error can name one.
pub(super) const ROW: &str = "__catchment_row";
/// Bytes of a batch that the plan works on at once, unless a single feature is larger.
const BATCH_BYTES: usize = 8 << 20;

pub(super) struct Feed {
    schema: SchemaRef,
    geometry: usize,
    input: Mutex<Option<FeatureStream>>,
    tally: Arc<Tally>,
}

impl Feed {
    /// The table: the input's columns, the geometry tagged with its CRS, and the rows' numbers.
    pub(super) fn table(
        schema: &Schema,
        input: FeatureStream,
        crs: &Crs,
        tally: Arc<Tally>,
    ) -> Result<Arc<StreamingTable>, Problem> {
        let geometry = schema
            .index_of(GEOMETRY)
            .map_err(|error| Problem::new(Code::Bug, "the input has no geometry column").cause(error.to_string()))?;
        let crs = proj::canonical(crs)?;
        let fields = schema.fields().iter().enumerate().map(|(index, field)| match index == geometry {
            true => geometry_type::field(GEOMETRY, &crs),
            false => Field::new(field.name(), field.data_type().clone(), field.is_nullable()),
        });
        let row = Field::new(ROW, DataType::UInt64, false);
        let schema = Arc::new(Schema::new(fields.chain([row]).collect::<Vec<_>>()));
        let feed = Self { schema: schema.clone(), geometry, input: Mutex::new(Some(input)), tally };
        let table = StreamingTable::try_new(schema, vec![Arc::new(feed)]);
        table.map(Arc::new).map_err(super::from_datafusion)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PartitionStream for Feed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let input = self.input.lock().ok().and_then(|mut input| input.take());
        let Some(input) = input else {
            let twice = Problem::new(Code::RecipeInvalid, "the recipe's SQL reads {input} twice")
                .remedy("read {input} once: it is a stream");
            let once = futures::stream::once(async move { Err(external(twice)) });
            return Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), once));
        };
        let (schema, geometry, tally) = (self.schema.clone(), self.geometry, self.tally.clone());
        let mut rows = 0u64;
        let batches = input
            .map(move |batch| {
                let pieces = batch.map_err(external).and_then(|batch| {
                    tally.came_in(batch.num_rows());
                    let first = rows + 1;
                    rows += batch.num_rows() as u64;
                    numbered(&batch, &schema, geometry, first)
                });
                match pieces {
                    Ok(pieces) => futures::stream::iter(pieces.into_iter().map(Ok).collect::<Vec<_>>()),
                    Err(error) => futures::stream::iter(vec![Err(error)]),
                }
            })
            .flatten();
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

/// The batch with its rows' numbers, cut into pieces that are not too large. A piece is copied, since the engine
/// accounts for memory by whole buffers and would count that of a slice once for each.
fn numbered(
    batch: &RecordBatch,
    schema: &SchemaRef,
    geometry: usize,
    first: u64,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let rows = batch.num_rows();
    let mut columns = batch.columns().to_vec();
    columns[geometry] = Arc::new(geometry_type::binary(&columns[geometry])?) as ArrayRef;
    columns.push(Arc::new(UInt64Array::from_iter_values(first..first + rows as u64)));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    let bytes =
        batch.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum::<Result<usize, _>>()?;
    let pieces = rows.div_ceil(BATCH_ROWS).max(bytes.div_ceil(BATCH_BYTES)).clamp(1, rows.max(1));
    if pieces == 1 {
        return Ok(vec![batch]);
    }
    let length = rows.div_ceil(pieces);
    (0..rows)
        .step_by(length)
        .map(|start| {
            let end = (start + length).min(rows);
            let indices = UInt64Array::from_iter_values(start as u64..end as u64);
            Ok(take_record_batch(&batch, &indices)?)
        })
        .collect()
}
