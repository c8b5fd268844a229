//! The way of events into the log: in order, and those that come close together in one transaction.
//!
//! What is written while a transaction is on its way goes into the next one, all of it, whoever wrote it: many steps
//! share a commit, and none waits for more than the one before its own. There is one limit ([`MOST_TOGETHER`]): what is
//! beyond it waits for the next. Log lines alone wait a moment for company.
//!
//! A state that does not answer for a moment costs nothing: what was to be written is written again until the lease is
//! over. An event whose answer alone was lost is then in the log twice.
//!
//! What is durable before what: events of a run keep their order, so nothing is ever in the log without what came
//! before it. [`Journal::write`] answers when its events are durable; the executor waits for it where checks were
//! evaluated before it commits what they are about, where a step said something of an asset before anything downstream
//! starts, where a step failed for good, and before the run ends. It does not wait ([`Journal::tell`]) where an event
//! only says that a step starts, is tried again or is skipped, or that an op without assets ended well: where the process
//! dies right then, a re-execution runs that op again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, task};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::Halt;
use super::patience::patiently;

/// How long a log line may wait.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
/// How many log lines are written together.
const BATCH: usize = 100;
/// How many lines may wait before further ones are dropped (and counted): the log never eats the memory.
const MOST_WAITING: usize = 50_000;

/// Where events end up: the instance, or a list in memory.
#[async_trait]
pub(crate) trait Record: Send + Sync + 'static {
    /// Appends events in order.
    async fn append(&self, events: &[NewEvent]) -> Result<(), Problem>;
}

/// How many events go into one transaction before further ones have to wait; those told together are not parted.
const MOST_TOGETHER: usize = 2_000;

enum Entry {
    Line(NewEvent),
    State(Vec<NewEvent>, Option<Done>),
}

type Done = oneshot::Sender<Result<(), Problem>>;

/// Writes events of one run.
#[derive(Clone)]
pub(crate) struct Journal {
    run_id: RunId,
    sender: mpsc::UnboundedSender<Entry>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Journal {
    /// Starts the writer. Where it cannot write in the time of a lease, `halt` stops the run.
    pub(crate) fn start(run_id: RunId, record: Arc<dyn Record>, halt: Halt) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let journal = Self { run_id, sender, waiting: Arc::default(), dropped: Arc::default() };
        let writer =
            Writer { run_id, record, halt, waiting: journal.waiting.clone(), dropped: journal.dropped.clone() };
        drop(task::spawn("journal", writer.run(receiver)));
        journal
    }

    /// Writes a line; it may wait a moment for others.
    pub(crate) fn log(&self, step_key: Option<&str>, level: Level, message: String, data: Value) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let line = self.event(EventKind::Log, step_key, level, message, data);
        if self.sender.send(Entry::Line(line)).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An event of this run, now.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        step_key: Option<&str>,
        level: Level,
        message: String,
        data: Value,
    ) -> NewEvent {
        let step_key = step_key.map(str::to_owned);
        NewEvent { run_id: self.run_id, timestamp: clock::now(), kind, step_key, level, message, data }
    }

    /// Writes events at once, without waiting for them. Where they cannot be written, the run is halted.
    pub(crate) fn tell(&self, events: Vec<NewEvent>) {
        if !events.is_empty() && self.sender.send(Entry::State(events, None)).is_err() {
            tracing::warn!(run_id = %self.run_id, "the writer of the event log ended early");
        }
    }

    /// Writes events in one transaction, behind the lines that wait, and answers when they are durable.
    pub(crate) async fn write(&self, events: Vec<NewEvent>) -> Result<(), Problem> {
        let (done, answer) = oneshot::channel();
        let gone = || Problem::new(Code::Bug, "the writer of the event log ended early");
        self.sender.send(Entry::State(events, Some(done))).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Writes all lines that wait.
    pub(crate) async fn flush(&self) -> Result<(), Problem> {
        self.write(Vec::new()).await
    }
}

struct Writer {
    run_id: RunId,
    record: Arc<dyn Record>,
    halt: Halt,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::UnboundedReceiver<Entry>) {
        let mut events = Vec::new();
        let mut due = None;
        loop {
            let entry = match due {
                None => receiver.recv().await,
                Some(at) => match tokio::time::timeout_at(at, receiver.recv()).await {
                    Ok(entry) => entry,
                    Err(_) => {
                        due = None;
                        self.append(&mut events).await.ok();
                        continue;
                    }
                },
            };
            let (is_over, mut waiting) = (entry.is_none(), Vec::new());
            let mut now = is_over;
            let mut next = entry;
            while let Some(entry) = next {
                match entry {
                    Entry::Line(line) => events.push(line),
                    Entry::State(more, done) => {
                        now = true;
                        events.extend(more);
                        waiting.extend(done);
                    }
                }
                next = if events.len() < MOST_TOGETHER { receiver.try_recv().ok() } else { None };
            }
            if now || events.len() >= BATCH {
                due = None;
                let result = self.append(&mut events).await;
                // Whoever asked may have been cancelled meanwhile; what was written stays.
                waiting.into_iter().for_each(|done| drop(done.send(result.clone())));
            } else {
                due = due.or_else(|| Some(tokio::time::Instant::from_std(clock::monotonic()) + FLUSH_AFTER));
            }
            if is_over {
                return;
            }
        }
    }

    async fn append(&self, events: &mut Vec<NewEvent>) -> Result<(), Problem> {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            events.push(NewEvent {
                run_id: self.run_id,
                timestamp: clock::now(),
                kind: EventKind::EngineEvent,
                step_key: None,
                level: Level::Warning,
                message: format!("{dropped} log lines were dropped: they came faster than they could be written"),
                data: Value::Null,
            });
        }
        if events.is_empty() {
            return Ok(());
        }
        let lines = events.iter().filter(|event| event.kind == EventKind::Log).count();
        let result = patiently(&self.halt, "events are written", || self.record.append(events)).await;
        self.waiting.fetch_sub(lines, Ordering::Relaxed);
        events.clear();
        if let Err(problem) = &result {
            self.halt.stop(problem.clone());
        }
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
#[path = "journal_tests.rs"]
mod tests;
