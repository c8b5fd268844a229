//! The traits of the state. Time is passed in; every method is one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::sensor::{Claim, SensorResult};
use catchment_core::state::{Command, Refused};
use catchment_core::{Event, EventKind, NewEvent, NewRun, Run, RunId, RunStatus};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why the state did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// No such run, tick or sensor.
    #[error("{0} is not there")]
    NotFound(String),
    /// The run's status does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The caller's lease is older than the newest one: another process has taken over.
    #[error("the lease of run {run_id} with epoch {epoch} was lost: the newest epoch is {newest}")]
    LeaseLost {
        /// The run.
        run_id: RunId,
        /// The caller's epoch.
        epoch: i64,
        /// The newest epoch.
        newest: i64,
    },
    /// The database refused or is not there.
    #[error("the state database failed: {0}")]
    Database(String),
    /// What is stored is not what this version understands.
    #[error("the state holds something that this version does not understand: {0}")]
    Corrupt(String),
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        let what = error.to_string();
        match error {
            InstanceError::NotFound(_) => Problem::new(Code::NotFound, what),
            InstanceError::Refused(_) => Problem::new(Code::Conflict, what),
            InstanceError::LeaseLost { .. } => Problem::new(Code::LeaseLost, what),
            InstanceError::Database(_) => Problem::new(Code::Unavailable, what)
                .remedy("see that the disk has room and CATCHMENT_HOME is writable"),
            InstanceError::Corrupt(_) => Problem::new(Code::Integrity, what)
                .remedy("use the version of catchment that wrote this home, or restore a copy"),
        }
    }
}

/// The result of a call to the state.
pub type Result<T, E = InstanceError> = std::result::Result<T, E>;

/// What a process shows that it may still write for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// The epoch that the process was started with.
    pub epoch: i64,
}

/// Which runs to list. Fields are joined by AND; an empty list or `None` does not filter.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RunFilter {
    /// Any of these statuses.
    #[serde(default)]
    pub statuses: Vec<RunStatus>,
    /// This job.
    #[serde(default)]
    pub job_name: Option<String>,
    /// This partition.
    #[serde(default)]
    pub partition_key: Option<String>,
    /// All of these tags.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
}

/// Runs, newest first.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Makes a run and puts it into the queue (QUEUED), with its event. An id that is known is refused.
    async fn enqueue(&self, run: NewRun, now: Timestamp) -> Result<Run>;
    /// One run.
    async fn run(&self, run_id: RunId) -> Result<Option<Run>>;
    /// Runs, newest first; `before` is the last run of the page before.
    async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<Vec<Run>>;
    /// All runs that are not final, oldest first: what the daemon reconciles.
    async fn live_runs(&self) -> Result<Vec<Run>>;
    /// Carries a command out through the state machine, with its event, in one transaction; `lease` (where
    /// given) must be the newest. `Launch` and `Requeue` raise the epoch and answer the run with it. `until` is the
    /// lease's new end, set by `Launch` and `Start`.
    async fn command(
        &self,
        run_id: RunId,
        command: Command,
        lease: Option<Lease>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Run>;
    /// Prolongs a lease (never shortens it) and says what its holder must know: the run with its status (a cancel
    /// shows here). The lease of a run that has ended is left as it is.
    async fn renew(&self, lease: Lease, pid: u32, until: Timestamp) -> Result<Run>;
    /// Takes the run from whoever holds it: the epoch rises, the lease ends. Answers the new epoch. Refused where
    /// the run has ended.
    async fn revoke(&self, run_id: RunId, now: Timestamp) -> Result<i64>;
}

/// The event log. A reader that follows the global cursor never misses an event.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends events in order; `lease` (where given) must be the newest. Answers the last id.
    async fn append(&self, events: &[NewEvent], lease: Option<Lease>) -> Result<i64>;
    /// Events of one run in order, after the cursor.
    async fn run_events(&self, run_id: RunId, after: i64, limit: u32) -> Result<Vec<Event>>;
    /// Events of all runs in order, after the cursor; only of these kinds, unless there are none.
    async fn events_after(&self, after: i64, kinds: &[EventKind], limit: u32) -> Result<Vec<Event>>;
    /// The newest id that a reader may stand at.
    async fn last_event_id(&self) -> Result<i64>;
}

