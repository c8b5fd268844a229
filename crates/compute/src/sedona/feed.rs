//! The input stream as a table of the engine that can be read once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
use tokio::sync::Mutex;

use super::errors::external;
use super::tally::Tally;
use super::{BATCH_ROWS, geometry_type};
use crate::engine::FeatureStream;
use crate::proj;
use crate::sql::GEOMETRY;

/// The hidden column that numbers the source's rows from 1, so that an error can name one.
pub(super) const ROW: &str = "__catchment_row";
/// Bytes of a batch that the plan works on at once, unless a single feature is larger.
const PIECE_BYTES: usize = 4 << 20;

/// The input, dealt out to as many partitions as there are threads: whoever is free takes the next batch.
pub(super) struct Feed {
    schema: SchemaRef,
    source: Arc<Mutex<Source>>,
    taken: AtomicBool,
}

/// What all partitions take from.
struct Source {
    input: FeatureStream,
    pieces: VecDeque<RecordBatch>,
    rows: u64,
    schema: SchemaRef,
    geometry: usize,
    tally: Arc<Tally>,
    /// The rows of a piece at most.
    piece_rows: usize,
}

impl Feed {
    /// The table: the input's columns, the geometry tagged with its CRS, and the rows' numbers, in pieces of
    /// `piece_rows`.
    pub(super) fn table(
        schema: &Schema,
        input: FeatureStream,
        crs: &Crs,
        tally: Arc<Tally>,
        partitions: usize,
        piece_rows: usize,
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
        let pieces = VecDeque::new();
        let source = Source { input, pieces, rows: 0, schema: schema.clone(), geometry, tally, piece_rows };
        let source = Arc::new(Mutex::new(source));
        let feed = |_| {
            let (schema, source) = (schema.clone(), source.clone());
            Arc::new(Self { schema, source, taken: AtomicBool::new(false) }) as Arc<dyn PartitionStream>
        };
        let table = StreamingTable::try_new(schema.clone(), (0..partitions).map(feed).collect());
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
        if self.taken.swap(true, Relaxed) {
            let twice = Problem::new(Code::RecipeInvalid, "the recipe's SQL reads {input} twice")
                .remedy("read {input} once: it is a stream");
            let once = futures::stream::once(async move { Err(external(twice)) });
            return Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), once));
        }
        let pieces = futures::stream::unfold(self.source.clone(), |source| async move {
            let next = source.lock().await.next().await;
            next.map(|piece| (piece, source))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), pieces))
    }
}

impl Source {
    async fn next(&mut self) -> Option<Result<RecordBatch, DataFusionError>> {
        while self.pieces.is_empty() {
            let batch = match self.input.next().await? {
                Ok(batch) => batch,
                Err(problem) => return Some(Err(external(problem))),
            };
            self.tally.came_in(batch.num_rows());
            match self.numbered(&batch) {
                Ok(pieces) => self.pieces.extend(pieces),
                Err(error) => return Some(Err(error)),
            }
            self.rows += batch.num_rows() as u64;
        }
        self.pieces.pop_front().map(Ok)
    }

    /// The batch with its rows' numbers, cut into pieces that are not too large. A piece is copied, since the
    /// engine accounts for memory by whole buffers and would count that of a slice once for each.
    fn numbered(&self, batch: &RecordBatch) -> Result<Vec<RecordBatch>, DataFusionError> {
        let rows = batch.num_rows();
        let first = self.rows + 1;
        let mut columns = batch.columns().to_vec();
        columns[self.geometry] = Arc::new(geometry_type::binary(&columns[self.geometry])?) as ArrayRef;
        columns.push(Arc::new(UInt64Array::from_iter_values(first..first + rows as u64)));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let pieces = rows.div_ceil(self.piece_rows).max(bytes_of(&batch)?.div_ceil(PIECE_BYTES)).clamp(1, rows.max(1));
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
}

/// How many rows of this sort make a batch of some megabytes. The engine counts the batches of a sort and a filter
/// in rows alone, whatever a geometry weighs.
pub(super) fn rows_for(sample: &RecordBatch) -> Result<usize, Problem> {
    let bytes = bytes_of(sample).map_err(super::from_datafusion)?;
    let row = bytes / sample.num_rows().max(1) + 1;
    Ok((PIECE_BYTES / row).clamp(32, BATCH_ROWS))
}

fn bytes_of(batch: &RecordBatch) -> Result<usize, DataFusionError> {
    Ok(batch.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum::<Result<usize, _>>()?)
}
