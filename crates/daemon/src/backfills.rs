//! Backfills: asks for their runs as their turn comes, and sees them through.
//!
//! What to ask for is decided in `catchment_core::backfill_plan`. A plan is kept before its runs are made, and each run
//! is made once (its run key is its id), so whatever is cut off is taken up where it was. A backfill that its user has
//! changed meanwhile (paused, cancelled) is looked at again: each change is made on the version that it was decided on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::backfill::{Backfill, BackfillId, BackfillStatus, BackfillTarget};
use catchment_core::backfill_plan::{Chunk, Progress};
use catchment_core::definitions::{ASSET_JOB, LocationSnapshot};
use catchment_core::partitions::PartitionContext;
use catchment_core::state::Command;
use catchment_core::{NewRun, Run, RunId, RunKey, RunStatus, Selection, tags};
use catchment_instance::{BackfillFilter, InstanceError, RunFilter};
use catchment_model::{Code, Problem};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize as _;
use tokio::sync::watch;

use crate::context::Context;
use crate::dynamic_keys;
use crate::reconcile::Reconcile;

/// Between two looks while one is at work; its runs' ends, and changes by people, give a hint as well.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
/// The same while none is.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// How many backfills are read at once, and how many runs.
const PAGE: u32 = 200;

pub(crate) struct Backfills {
    context: Context,
    /// When the progress of each was last kept.
    kept: HashMap<BackfillId, Timestamp>,
}

