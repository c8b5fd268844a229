//! Run monitoring: finds runs whose process is gone or no longer renews its lease, sees cancels through, and has
//! scratch removed.
//!
//! What to do about a run is a pure decision ([`verdict`]) over what is known of it. An error about one run leaves
//! it for the next look and touches no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::state::Command;
use catchment_core::{Run, RunId, RunStatus, tags};
use catchment_instance::{InstanceError, Lease, RunFilter};
use catchment_launchers::{Exit, Liveness, RunProcess, Stop};
use catchment_model::{Code, Problem};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::context::Context;
use crate::reconcile::Reconcile;
use crate::{Daemon, recovery, scratch};

/// How many runs are read at once.
const PAGE: u32 = 500;
/// Between two looks while no run is live.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// The same while one is.
const BUSY_INTERVAL: Duration = Duration::from_millis(500);
/// A process that works renews its lease every two seconds; one that has not for so long is given up.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// What a look counts at most for the time since the look before: a daemon that slept has not seen that nothing came.
const COUNTS_AT_MOST: Duration = Duration::from_secs(2);
/// How often a run is put back because no process of it ever spoke, before it counts as failed.
const LAUNCH_TRIES: u32 = 3;

/// What is to be done about a live run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Leave,
    /// No process of it ever spoke: put it back into the queue.
    PutBack,
    /// Its process is gone: take it over; this is why.
    TakeOver(String),
    /// It has worked longer than it may, in seconds: its process is ended.
    TooLong(u64),
    /// It is being cancelled, and its process may still live.
    Escalate,
}

/// Decides about a run: `ended` is the end of its process, where it was reported; `liveness` what a look at the
/// process gave; `stood_still` for how long its lease was seen not to be renewed. That is measured here, not by the
/// lease's own time: clocks of machines differ, jump, and go on while a machine sleeps.
pub(crate) fn verdict(
    run: &Run,
    now: Timestamp,
    ended: Option<&Exit>,
    liveness: Liveness,
    stood_still: Duration,
    max_runtime: Option<Duration>,
) -> Verdict {
    let patience = if run.status == RunStatus::Starting { first_lease(run) } else { RENEWED_WITHIN };
    let lapsed = run.lease_until.is_none() || stood_still >= patience;
    let gone = match (ended, liveness) {
        (Some(exit), _) => Some(format!("its process {} has ended with {}", exit.process, exit.how)),
        (None, Liveness::Gone) => Some("its process is gone".to_owned()),
        _ => None,
    };
    match (run.status, gone) {
        (RunStatus::NotStarted | RunStatus::Queued | RunStatus::Managed, _) => Verdict::Leave,
        (status, _) if status.is_final() => Verdict::Leave,
        (RunStatus::Starting, Some(why)) => Verdict::TakeOver(format!("{why}, before it began to work")),
        (_, Some(why)) => Verdict::TakeOver(why),
        (RunStatus::Starting, None) if lapsed => Verdict::PutBack,
        (RunStatus::Canceling, None) if lapsed && liveness != Liveness::Alive => {
            Verdict::TakeOver("its process does not answer".to_owned())
        }
        (RunStatus::Canceling, None) => Verdict::Escalate,
        (_, None) if lapsed => Verdict::TakeOver("its process has not renewed its lease".to_owned()),
        (_, None) => match longest(run, max_runtime) {
            Some(longest) if run.started_at.is_some_and(|start| later(start, longest) < now) => {
                Verdict::TooLong(longest.as_secs())
            }
            _ => Verdict::Leave,
        },
    }
}

/// The time that a process was given at its launch.
fn first_lease(run: &Run) -> Duration {
    let given = run.launched_at.zip(run.lease_until).map(|(from, until)| until.duration_since(from));
    given.and_then(|given| Duration::try_from(given).ok()).unwrap_or(RENEWED_WITHIN)
}

