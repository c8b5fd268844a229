//! Leads a stream of batches into a writer on a thread of its own, with back-pressure.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use catchment_model::{Code, Problem};
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::geoparquet::{GeoOptions, GeoParquetWriter, Written};

/// How many batches may wait for the writer: enough that computing and encoding overlap.
const WAITING: usize = 4;

/// Writes all of `stream` to a new file at `path`. Encoding runs on a blocking thread while the stream goes on
/// computing; a slow disk holds the stream back. The first error ends both; the file is then of no use.
pub async fn write_stream<E>(
    path: &Path,
    schema: &SchemaRef,
    options: GeoOptions,
    stream: impl Stream<Item = Result<RecordBatch, E>>,
) -> Result<Written, Problem>
where
    Problem: From<E>,
{
    let mut writer = GeoParquetWriter::create(path, schema, options)?;
    let (sender, mut receiver) = mpsc::channel::<RecordBatch>(WAITING);
    let encoding = tokio::task::spawn_blocking(move || {
        while let Some(batch) = receiver.blocking_recv() {
            writer.write(&batch)?;
        }
        Ok(writer)
    });
    let mut stream = std::pin::pin!(stream);
    let mut read = Ok(());
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => {
                // The writer hangs up only when it has failed; its own error is the one to tell.
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                read = Err(Problem::from(error));
                break;
            }
        }
    }
    drop(sender);
    let encoded: Result<GeoParquetWriter, Problem> = encoding.await.unwrap_or_else(|panic| Err(bug(&panic)));
    read?;
    let writer = encoded?;
    tokio::task::spawn_blocking(move || writer.finish()).await.unwrap_or_else(|panic| Err(bug(&panic)))
}

fn bug(panic: &tokio::task::JoinError) -> Problem {
    Problem::new(Code::Bug, "the writer's thread broke off").cause(panic.to_string())
}
