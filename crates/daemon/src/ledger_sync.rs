//! Keeps the status of batches and runs in the ledger in step with the event log.
//!
//! An event only says which run to look at: what is written is how the run stands now, so events may be dealt with
//! again, or late, without harm. The cursor moves after the ledger was written.

use std::time::Duration;

use async_trait::async_trait;
use catchment_core::{EventKind, Run, RunId, RunStatus, tags};
use catchment_instance::SharedInstance;
use catchment_ledger::{SharedLedger, StatusChange};
use catchment_model::{Problem, Status};
use tokio::sync::{Mutex, watch};

use crate::context::Context;
use crate::reconcile::Reconcile;

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
    pub(crate) fn new(instance: SharedInstance, ledger: SharedLedger) -> Self {
        Self { instance, ledger, turn: Mutex::new(()) }
    }

    /// Writes how the run stands into its own document and that of its batch, where they are there already: one that
    /// is made later is brought in step by who makes it.
    pub(crate) async fn sync(&self, run_id: RunId) -> Result<(), Problem> {
        let _turn = self.turn.lock().await;
        let Some(run) = self.instance.run(run_id).await? else { return Ok(()) };
        let Some(change) = change(&run) else { return Ok(()) };
        self.ledger.set_run_status(&run_id.to_string(), change.clone()).await?;
        if let Some(batch_id) = run.tags.get(tags::RUN_KEY) {
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
pub(crate) struct Follower {
    context: Context,
    cursor: Option<i64>,
}

impl Follower {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, cursor: None }
    }
}

#[async_trait]
impl Reconcile for Follower {
    fn name(&self) -> &str {
        "ledger_sync"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("LEDGER_SYNC")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let instance = &self.context.instance;
        let mut cursor = match self.cursor {
            Some(cursor) => cursor,
            None => instance.follow_cursor(CURSOR).await?,
        };
        loop {
            let page = instance.events_after(cursor, KINDS, PAGE).await?;
            let Some(last) = page.last() else { break };
            let last = last.id;
            for found in &page {
                if let Some(ledger) = &self.context.ledger_sync {
                    ledger.sync(found.event.run_id).await?;
                }
            }
            instance.set_follow_cursor(CURSOR, last).await?;
            cursor = last;
        }
        self.cursor = Some(cursor);
        Ok(INTERVAL)
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
                pid: None,
                problem: None,
            };
            let waits =
                matches!(status, RunStatus::NotStarted | RunStatus::Queued | RunStatus::Starting | RunStatus::Managed);
            assert_eq!(change(&run).is_none(), waits, "{status}");
            if let Some(change) = change(&run) {
                assert_eq!(change.status.is_final(), status.is_final());
            }
        }
    }
}