impl Backfills {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, kept: HashMap::new() }
    }

    async fn look_at(&mut self, mut backfill: Backfill) -> Result<(), Problem> {
        let location = self.context.locations.get(&backfill.request.location);
        let Some(snapshot) = location.and_then(|location| location.snapshot.clone()) else {
            // It is taken up when its location has said what it defines; only what is cancelled needs no location.
            return match backfill.status {
                BackfillStatus::Canceling | BackfillStatus::Failing => self.let_go(backfill).await,
                _ => Ok(()),
            };
        };
        let definitions = snapshot.partitions.iter().map(|spec| &spec.definition);
        let dynamic = dynamic_keys::load(&self.context.instance, definitions).await?;
        let cx = PartitionContext { now: self.context.now(), dynamic: &dynamic };
        let mut progress = match progress(&backfill, &snapshot, cx) {
            Ok(progress) => progress,
            Err(problem) => return self.end(backfill, BackfillStatus::Failed, Some(problem)).await,
        };
        let before = progress.clone();
        self.follow(&backfill, &snapshot, &mut progress).await?;
        match backfill.status {
            BackfillStatus::Requested => {
                let most = self.context.config.backfills.runs_at_once;
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                // In batches: each plan is kept as a whole before its runs are made.
                let room = most.saturating_sub(progress.chunks.len());
                let room = if room >= most.div_ceil(10) { room } else { 0 };
                match progress.plan(room, &snapshot, cx, RunId::random) {
                    Ok(_) => {}
                    Err(problem) => {
                        backfill.status = BackfillStatus::Failing;
                        backfill.problem = Some(problem);
                    }
                }
            }
            BackfillStatus::Canceling | BackfillStatus::Failing => self.cancel_runs(&progress).await?,
            _ => {}
        }
        let over = match backfill.status {
            BackfillStatus::Requested | BackfillStatus::Paused if progress.is_over() => {
                let counts = progress.counts();
                let well = counts.done == counts.total;
                Some(if well { BackfillStatus::CompletedSuccess } else { BackfillStatus::CompletedFailed })
            }
            BackfillStatus::Canceling if progress.chunks.is_empty() => Some(BackfillStatus::Canceled),
            BackfillStatus::Failing if progress.chunks.is_empty() => Some(BackfillStatus::Failed),
            _ => None,
        };
        // What has ended is seen again at the next look: it is kept with the next plan, or after a while.
        let planned = progress.chunks.iter().any(|chunk| !before.chunks.contains(chunk));
        let late = progress != before && self.is_late(&backfill);
        if planned || late || backfill.progress.is_null() || over.is_some() || backfill.problem.is_some() {
            backfill.progress = serde_json::to_value(&progress).map_err(|error| not_kept(&backfill, &error))?;
            if let Some(status) = over {
                backfill.status = status;
                backfill.ended_at = Some(self.context.now());
            }
            backfill = self.context.instance.update_backfill(&backfill).await?;
            self.kept.insert(backfill.request.id.clone(), self.context.now());
        }
        catchment_settings::failpoint::hit("daemon.backfill_planned");
        if !backfill.status.is_final() {
            self.make_runs(&backfill, &snapshot, &progress, &before).await?;
        }
        Ok(())
    }

    /// Whether the progress was kept so long ago that people would miss what is new.
    fn is_late(&self, backfill: &Backfill) -> bool {
        let kept = self.kept.get(&backfill.request.id);
        kept.is_none_or(|kept| self.context.now().duration_since(*kept) > SignedDuration::from_secs(3))
    }

    /// Notes which chunks have ended. A run that failed counts once it is decided whether it is run again.
    async fn follow(
        &self,
        backfill: &Backfill,
        snapshot: &LocationSnapshot,
        progress: &mut Progress,
    ) -> Result<(), Problem> {
        let runs = self.runs(&progress.chunks).await?;
        for chunk in progress.chunks.clone() {
            let Some(run) = runs.get(&chunk.run_id) else {
                self.make_missing(backfill, snapshot, progress, &chunk).await?;
                continue;
            };
            let again = run.tags.get(tags::AUTO_RETRY_RUN_ID).and_then(|id| id.parse().ok());
            match (run.status, again) {
                (RunStatus::Success, _) => progress.ended(run.run_id, true),
                (RunStatus::Failure, Some(again)) => progress.replaced(run.run_id, again),
                (RunStatus::Failure, None) if is_decided(run) => progress.ended(run.run_id, false),
                (RunStatus::Canceled, _) => progress.ended(run.run_id, false),
                _ => {}
            }
        }
        Ok(())
    }

    /// A chunk without a run: it was not made yet, or was deleted since.
    async fn make_missing(
        &self,
        backfill: &Backfill,
        snapshot: &LocationSnapshot,
        progress: &mut Progress,
        chunk: &Chunk,
    ) -> Result<(), Problem> {
        if matches!(backfill.status, BackfillStatus::Canceling | BackfillStatus::Failing) {
            progress.ended(chunk.run_id, false);
            return Ok(());
        }
        self.make(backfill, snapshot, progress, chunk).await?;
        if self.context.instance.run(chunk.run_id).await?.is_none() {
            progress.ended(chunk.run_id, false);
        }
        Ok(())
    }

    async fn make_runs(
        &self,
        backfill: &Backfill,
        snapshot: &LocationSnapshot,
        progress: &Progress,
        before: &Progress,
    ) -> Result<(), Problem> {
        for chunk in progress.chunks.iter().filter(|chunk| !before.chunks.contains(chunk)) {
            self.make(backfill, snapshot, progress, chunk).await?;
            catchment_settings::failpoint::hit("daemon.backfill_run_made");
        }
        if progress.chunks != before.chunks {
            self.context.hints.runs();
        }
        Ok(())
    }

    async fn make(
        &self,
        backfill: &Backfill,
        snapshot: &LocationSnapshot,
        progress: &Progress,
        chunk: &Chunk,
    ) -> Result<(), Problem> {
        let run = new_run(backfill, snapshot, progress, chunk);
        let key = RunKey { scope: format!("backfill:{}", backfill.request.id), key: chunk.run_id.to_string() };
        self.context.instance.enqueue_once(key, run, self.context.now()).await?;
        Ok(())
    }

    async fn cancel_runs(&self, progress: &Progress) -> Result<(), Problem> {
        let mut runs = self.runs(&progress.chunks).await?;
        for run in progress.chunks.iter().filter_map(|chunk| runs.remove(&chunk.run_id)) {
            if run.status.is_final() || run.status == RunStatus::Canceling {
                continue;
            }
            match self.context.instance.command(run.run_id, Command::Cancel, None, None, self.context.now()).await {
                Ok(_) | Err(InstanceError::Refused(_) | InstanceError::NotFound(_)) => self.context.hints.runs(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn runs(&self, chunks: &[Chunk]) -> Result<HashMap<RunId, Run>, Problem> {
        let mut found = HashMap::with_capacity(chunks.len());
        for page in chunks.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
            let filter = RunFilter { run_ids: page.iter().map(|chunk| chunk.run_id).collect(), ..RunFilter::default() };
            let runs = self.context.instance.runs(&filter, None, PAGE).await?;
            found.extend(runs.into_iter().map(|run| (run.run_id, run)));
        }
        Ok(found)
    }

    /// Cancels the runs of a backfill whose location is not known, and ends it once they have ended.
    async fn let_go(&self, backfill: Backfill) -> Result<(), Problem> {
        let over = match backfill.status {
            BackfillStatus::Failing => BackfillStatus::Failed,
            _ => BackfillStatus::Canceled,
        };
        let problem = backfill.problem.clone();
        if backfill.progress.is_null() {
            return self.end(backfill, over, problem).await;
        }
        let progress = parsed(&backfill)?;
        self.cancel_runs(&progress).await?;
        let runs = self.runs(&progress.chunks).await?;
        if runs.values().all(|run| run.status.is_final()) {
            return self.end(backfill, over, problem).await;
        }
        Ok(())
    }

    async fn end(
        &self,
        mut backfill: Backfill,
        status: BackfillStatus,
        problem: Option<Problem>,
    ) -> Result<(), Problem> {
        backfill.status = status;
        backfill.problem = problem;
        backfill.ended_at = Some(self.context.now());
        self.context.instance.update_backfill(&backfill).await?;
        Ok(())
    }
}

/// What is kept of a backfill's progress, or its first plan.
fn progress(backfill: &Backfill, snapshot: &LocationSnapshot, cx: PartitionContext<'_>) -> Result<Progress, Problem> {
    if backfill.progress.is_null() {
        return Progress::start(&backfill.request, snapshot, cx);
    }
    parsed(backfill)
}

fn parsed(backfill: &Backfill) -> Result<Progress, Problem> {
    Progress::deserialize(&backfill.progress).map_err(|error| {
        Problem::new(Code::Integrity, "the progress of the backfill cannot be read")
            .place(format!("backfill {}", backfill.request.id))
            .cause(error.to_string())
            .remedy("ask for a new backfill of what is missing")
    })
}

fn not_kept(backfill: &Backfill, error: &serde_json::Error) -> Problem {
    Problem::new(Code::Bug, "the progress of the backfill cannot be written as JSON")
        .place(format!("backfill {}", backfill.request.id))
        .cause(error.to_string())
}

/// Whether it was decided that a failed run is not run again by itself.
fn is_decided(run: &Run) -> bool {
    run.tags.contains_key(tags::FAILURE_REASON) && run.tags.get(tags::WILL_RETRY).is_none_or(|will| will != "true")
}

fn new_run(backfill: &Backfill, snapshot: &LocationSnapshot, progress: &Progress, chunk: &Chunk) -> NewRun {
    let request = &backfill.request;
    let assets = progress.groups.get(chunk.group).map(|group| group.assets.clone()).unwrap_or_default();
    let (job_name, definition) = match &request.target {
        BackfillTarget::Job { job, .. } => (job.clone(), snapshot.job(job).and_then(|job| job.partitions.as_deref())),
        BackfillTarget::Assets { .. } => {
            let first = assets.first().and_then(|key| snapshot.asset(key));
            (ASSET_JOB.to_owned(), first.and_then(|asset| asset.partitions.as_deref()))
        }
    };
    let job_tags = snapshot.job(&job_name).map(|job| job.tags.clone()).unwrap_or_default();
    let mut run_tags = job_tags;
    run_tags.extend(request.tags.clone());
    run_tags.insert(tags::BACKFILL.to_owned(), request.id.to_string());
    let keys = progress.keys(chunk);
    let partition_key = match keys.as_slice() {
        [] => None,
        [only] => {
            let definition = definition.and_then(|name| snapshot.partitions(name));
            run_tags.extend(tags::of_partition(definition, only));
            Some((*only).to_owned())
        }
        [first, .., last] => {
            run_tags.insert(tags::PARTITION_RANGE_START.to_owned(), (*first).to_owned());
            run_tags.insert(tags::PARTITION_RANGE_END.to_owned(), (*last).to_owned());
            None
        }
    };
    NewRun {
        run_id: chunk.run_id,
        job_name,
        location: request.location.clone(),
        run_config: request.run_config.clone(),
        tags: run_tags,
        partition_key,
        selection: Selection { assets, ..Selection::default() },
        parent_run_id: None,
        root_run_id: None,
    }
}

#[async_trait]
impl Reconcile for Backfills {
    fn name(&self) -> &str {
        "backfills"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("BACKFILL")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let statuses = BackfillStatus::ALL.into_iter().filter(|status| !status.is_final()).collect();
        let filter = BackfillFilter { statuses, ..BackfillFilter::default() };
        let mut before = None;
        let mut any = false;
        let mut open = HashSet::new();
        loop {
            let page = self.context.instance.backfills(&filter, before.as_ref(), PAGE).await?;
            let Some(last) = page.last().map(|backfill| backfill.request.id.clone()) else { break };
            before = Some(last);
            any = true;
            for backfill in page {
                let id = backfill.request.id.clone();
                open.insert(id.clone());
                if let Err(problem) = self.look_at(backfill).await {
                    tracing::warn!(backfill = %id, %problem, "a backfill could not be looked after; it is tried again");
                }
            }
        }
        self.kept.retain(|id, _| open.contains(id));
        Ok(if any { BUSY_INTERVAL } else { IDLE_INTERVAL })
    }
}
