//! The caller's end of one read: batches as they come, then the summary.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use catchment_model::problem::{Code, Problem};
use futures::Stream;
use tokio::sync::mpsc::Receiver;

use crate::child::StopOnDrop;
use crate::protocol::{Trailer, VectorHeader};

/// What the thread that watches the process tells the reader.
pub(crate) enum Event {
    /// The header and the schema: reading has begun.
    Begun(Box<VectorHeader>, SchemaRef),
    /// The next rows.
    Batch(RecordBatch),
    /// The end, good or bad; nothing follows.
    Ended(Result<Box<ReadSummary>, Box<Problem>>),
}

/// What a finished read amounts to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadSummary {
    /// The worker's own account.
    pub trailer: Trailer,
    /// Bytes that came through the pipe.
    pub bytes: u64,
    /// Processor time of the worker, user and system.
    pub cpu: Duration,
    /// Largest resident size of the worker as the kernel saw it, in bytes.
    pub peak_rss: u64,
}

/// Rows on their way from a worker. Dropping it kills the worker.
pub struct VectorReader {
    /// What is known before the first row.
    pub header: VectorHeader,
    /// The columns of every batch: the attributes, and ISO WKB in `geom` (Binary, nullable).
    pub schema: SchemaRef,
    events: Receiver<Event>,
    ended: Option<Result<Box<ReadSummary>, Box<Problem>>>,
    _process: StopOnDrop,
}

impl VectorReader {
    pub(crate) fn new(header: VectorHeader, schema: SchemaRef, events: Receiver<Event>, process: StopOnDrop) -> Self {
        Self { header, schema, events, ended: None, _process: process }
    }

    /// The next batch, or `None` after the last one, when the worker has ended well. May be cancelled at
    /// any time without losing a batch. After an error, every call gives that error.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, Problem> {
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    /// Reads on to the end without keeping the rows, and gives the summary.
    pub async fn finish(mut self) -> Result<ReadSummary, Problem> {
        while self.next().await?.is_some() {}
        match self.ended {
            Some(Ok(summary)) => Ok(*summary),
            Some(Err(problem)) => Err(*problem),
            None => Err(lost()),
        }
    }

    /// The summary, once [`Self::next`] has given `None`.
    pub fn summary(&self) -> Option<&ReadSummary> {
        self.ended.as_ref()?.as_deref().ok()
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<RecordBatch>, Problem>> {
        if self.ended.is_none() {
            match ready!(self.events.poll_recv(context)) {
                Some(Event::Batch(batch)) => return Poll::Ready(Ok(Some(batch))),
                Some(Event::Ended(end)) => self.ended = Some(end),
                Some(Event::Begun(..)) | None => self.ended = Some(Err(Box::new(lost()))),
            }
        }
        Poll::Ready(match &self.ended {
            Some(Err(problem)) => Err(Problem::clone(problem)),
            _ => Ok(None),
        })
    }
}

/// The batches as a stream; it ends after the first error.
impl Stream for VectorReader {
    type Item = Result<RecordBatch, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let had_ended = self.ended.is_some();
        Poll::Ready(match ready!(self.poll_batch(context)) {
            Ok(batch) => batch.map(Ok),
            Err(_) if had_ended => None,
            Err(problem) => Some(Err(problem)),
        })
    }
}

impl fmt::Debug for VectorReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorReader").field("header", &self.header).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// The watching thread ended without a word.
pub(crate) fn lost() -> Problem {
    Problem::new(Code::Bug, "the thread that watches the GDAL worker ended without a result")
        .remedy("this is a bug in Catchment: please report it with the file")
}
