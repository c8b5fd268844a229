//! Keeps the status of batches and runs in the ledger in step with the event log, and fences there what was cancelled
//! by force.
//!
//! An event only says which run to look at: what is written is how the run stands now, so events may be dealt with
//! again, or late, without harm. The cursor moves after the ledger was written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::{EventKind, Run, RunId, RunStatus, tags};
use catchment_instance::{RunFilter, SharedInstance};
use catchment_ledger::{SharedLedger, StatusChange};
use catchment_model::{Problem, Status};
use tokio::sync::{Mutex, watch};

use crate::follow::Follower;
use crate::reconcile::Reconcile;
use crate::{Daemon, recovery};

/// The name of the cursor.
const CURSOR: &str = "ledger_sync";
/// The events that change what the ledger says; until a run starts, its batch is queued, as it was recorded.
const KINDS: &[EventKind] =
    &[EventKind::RunStart, EventKind::RunSuccess, EventKind::RunFailure, EventKind::RunCanceled];
const PAGE: u32 = 200;
/// Runs change state in processes of their own, whose hints may be lost.
const INTERVAL: Duration = Duration::from_secs(1);

/// Writes the status of runs into the ledger.
pub struct LedgerSync {
    instance: SharedInstance,
    ledger: SharedLedger,
    /// Between the reading of a run and the writing of its status nobody else writes one: the newest wins.
    turn: Mutex<()>,
}

impl LedgerSync {
    /// Keeps this ledger in step with that state.
    pub fn new(instance: SharedInstance, ledger: SharedLedger) -> Self {
        Self { instance, ledger, turn: Mutex::new(()) }
    }

    /// Writes how the run stands into its own document and that of its batch, where they are there already: one that
    /// is made later is brought in step by who makes it.
    ///
    /// # Errors
    /// Those of the state and of the ledger.
    pub async fn sync(&self, run_id: RunId) -> Result<(), Problem> {
        let _turn = self.turn.lock().await;
        let Some(run) = self.instance.run(run_id).await? else { return Ok(()) };
        let Some(change) = change(&run) else { return Ok(()) };
        self.ledger.set_run_status(&run_id.to_string(), change).await?;
        // A batch stands as the newest of its runs does: the first one, or what ran it again.
        let root = run.root_run_id.unwrap_or(run_id);
        let filter = RunFilter { tags: vec![(tags::ROOT_RUN_ID.to_owned(), root.to_string())], ..RunFilter::default() };
        let newest = self.instance.runs(&filter, None, 1).await?.pop().unwrap_or(run);
        if let (Some(batch_id), Some(change)) = (newest.tags.get(tags::RUN_KEY), self::change(&newest)) {
            self.ledger.set_manifest_status(batch_id, change).await?;
        }
        Ok(())
    }
}

/// How a run stands, in the ledger's words; nothing until it has started.
fn change(run: &Run) -> Option<StatusChange> {
    let status = match run.status {
        RunStatus::NotStarted | RunStatus::Queued | RunStatus::Starting | RunStatus::Managed => return None,
        RunStatus::Started | RunStatus::Canceling => Status::Running,
        RunStatus::Success => Status::Success,
        RunStatus::Failure => Status::Failure,
        RunStatus::Canceled => Status::Canceled,
    };
    let at = if status.is_final() { run.ended_at } else { run.started_at };
    Some(StatusChange {
        status,
        at: at.unwrap_or(run.created_at),
        error_message: run.problem.as_ref().map(ToString::to_string),
    })
}

/// Follows the event log.
pub(crate) struct LedgerFollower {
    daemon: Arc<Daemon>,
    sync: Arc<LedgerSync>,
    follower: Follower,
}

impl LedgerFollower {
    pub(crate) fn new(daemon: Arc<Daemon>, sync: Arc<LedgerSync>) -> Self {
        Self { daemon, sync, follower: Follower::new(CURSOR, KINDS) }
    }
}

#[async_trait]
impl Reconcile for LedgerFollower {
    fn name(&self) -> &str {
        CURSOR
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("EVENT_LOG_CONSUMER")
    }

    fn lag(&self) -> i64 {
        self.follower.lag()
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let instance = &self.daemon.context.instance;
        let page = self.follower.page(instance, PAGE).await?;
        for found in &page.events {
            if found.event.data["forced"] == true {
                recovery::fence(&self.daemon, found.event.run_id).await?;
            }
            self.sync.sync(found.event.run_id).await?;
        }
        // What concerns nobody is passed over in memory only: the cursor need not be written for it.
        if !page.events.is_empty() {
            instance.set_follow_cursor(self.follower.name(), page.until).await?;
        }
        self.follower.moved(&page, page.until);
        Ok(if page.is_full { Duration::ZERO } else { INTERVAL })
    }
}

#[cfg(test)]
mod tests {
    use super::change;
    use catchment_core::RunStatus;

    #[test]
    fn nothing_is_said_of_a_run_that_has_not_started() {
        for status in RunStatus::ALL {
            let run = catchment_core::Run {
                run_id: catchment_core::RunId::random(),
                job_name: String::new(),
                location: String::new(),
                status,
                run_config: serde_json::Value::Null,
                tags: std::collections::BTreeMap::new(),
                partition_key: None,
                selection: catchment_core::Selection::default(),
                parent_run_id: None,
                root_run_id: None,
                created_at: jiff::Timestamp::UNIX_EPOCH,
                launched_at: None,
                started_at: None,
                ended_at: None,
                lease_epoch: 0,
                lease_until: None,
                process: None,
                problem: None,
            };
            let waits = !status.is_active() && !status.is_final() || status == RunStatus::Starting;
            assert_eq!(change(&run).is_none(), waits, "{status}");
            if let Some(change) = change(&run) {
                assert_eq!(change.status.is_final(), status.is_final());
            }
        }
    }
}
