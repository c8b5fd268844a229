//! The run queue: takes runs from it and starts their processes.
//!
//! Who may start is decided in `catchment_core::queue`. `Launch` is compare-and-set in the state, so a run is handed
//! over once. Whatever is cut off after it (the daemon killed, the location away) leaves a run in STARTING without a
//! process: it is put back, here, at the next start of a daemon, or by the monitor when the lease lapses, with a
//! higher epoch. A run whose location is away stays in the queue and says why; it delays no run of another location.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::definitions::StepSpec;
use catchment_core::queue::{Granularity, Limits, RunPools, TagLimit, TagValue, next};
use catchment_core::reexecution::selected;
use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, Run, RunId, RunStatus};
use catchment_instance::{InstanceError, Lease, Pool};
use catchment_launchers::{LaunchRequest, RunProcess, Stop};
use catchment_model::Problem;
use catchment_settings::config::{PoolGranularity, TagLimitValue};
use catchment_settings::failpoint;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::Daemon;
use crate::locations::{LocationError, LocationState};
use crate::monitor::later;
use crate::reconcile::{Reconcile, backoff};

/// How many runs are told at once why they wait.
const SAID_AT_ONCE: usize = 200;
/// Between two looks while runs wait; every way to make a run or free a slot gives a hint as well.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
/// The same while none waits.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Queue {
    daemon: Arc<Daemon>,
    /// Locations that did not answer at the last launch: how often in a row, and when they are asked again.
    away: HashMap<String, (u32, Timestamp)>,
    /// What was said in the log of a run that waits for its location.
    said: HashMap<RunId, String>,
}

impl Queue {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon, away: HashMap::new(), said: HashMap::new() }
    }

    /// The location of a run, where it can be asked now; else why not.
    fn location_of(&self, run: &Run) -> Result<Arc<LocationState>, String> {
        let Some(location) = self.daemon.context.locations.get(&run.location) else {
            return Err(format!("the workspace does not list the code location `{}`", run.location));
        };
        if !location.is_here {
            let why = location.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
            return Err(format!("the code location `{}` is away{why}", run.location));
        }
        match self.away.get(&run.location) {
            Some((_, until)) if self.daemon.context.now() < *until => {
                Err(format!("the code location `{}` did not answer", run.location))
            }
            _ => Ok(location),
        }
    }

    /// Says once in the log of each run why it waits, and again when the reason changes.
    async fn say_why(&mut self, waiting: Vec<(RunId, String)>) -> Result<(), Problem> {
        let news = waiting.into_iter().filter(|(run_id, why)| self.said.get(run_id) != Some(why));
        let news: Vec<_> = news.take(SAID_AT_ONCE).collect();
        let timestamp = self.daemon.context.now();
        let events: Vec<_> = news
            .iter()
            .map(|(run_id, why)| NewEvent {
                run_id: *run_id,
                timestamp,
                kind: EventKind::EngineEvent,
                step_key: None,
                level: Level::Warning,
                message: format!("The run stays in the queue: {why}"),
                data: serde_json::Value::Null,
            })
            .collect();
        if !events.is_empty() {
            self.daemon.context.instance.append(&events, None).await?;
        }
        self.said.extend(news);
        Ok(())
    }

    fn limits(&self, pools: &[Pool], of_runs: &BTreeMap<RunId, RunPools>) -> Limits {
        let config = &self.daemon.context.config;
        let granularity = match config.concurrency.pools.granularity {
            PoolGranularity::Op => Granularity::Step,
            PoolGranularity::Run => Granularity::Run,
        };
        let named: HashSet<&str> = of_runs.values().flat_map(|of| of.all.iter().map(String::as_str)).collect();
        let slots = named.into_iter().filter_map(|name| {
            let pool = pools.iter().find(|pool| pool.name == name);
            let limit = pool.and_then(|pool| pool.limit).or(config.concurrency.pools.default_limit)?;
            let held = match granularity {
                Granularity::Step => pool.map_or(0, |pool| pool.slots.len()),
                Granularity::Run => 0,
            };
            Some((name.to_owned(), wide(limit).saturating_sub(held)))
        });
        let tags = config.run_queue.tag_concurrency_limits.iter().map(|limit| TagLimit {
            key: limit.key.clone(),
            value: match &limit.value {
                TagLimitValue::Any => TagValue::Any,
                TagLimitValue::PerUniqueValue => TagValue::PerUniqueValue,
                TagLimitValue::Is(value) => TagValue::Is(value.clone()),
            },
            limit: wide(limit.limit),
        });
        Limits {
            max_concurrent_runs: usize::try_from(config.run_queue.max_concurrent_runs).ok(),
            tags: tags.collect(),
            pools: slots.collect(),
            granularity,
        }
    }

    /// The pools of a run's steps, as its location defines them.
    fn pools_of(&self, run: &Run) -> RunPools {
        let location = self.daemon.context.locations.get(&run.location);
        let snapshot = location.as_ref().and_then(|location| location.snapshot.clone());
        let Some(job) = snapshot.as_ref().and_then(|snapshot| snapshot.job(&run.job_name)) else {
            return RunPools::default();
        };
        let steps = selected(job, &run.selection);
        let keys: HashSet<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        let is_first = |step: &&&StepSpec| !step.needs.iter().any(|needed| keys.contains(needed.as_str()));
        RunPools {
            first: steps.iter().filter(is_first).map(|step| step.pool.clone()).collect(),
            all: steps.iter().filter_map(|step| step.pool.clone()).collect(),
        }
    }
}