/// How long a run may work: as its tag says, else as the settings do; 0 does not bound.
fn longest(run: &Run, max_runtime: Option<Duration>) -> Option<Duration> {
    let own = run.tags.get(tags::MAX_RUNTIME).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    own.or(max_runtime).filter(|longest| !longest.is_zero())
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

/// How long a process may take from its launch to its first word: the first lease.
pub(crate) fn start_timeout(context: &Context) -> Duration {
    seconds(context.config.run_monitoring.start_timeout_seconds)
}

/// The point of time that lies `time` after `now`.
pub(crate) fn later(now: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_add(time).ok()).unwrap_or(Timestamp::MAX)
}

/// How far the cancelling of a run has come.
struct Cancelling {
    since: Timestamp,
    forced: bool,
}

/// A lease as it was seen last, and for how long it has stood so.
struct Seen {
    epoch: i64,
    until: Option<Timestamp>,
    stood_still: Duration,
}

pub(crate) struct Monitor {
    daemon: Arc<Daemon>,
    ended: HashMap<(RunId, i64), Exit>,
    cancelling: HashMap<RunId, Cancelling>,
    put_back: HashMap<RunId, u32>,
    seen: HashMap<RunId, Seen>,
    looked_at: Option<Timestamp>,
    scratch: scratch::Sweeper,
}

