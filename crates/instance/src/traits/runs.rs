//! Runs.

use std::collections::HashSet;

use async_trait::async_trait;
use catchment_core::state::Command;
use catchment_core::{NewRun, Run, RunId, RunKey, RunStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Result;

/// What a process shows that it may still write for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// The epoch that the process was started with.
    pub epoch: i64,
}

/// Which runs to list. Fields are joined by AND; an empty list or `None` does not filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunFilter {
    /// Any of these.
    pub run_ids: Vec<RunId>,
    /// Any of these statuses.
    pub statuses: Vec<RunStatus>,
    /// This job.
    pub job_name: Option<String>,
    /// This code location.
    pub location: Option<String>,
    /// This partition.
    pub partition_key: Option<String>,
    /// All of these tags.
    pub tags: Vec<(String, String)>,
    /// Made at this time or later.
    pub created_after: Option<Timestamp>,
    /// Made before this time.
    pub created_before: Option<Timestamp>,
}

/// What became of a request for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It was made.
    Made(Box<Run>),
    /// Its run key was used before, by this run. The run itself may have been deleted since.
    Known(RunId),
}

impl Enqueued {
    /// The run that has the key.
    pub fn run_id(&self) -> RunId {
        match self {
            Self::Made(run) => run.run_id,
            Self::Known(run_id) => *run_id,
        }
    }
}

/// Runs, newest first.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Makes a run and puts it into the queue (QUEUED), with its event. An id that is known is refused.
    async fn enqueue(&self, run: NewRun, now: Timestamp) -> Result<Run>;
    /// The same, once for each key, for ever: keys outlive the deletion of their runs.
    async fn enqueue_once(&self, key: RunKey, run: NewRun, now: Timestamp) -> Result<Enqueued>;
    /// One run.
    async fn run(&self, run_id: RunId) -> Result<Option<Run>>;
    /// Runs, newest first; `before` is the last run of the page before.
    async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<Vec<Run>>;
    /// How many runs a filter finds.
    async fn count_runs(&self, filter: &RunFilter) -> Result<u64>;
    /// All runs that are not final, oldest first: what the daemon reconciles.
    async fn live_runs(&self) -> Result<Vec<Run>>;
    /// Carries a command out through the state machine, with its event, in one transaction; `lease` (where
    /// given) must be the newest. `Launch`, `Requeue` and `ForceCancel` raise the epoch and answer the run with it.
    /// `until` is the lease's new end, set by `Launch` and `Start`. A run that ends frees its slots in pools.
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
    async fn renew(&self, lease: Lease, until: Timestamp) -> Result<Run>;
    /// Notes what the launcher knows the process by that holds the lease; answers the run. One that has ended is left
    /// as it is.
    async fn note_process(&self, lease: Lease, process: &str) -> Result<Run>;
    /// Takes the run from whoever holds it: the epoch rises, the lease ends. Answers the new epoch. Refused where
    /// the run has ended.
    async fn revoke(&self, run_id: RunId, now: Timestamp) -> Result<i64>;
    /// Adds tags to a run, or gives them another value; answers the run.
    async fn set_tags(&self, run_id: RunId, tags: &[(String, String)]) -> Result<Run>;
    /// Removes a run that has ended, with its events and tags; its run key stays used. Refused while it is live.
    async fn delete_run(&self, run_id: RunId) -> Result<()>;
    /// Removes runs that ended before a time, with their events, at most `limit`; answers how many went.
    async fn purge_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u64>;
    /// Which of these runs were deleted or purged here.
    async fn deleted_runs(&self, run_ids: &[RunId]) -> Result<HashSet<RunId>>;
    /// All keys of a tag (`key` is `None`), or all values of one, in order, at most `limit`: for completion.
    async fn run_tags(&self, key: Option<&str>, prefix: &str, limit: u32) -> Result<Vec<String>>;
}