/// How a tick ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TickStatus {
    /// It is being evaluated.
    Started,
    /// It asked for at least one run, or refused at least one object.
    Success,
    /// It asked for nothing.
    Skipped,
    /// It failed.
    Failure,
}

impl TickStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Started, Self::Success, Self::Skipped, Self::Failure];

    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Skipped => "SKIPPED",
            Self::Failure => "FAILURE",
        }
    }
}

/// One evaluation of a sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Its id; rises.
    pub id: i64,
    /// The sensor.
    pub sensor: String,
    /// How it ended.
    pub status: TickStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The runs that it made.
    pub run_ids: Vec<RunId>,
    /// Run keys that were asked for again, and not launched again.
    pub duplicate_run_keys: Vec<String>,
    /// Objects that it refused, with the reason.
    pub rejected: Vec<Claim>,
    /// Why it asked for nothing.
    pub skip_reason: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// What a sensor's admission came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The tick as it is stored.
    pub tick: Tick,
    /// Every claim of this result that has to be finished, old ones that were asked for again among them.
    pub claims: Vec<Claim>,
}

/// Sensors: cursors, ticks, run keys, claims.
#[async_trait]
pub trait Sensors: Send + Sync {
    /// The sensor's cursor.
    async fn cursor(&self, sensor: &str) -> Result<Option<String>>;
    /// Begins a tick (kept, with status STARTED). One of the same sensor that is still open was cut off by the
    /// end of its daemon, and is ended as failed.
    async fn begin_tick(&self, sensor: &str, now: Timestamp) -> Result<Tick>;
    /// Writes a sensor's answer in one transaction: claims, runs (QUEUED) with their run keys, partitions, the
    /// cursor, and the tick's end. A claim that is known and not finished keeps its outcome. One that was accepted
    /// and finished, or whose run key was used for another claim, is refused with `duplicate_batch`. One that was
    /// refused and finished is handled afresh. A request without a claim whose run key was used makes nothing.
    /// `location` goes to each run, as do the reserved tags that say where it came from.
    async fn admit(&self, tick: i64, location: &str, result: SensorResult, now: Timestamp) -> Result<Admitted>;
    /// Ends a tick with an error; the cursor stays.
    async fn fail_tick(&self, tick: i64, problem: Problem, now: Timestamp) -> Result<()>;
    /// Ticks, newest first.
    async fn ticks(&self, sensor: &str, before: Option<i64>, limit: u32) -> Result<Vec<Tick>>;
    /// Claims that were admitted and not yet finished, oldest first.
    async fn unfinished_claims(&self, sensor: &str, limit: u32) -> Result<Vec<Claim>>;
    /// Marks claims as finished.
    async fn finish_claims(&self, sensor: &str, claims: &[catchment_core::sensor::ClaimKey]) -> Result<()>;
}

/// Dynamic partitions.
#[async_trait]
pub trait Partitions: Send + Sync {
    /// Adds keys; answers those that are new.
    async fn add_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>>;
    /// Keys in the order of their addition.
    async fn partitions(&self, definition: &str) -> Result<Vec<String>>;
}

/// Heartbeats of daemons, for health and for people.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Says that a daemon lives.
    async fn beat(&self, daemon: &str, now: Timestamp) -> Result<()>;
    /// The last beat of each daemon.
    async fn heartbeats(&self) -> Result<Vec<(String, Timestamp)>>;
}

/// How far those who follow the event log have come, by the follower's name.
#[async_trait]
pub trait Cursors: Send + Sync {
    /// The last event that the follower has dealt with; 0 before the first.
    async fn follow_cursor(&self, name: &str) -> Result<i64>;
    /// Moves the cursor; never back.
    async fn set_follow_cursor(&self, name: &str, event_id: i64) -> Result<()>;
}

/// The whole state: what a process opens once.
pub trait Instance: Runs + Events + Sensors + Partitions + Heartbeats + Cursors {}

impl<T: Runs + Events + Sensors + Partitions + Heartbeats + Cursors> Instance for T {}

/// A shared handle on the state.
pub type SharedInstance = Arc<dyn Instance>;