impl Monitor {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self {
            daemon,
            ended: HashMap::new(),
            cancelling: HashMap::new(),
            put_back: HashMap::new(),
            seen: HashMap::new(),
            looked_at: None,
            scratch: scratch::Sweeper::default(),
        }
    }

    /// The runs that have a process, or should.
    async fn active(&self) -> Result<Vec<Run>, Problem> {
        let statuses = RunStatus::ALL.into_iter().filter(|status| status.is_active()).collect();
        let filter = RunFilter { statuses, ..RunFilter::default() };
        let mut found: Vec<Run> = Vec::new();
        loop {
            let before = found.last().map(|run| run.run_id);
            let page = self.daemon.context.instance.runs(&filter, before, PAGE).await?;
            let full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            found.extend(page);
            if !full {
                return Ok(found);
            }
        }
    }

    fn max_runtime(&self) -> Option<Duration> {
        Some(seconds(self.daemon.context.config.run_monitoring.max_runtime_seconds))
    }

    /// For how long the lease of a run was seen not to be renewed.
    fn stood_still(&mut self, run: &Run, passed: Duration) -> Duration {
        let fresh = Seen { epoch: run.lease_epoch, until: run.lease_until, stood_still: Duration::ZERO };
        let seen = self.seen.entry(run.run_id).or_insert(fresh);
        if (seen.epoch, seen.until) == (run.lease_epoch, run.lease_until) {
            seen.stood_still += passed;
        } else {
            *seen = Seen { epoch: run.lease_epoch, until: run.lease_until, stood_still: Duration::ZERO };
        }
        seen.stood_still
    }

    async fn look_at(&mut self, run: &Run, passed: Duration) -> Result<(), Problem> {
        let stood_still = self.stood_still(run, passed);
        let process = RunProcess::from(run);
        let ended = self.ended.get(&(run.run_id, run.lease_epoch));
        // The end of an own child is reported, with how it ended.
        let look = run.process.is_some() && !self.daemon.is_child(run.run_id, run.lease_epoch);
        let liveness =
            if look && ended.is_none() { self.daemon.launcher.liveness(&process).await } else { Liveness::Unknown };
        match verdict(run, self.daemon.context.now(), ended, liveness, stood_still, self.max_runtime()) {
            Verdict::Leave => Ok(()),
            Verdict::PutBack => self.put_back(run).await,
            Verdict::TakeOver(why) => {
                recovery::take_over(&self.daemon, run, &why).await?;
                self.scratch.due();
                Ok(())
            }
            Verdict::TooLong(seconds) => {
                let what = format!("the run has worked longer than the {seconds} s that it may");
                let remedy = "give it more by its tag dagster/max_runtime, or run_monitoring.max_runtime_seconds";
                let problem = Problem::new(Code::LimitExceeded, what).remedy(remedy);
                recovery::end(&self.daemon, run, problem).await?;
                self.scratch.due();
                Ok(())
            }
            Verdict::Escalate => self.escalate(run, &process).await,
        }
    }

    async fn put_back(&mut self, run: &Run) -> Result<(), Problem> {
        let tries = self.put_back.entry(run.run_id).or_insert(1);
        *tries += 1;
        let lease = Lease { run_id: run.run_id, epoch: run.lease_epoch };
        let command = if *tries > LAUNCH_TRIES {
            Command::Fail(
                Problem::new(
                    Code::LimitExceeded,
                    format!("no process of the run began to work in time, {LAUNCH_TRIES} times"),
                )
                .remedy("see the run's stderr.log and the code location's log"),
            )
        } else {
            tracing::warn!(run_id = %run.run_id, "no process of the run has spoken in time: it is put back");
            Command::Requeue
        };
        let answer = self
            .daemon
            .context
            .instance
            .command(run.run_id, command, Some(lease), None, self.daemon.context.now())
            .await;
        match answer {
            Ok(_) => {
                self.daemon.launcher.stop(&run.into(), Stop::Force).await;
                self.daemon.context.hints.runs();
                Ok(())
            }
            // It spoke after all.
            Err(InstanceError::Refused(_) | InstanceError::LeaseLost { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The process sees the cancel when it renews its lease; it is asked at once, so that it need not wait for that,
    /// and forced after the grace.
    async fn escalate(&mut self, run: &Run, process: &RunProcess) -> Result<(), Problem> {
        let now = self.daemon.context.now();
        let grace = seconds(self.daemon.context.config.run_monitoring.cancel_timeout_seconds);
        match self.cancelling.get_mut(&run.run_id) {
            None => {
                self.cancelling.insert(run.run_id, Cancelling { since: now, forced: false });
                self.daemon.launcher.stop(process, Stop::Ask).await;
            }
            Some(state) if !state.forced && now >= later(state.since, grace) => {
                state.forced = true;
                tracing::warn!(run_id = %run.run_id, "the cancelled run did not let go in time: it is killed");
                self.daemon.launcher.stop(process, Stop::Force).await;
            }
            // It is not where a signal reaches it: it is taken from it, so that it can write nothing more.
            Some(state) if state.forced && now >= later(later(state.since, grace), grace) => {
                recovery::take_over(&self.daemon, run, "it was cancelled and its process cannot be reached").await?;
            }
            Some(_) => {}
        }
        Ok(())
    }
}

#[async_trait]
impl Reconcile for Monitor {
    fn name(&self) -> &str {
        "monitor"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("MONITORING")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let ended = self.daemon.take_ended();
        if !ended.is_empty() {
            self.scratch.due();
        }
        self.ended.extend(ended.into_iter().map(|exit| ((exit.run_id, exit.epoch), exit)));
        let now = self.daemon.context.now();
        let passed = self.looked_at.and_then(|last| Duration::try_from(now.duration_since(last)).ok());
        // A look that fails does not count: the renewals that it would have seen may have come.
        self.looked_at = None;
        let live = self.active().await?;
        self.looked_at = Some(now);
        for run in &live {
            let passed = passed.unwrap_or_default().min(COUNTS_AT_MOST);
            if let Err(problem) = self.look_at(run, passed).await {
                tracing::warn!(run_id = %run.run_id, %problem, "the run could not be looked after; it is tried again");
            }
        }
        let is_live = |id: &RunId| live.iter().any(|run| run.run_id == *id);
        self.ended.retain(|(id, _), _| is_live(id));
        self.cancelling.retain(|id, _| is_live(id));
        self.seen.retain(|id, _| is_live(id));
        self.scratch.sweep(&self.daemon).await;
        // A queued run may be active a moment later.
        Ok(if live.is_empty() { IDLE_INTERVAL } else { BUSY_INTERVAL })
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
