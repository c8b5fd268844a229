//! Runs failed runs again, as their tags and the settings say.
//!
//! It follows the event log: each failure is dealt with once the cursor has come to it, whoever wrote it (the run's
//! process, the monitor, the queue). Everything it does can be done again: the new run is made once for each failed
//! run (its run key is the failed run's id), tags are set to what they are already.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::backfill::{BackfillId, BackfillStatus};
use catchment_core::rerun::{RetryRules, Strategy, automatic_retry, rerun};
use catchment_core::{EventKind, Level, NewEvent, NewRun, Run, RunId, RunKey, RunStatus, tags};
use catchment_instance::{EventFilter, InstanceError, RunFilter};
use catchment_model::{Code, Problem};
use tokio::sync::watch;

use crate::Daemon;
use crate::reconcile::Reconcile;

/// The name of the cursor.
pub(crate) const CURSOR: &str = "run_retries";
const PAGE: u32 = 200;
/// Runs end in processes of their own, whose hints may be lost.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Retries {
    daemon: Arc<Daemon>,
}

impl Retries {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon }
    }

    fn rules(&self) -> RetryRules {
        let config = &self.daemon.context.config.run_retries;
        RetryRules {
            max_retries: if config.enabled { config.max_retries } else { 0 },
            on_step_failure: config.retry_on_asset_or_op_failure,
        }
    }

    /// Deals with a failed run; answers whether that is done. It is not while nothing is known of its location: what of
    /// it is to be run again cannot be told then.
    async fn failed(&self, run_id: RunId) -> Result<bool, Problem> {
        let instance = &self.daemon.context.instance;
        // It may have been deleted since.
        let Some(run) = instance.run(run_id).await? else { return Ok(true) };
        if run.status != RunStatus::Failure || run.tags.contains_key(tags::AUTO_RETRY_RUN_ID) {
            return Ok(true);
        }
        let step_failed = self.has_event(run_id, EventKind::StepFailure).await?;
        let steps_began = self.has_event(run_id, EventKind::StepStart).await?;
        let code = run.problem.as_ref().map(|problem| problem.code);
        let reason = reason(code, run.started_at.is_some(), steps_began, step_failed);
        let mut noted = vec![(tags::FAILURE_REASON.to_owned(), reason.to_owned())];
        // Once it is decided that it is run again, the new run itself counts among the successors.
        let decided = run.tags.get(tags::WILL_RETRY).is_some_and(|will| will == "true");
        let successors = if decided { 0 } else { self.successors(&run).await? };
        let strategy = automatic_retry(&run, self.rules(), step_failed, successors);
        let strategy = match strategy {
            Some(strategy) if self.is_wanted(&run).await? => strategy,
            _ => {
                if run.tags.contains_key(tags::MAX_RETRIES) || self.rules().max_retries > 0 {
                    noted.push((tags::WILL_RETRY.to_owned(), "false".to_owned()));
                }
                instance.set_tags(run_id, &noted).await?;
                return Ok(true);
            }
        };
        let location = self.daemon.context.locations.get(&run.location);
        if location.as_ref().is_some_and(|location| location.snapshot.is_none()) {
            return Ok(false);
        }
        noted.push((tags::WILL_RETRY.to_owned(), "true".to_owned()));
        instance.set_tags(run_id, &noted).await?;
        let again = self.again(&run, strategy).await?;
        let key = RunKey { scope: format!("retry:{run_id}"), key: "automatic".to_owned() };
        let made = instance.enqueue_once(key, again, self.daemon.context.now()).await?.run_id();
        catchment_settings::failpoint::hit("daemon.retried");
        instance.set_tags(run_id, &[(tags::AUTO_RETRY_RUN_ID.to_owned(), made.to_string())]).await?;
        self.say(&run, made).await?;
        tracing::info!(run_id = %run_id, again = %made, "the failed run is run again");
        self.daemon.context.hints.runs();
        Ok(true)
    }

    /// The run that runs a failed one again. Where the workspace does not list its location any more, or nothing of it
    /// is left to do (its process was lost after its last step), all of it is run again.
    async fn again(&self, run: &Run, strategy: Strategy) -> Result<NewRun, Problem> {
        let location = self.daemon.context.locations.get(&run.location);
        let snapshot = location.and_then(|location| location.snapshot.clone());
        let job = snapshot.as_ref().and_then(|snapshot| snapshot.job(&run.job_name)).cloned().unwrap_or_default();
        let events =
            if strategy == Strategy::AllSteps { Vec::new() } else { self.daemon.run_events(run.run_id).await? };
        let id = RunId::random();
        let mut again = match rerun(run, &job, &events, strategy, id) {
            Ok(again) => again,
            Err(problem) => {
                tracing::debug!(run_id = %run.run_id, %problem, "all of the run is run again");
                rerun(run, &job, &[], Strategy::AllSteps, id)?
            }
        };
        let number = self.successors(run).await? + 1;
        again.tags.insert(tags::RETRY_NUMBER.to_owned(), number.to_string());
        Ok(again)
    }

    async fn has_event(&self, run_id: RunId, kind: EventKind) -> Result<bool, Problem> {
        let filter = EventFilter { run_id: Some(run_id), kinds: vec![kind], ..EventFilter::default() };
        Ok(!self.daemon.context.instance.events(&filter, None, 1).await?.is_empty())
    }

    /// How many runs have the same root, besides the root.
    async fn successors(&self, run: &Run) -> Result<u64, Problem> {
        let root = run.root_run_id.unwrap_or(run.run_id);
        let tags = vec![(tags::ROOT_RUN_ID.to_owned(), root.to_string())];
        Ok(self.daemon.context.instance.count_runs(&RunFilter { tags, ..RunFilter::default() }).await?)
    }

    /// A run of a backfill that has ended, or is about to, is not run again.
    async fn is_wanted(&self, run: &Run) -> Result<bool, Problem> {
        let Some(id) = run.tags.get(tags::BACKFILL) else { return Ok(true) };
        let backfill = self.daemon.context.instance.backfill(&BackfillId(id.clone())).await?;
        Ok(backfill
            .is_none_or(|backfill| matches!(backfill.status, BackfillStatus::Requested | BackfillStatus::Paused)))
    }

    async fn say(&self, run: &Run, again: RunId) -> Result<(), Problem> {
        let event = NewEvent {
            run_id: run.run_id,
            timestamp: self.daemon.context.now(),
            kind: EventKind::EngineEvent,
            step_key: None,
            level: Level::Info,
            message: format!("The run is run again as {again}"),
            data: serde_json::json!({ "run_id": again }),
        };
        match self.daemon.context.instance.append(&[event], None).await {
            Ok(_) | Err(InstanceError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a run failed: one of Dagster's failure reasons.
fn reason(code: Option<Code>, has_started: bool, steps_began: bool, step_failed: bool) -> &'static str {
    match code {
        _ if step_failed => "STEP_FAILURE",
        None => "UNKNOWN",
        Some(Code::RunLost) => "UNEXPECTED_TERMINATION",
        Some(Code::LimitExceeded) if !has_started => "START_TIMEOUT",
        // It came to nothing before its first step: the job is not there, its config or a resource is wrong.
        Some(code) if !steps_began && code != Code::LimitExceeded => "JOB_INITIALIZATION_FAILURE",
        Some(_) => "RUN_EXCEPTION",
    }
}

#[async_trait]
impl Reconcile for Retries {
    fn name(&self) -> &str {
        "retries"
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let instance = &self.daemon.context.instance;
        loop {
            let mut cursor = instance.follow_cursor(CURSOR).await?.unwrap_or(0);
            let page = instance.events_after(cursor, &[EventKind::RunFailure], PAGE).await?;
            if page.is_empty() {
                return Ok(INTERVAL);
            }
            // The cursor stays before the first that is not dealt with; those behind it need not wait for it.
            let mut held_up = false;
            for event in &page {
                held_up |= !self.failed(event.event.run_id).await?;
                if !held_up {
                    cursor = event.id;
                }
            }
            instance.set_follow_cursor(CURSOR, cursor).await?;
            if held_up {
                return Ok(INTERVAL);
            }
        }
    }
}