fn wide(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// What came of the launches of one location.
struct Launched {
    location: String,
    outcome: Result<(), Launch>,
}

/// Why launches of a location stopped.
enum Launch {
    /// It was away.
    Away(Problem),
    /// The state could not be written.
    Failed(Problem),
}

/// Launches the runs of one location, in order, until it turns out to be away.
async fn launch_all(daemon: &Daemon, location: Arc<LocationState>, runs: Vec<RunId>) -> Launched {
    let mut outcome = Ok(());
    for run_id in runs {
        outcome = launch(daemon, &location, run_id).await;
        if outcome.is_err() {
            break;
        }
    }
    Launched { location: location.name.clone(), outcome }
}

async fn launch(daemon: &Daemon, location: &LocationState, run_id: RunId) -> Result<(), Launch> {
    let failed = |error: InstanceError| Launch::Failed(error.into());
    // The location is asked before the run is taken from the queue: while it is away, nothing of the run changes.
    let Some(mut run) = daemon.context.instance.run(run_id).await.map_err(failed)? else { return Ok(()) };
    run.lease_epoch += 1;
    let command = match location.client.run_command(&run).await {
        Ok(command) => Ok(command),
        Err(LocationError::Away(problem)) => return Err(Launch::Away(problem)),
        Err(LocationError::Refused(problem)) => Err(problem),
    };
    let now = daemon.context.now();
    let until = later(now, crate::monitor::start_timeout(&daemon.context));
    let expected = run.lease_epoch;
    let run = match daemon.context.instance.command(run_id, Command::Launch, None, Some(until), now).await {
        Ok(run) => run,
        // It was cancelled meanwhile.
        Err(InstanceError::Refused(_) | InstanceError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    failpoint::hit("daemon.after_launch_command");
    let lease = Lease { run_id, epoch: run.lease_epoch };
    let command = match command {
        Ok(command) if run.lease_epoch == expected => command,
        // Somebody had it in between: the command would start a process of an older epoch.
        Ok(_) => return give_back(daemon, lease, Command::Requeue).await.map_err(Launch::Failed),
        Err(problem) => return give_back(daemon, lease, Command::Fail(problem)).await.map_err(Launch::Failed),
    };
    let request = LaunchRequest {
        run_id,
        epoch: run.lease_epoch,
        program: command.program,
        arguments: command.arguments,
        environment: command
            .environment
            .into_iter()
            .chain(daemon.context.config.concurrency.pools.variables())
            .collect(),
        log_dir: daemon.home.run_log_dir(&run_id.to_string()),
    };
    failpoint::hit("daemon.before_spawn");
    daemon.set_child(run_id, run.lease_epoch, true);
    match daemon.launcher.launch(request).await {
        Ok(process) => {
            failpoint::hit("daemon.after_spawn");
            tracing::info!(run_id = %lease.run_id, job = run.job_name, process, "the run's process was started");
            note_process(daemon, lease, &process).await;
            Ok(())
        }
        Err(problem) => {
            daemon.set_child(run_id, run.lease_epoch, false);
            give_back(daemon, lease, Command::Fail(problem)).await.map_err(Launch::Failed)
        }
    }
}

/// Where this cannot be written, the lease decides about the run, and the end of an own child is told anyway. A process
/// whose run was cancelled by force between its launch and this is ended.
pub(crate) async fn note_process(daemon: &Daemon, lease: Lease, process: &str) {
    match daemon.context.instance.note_process(lease, process).await {
        Ok(_) => {}
        Err(InstanceError::LeaseLost { .. }) => {
            let Lease { run_id, epoch } = lease;
            let process = RunProcess { run_id, epoch, handle: Some(process.to_owned()) };
            daemon.launcher.stop(&process, Stop::Force).await;
        }
        Err(error) => tracing::debug!(run_id = %lease.run_id, %error, "the process of the run was not noted"),
    }
}

/// Ends a launch that came to nothing. A run that was cancelled meanwhile is left to the monitor.
async fn give_back(daemon: &Daemon, lease: Lease, command: Command) -> Result<(), Problem> {
    let answer = daemon.context.instance.command(lease.run_id, command, Some(lease), None, daemon.context.now()).await;
    daemon.context.hints.runs();
    match answer {
        Ok(_) | Err(InstanceError::Refused(_) | InstanceError::LeaseLost { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[async_trait]
impl Reconcile for Queue {
    fn name(&self) -> &str {
        "queue"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("QUEUED_RUN_COORDINATOR")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let daemon = self.daemon.clone();
        let mut live = daemon.context.instance.live_runs().await?;
        if !self.said.is_empty() {
            let queued: HashSet<RunId> = live.iter().map(|run| run.run_id).collect();
            self.said.retain(|id, _| queued.contains(id));
        }
        if !live.iter().any(|run| run.status == RunStatus::Queued) {
            return Ok(IDLE_INTERVAL);
        }
        let mut waiting = Vec::new();
        let mut locations = HashMap::new();
        let mut kept = Vec::with_capacity(live.len());
        for run in live.drain(..) {
            if run.status == RunStatus::Queued {
                match self.location_of(&run) {
                    Ok(location) => drop(locations.insert(run.run_id, location)),
                    Err(why) => {
                        waiting.push((run.run_id, why));
                        continue;
                    }
                }
            }
            kept.push(run);
        }
        self.say_why(waiting).await?;
        let pools: BTreeMap<_, _> = kept.iter().map(|run| (run.run_id, self.pools_of(run))).collect();
        let known = if pools.values().all(|of| of.all.is_empty()) {
            Vec::new()
        } else {
            daemon.context.instance.pools().await?
        };
        let limits = self.limits(&known, &pools);
        let decision = next(&kept, &limits, &|run| pools.get(&run.run_id).cloned().unwrap_or_default());
        let mut groups: Vec<(Arc<LocationState>, Vec<RunId>)> = Vec::new();
        for run_id in decision.launch {
            let Some(location) = locations.get(&run_id) else { continue };
            match groups.iter_mut().find(|(group, _)| group.name == location.name) {
                Some((_, runs)) => runs.push(run_id),
                None => groups.push((location.clone(), vec![run_id])),
            }
        }
        let launched = join_all(groups.into_iter().map(|(location, runs)| launch_all(&daemon, location, runs))).await;
        let mut failed = None;
        for Launched { location, outcome } in launched {
            match outcome {
                Ok(()) => drop(self.away.remove(&location)),
                Err(Launch::Away(problem)) => {
                    tracing::warn!(location, %problem, "a code location did not answer; its runs stay in the queue");
                    let tries = self.away.get(&location).map_or(1, |(tries, _)| tries + 1);
                    self.away.insert(location, (tries, later(daemon.context.now(), backoff(tries))));
                }
                Err(Launch::Failed(problem)) => failed = Some(problem),
            }
        }
        failed.map_or(Ok(BUSY_INTERVAL), Err)
    }
}
