//! A run from its take-over to its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::state::Command;
use catchment_core::{Event, EventKind, Level, NewEvent, Run, RunId, RunStatus, tags};
use catchment_instance::{EventFilter, InstanceError, Lease, SharedInstance};
use catchment_model::{Code, Problem};
use catchment_settings::config::{OperatorConfig, PoolGranularity};
use catchment_settings::{Home, clock, failpoint, task, wake};
use serde_json::{Value, json};

use super::execution::Execution;
use super::guard::{AHEAD, Guard, lost};
use super::journal::{Journal, Record};
use super::limits::Limits;
use super::lineage::Lineage;
use super::opening::Opening;
use super::patience::patiently;
use super::slots::Slots;
use super::{Halt, inputs, logs, partitions, steps};
use crate::config;
use crate::context::RunScope;
use crate::definitions::Definitions;
use crate::io_manager::FilesIoManager;
use crate::output::OpenRun;
use crate::plan::{Past, Plan};
use crate::resource::Resources;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// Every step ended well.
    Success,
    /// A step failed, or the run could not begin.
    Failure(Problem),
    /// It was cancelled.
    Canceled,
}

/// How long the event log may take when the run is cancelled.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How many runs back the values of a re-execution may lie.
const LONGEST_CHAIN: usize = 100;
const PAGE: u32 = 5_000;

struct InstanceRecord {
    instance: SharedInstance,
    lease: Lease,
}

#[async_trait]
impl Record for InstanceRecord {
    async fn append(&self, events: &[NewEvent]) -> Result<(), Problem> {
        self.instance.append(events, Some(self.lease)).await.map(drop).map_err(Problem::from)
    }
}

/// Takes the run over, runs its steps, and ends it.
///
/// # Errors
/// `lease_lost` where the run belongs to another process (nothing is written then), and what the state may
/// answer.
pub(crate) async fn execute(
    definitions: &Definitions,
    instance: SharedInstance,
    resources: Resources,
    lease: Lease,
    halt: Halt,
) -> Result<End, Problem> {
    let taken = instance.command(lease.run_id, Command::Start, Some(lease), Some(clock::now() + AHEAD), clock::now());
    let run = match taken.await {
        Ok(run) => run,
        Err(InstanceError::Refused(refused)) if refused.from == RunStatus::Canceling => {
            return end(&instance, lease, Command::Canceled).await.map(|()| End::Canceled);
        }
        Err(InstanceError::Refused(refused)) => return Err(lost(lease, &format!("the run is {}", refused.from))),
        Err(error) => return Err(error.into()),
    };
    failpoint::hit("run.started");
    wake_daemon(&resources);
    let guard = Guard::start(instance.clone(), lease, halt.clone())
        .map_err(|error| Problem::new(Code::Io, "the lease's thread cannot be started").cause(error.to_string()))?;
    let scratch = resources.surroundings().home.scratch_dir(&lease.run_id.to_string());
    let ended = carry_out(definitions, &instance, &resources, &run, scratch.clone(), lease, halt).await;
    drop(guard);
    if !matches!(&ended, Err(problem) if problem.code == Code::LeaseLost)
        && let Err(error) = std::fs::remove_dir_all(&scratch)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, scratch = %scratch.display(), "scratch could not be removed");
    }
    wake_daemon(&resources);
    ended
}

async fn carry_out(
    definitions: &Definitions,
    instance: &SharedInstance,
    resources: &Resources,
    run: &Run,
    scratch: PathBuf,
    lease: Lease,
    halt: Halt,
) -> Result<End, Problem> {
    let prepared = match prepare(definitions, instance, resources, run, lease).await {
        Ok(prepared) => prepared,
        Err(problem) if problem.code == Code::LeaseLost => return Err(problem),
        Err(problem) => return fail(instance, lease, problem).await,
    };
    let record = Arc::new(InstanceRecord { instance: instance.clone(), lease });
    let journal = Journal::start(lease.run_id, record, halt.clone());
    let _registered = logs::Registered::new(lease.run_id, journal.clone());
    let run_config = prepared.run_config;
    resources.share_instance(instance);
    let resources = resources.configured(&run_config, Some(journal.clone()));
    let opening = Arc::new(Opening::of(to_open(&prepared.plan, run, lease), resources.clone()));
    // Whoever commits hears why it failed, and tries again.
    let ahead = opening.clone();
    drop(task::spawn("open run", async move { ahead.done().await.ok() }));
    let scope = Arc::new(RunScope {
        run_id: lease.run_id,
        epoch: lease.epoch,
        job_name: run.job_name.clone(),
        partition_key: run.partition_key.clone(),
        tags: run.tags.clone(),
        scratch,
        halt,
        children: Default::default(),
        journal: journal.clone(),
        resources: resources.clone(),
        opening: opening.clone(),
        run_config,
    });
    let home = &resources.surroundings().home;
    let execution = Arc::new(Execution {
        definitions: definitions.clone(),
        plan: prepared.plan,
        past: prepared.past,
        limits: prepared.limits,
        slots: Some(prepared.slots),
        lineage: prepared.lineage,
        partitions: prepared.partitions,
        default_io: Arc::new(FilesIoManager::new(home.storage_root())),
        scope: scope.clone(),
    });
    let mut first = execution.planned();
    first.extend(captured(&journal, home, lease));
    journal.tell(first);
    let steps = steps::run(execution).await;
    let lost = matches!(&steps, Err(problem) if problem.code == Code::LeaseLost);
    scope.children.end(!lost).await;
    let ended = match steps {
        Ok(ended) => ended,
        Err(problem) if problem.code == Code::LeaseLost => return Err(problem),
        Err(problem) if problem.code == Code::Canceled => {
            tracing::info!(run_id = %lease.run_id, "the run was cancelled");
            // The log's last lines are worth a moment, no more: the cancel comes first.
            tokio::time::timeout(LAST_WORDS, journal.flush()).await.ok();
            return cancel(instance, lease).await;
        }
        Err(problem) => return fail(instance, lease, problem).await,
    };
    journal.flush().await?;
    let problem = match summary(ended.failures) {
        Some(problem) => Some(problem),
        None => opening.done().await.err(),
    };
    failpoint::hit("run.before_end");
    match problem {
        None => end(instance, lease, Command::Succeed).await.map(|()| End::Success),
        Some(problem) if problem.code == Code::LeaseLost => Err(problem),
        Some(problem) => fail(instance, lease, problem).await,
    }
}

/// What is known of a run before its first step.
struct Prepared {
    plan: Plan,
    past: Past,
    run_config: Value,
    limits: Limits,
    slots: Slots,
    lineage: Lineage,
    partitions: BTreeMap<String, Vec<String>>,
}

async fn prepare(
    definitions: &Definitions,
    instance: &SharedInstance,
    resources: &Resources,
    run: &Run,
    lease: Lease,
) -> Result<Prepared, Problem> {
    let job = definitions.find_job(&run.job_name)?;
    let past = past(instance, run).await?;
    let plan = Plan::after(definitions, &job, &run.selection, &past)?;
    inputs::all_kept(&plan, &past)?;
    inputs::all_stored(definitions, &plan, resources)?;
    let run_config = config::merged(&job, &run.run_config);
    let faults = config::faults(definitions, &definitions.steps_of(&job), &plan.step_keys(), &run_config);
    if !faults.is_empty() {
        return Err(config::problem(faults).place(format!("run {}", run.run_id)));
    }
    let partition = run.partition_key.as_deref();
    let partitions = partitions::of_run(definitions, &plan, partition, &run.tags, Some(instance)).await?;
    let outside: BTreeMap<String, Option<String>> = plan
        .outside_assets()
        .into_iter()
        .map(|key| {
            let name = definitions.asset(&key).and_then(|(_, spec)| spec.partitions.as_ref());
            let keys = name.and_then(|name| partitions.get(name)).filter(|keys| keys.len() == 1);
            let partition = keys.and_then(|keys| keys.first()).cloned();
            (key, partition)
        })
        .collect();
    let surroundings = resources.surroundings();
    // The daemon's own settings, wherever this process runs; without a daemon those of its home.
    let pools = match &surroundings.environment.pools {
        Some(told) => told.clone(),
        None => OperatorConfig::load(&surroundings.home)?.concurrency.pools,
    };
    Ok(Prepared {
        limits: Limits::of(&run_config, job.concurrency),
        lineage: Lineage::of(instance, &outside).await?,
        slots: Slots {
            instance: instance.clone(),
            lease,
            default_limit: pools.default_limit,
            // A run that holds slots as a whole has them already.
            of_steps: pools.granularity == PoolGranularity::Op,
        },
        plan,
        past,
        run_config,
        partitions,
    })
}

/// What the runs gave that this one re-executes: its parent, that one's parent, and so on.
async fn past(instance: &SharedInstance, run: &Run) -> Result<Past, Problem> {
    let mut past = Past::default();
    let mut next = run.parent_run_id.filter(|_| !run.selection.steps.is_empty());
    for _ in 0..LONGEST_CHAIN {
        let Some(run_id) = next else { break };
        past.add_run_before(&events_of_past(instance, run_id).await?);
        next = instance.run(run_id).await?.and_then(|parent| parent.parent_run_id);
    }
    Ok(past)
}

/// The events of a run that say what its steps gave, in order.
async fn events_of_past(instance: &SharedInstance, run_id: RunId) -> Result<Vec<Event>, Problem> {
    let filter = EventFilter { run_id: Some(run_id), kinds: Past::KINDS.to_vec(), ..EventFilter::default() };
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = instance.events(&filter, events.last().map(|event| event.id), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        events.extend(page);
        if is_last {
            events.reverse();
            return Ok(events);
        }
    }
}

/// Where the raw output of the run's process is, if its launcher kept any.
fn captured(journal: &Journal, home: &Home, lease: Lease) -> Option<NewEvent> {
    let folder = home.run_log_dir(&lease.run_id.to_string());
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.exists()).map(|path| path.display().to_string());
    let (stdout, stderr) = (file("stdout.log"), file("stderr.log"));
    if stdout.is_none() && stderr.is_none() {
        return None;
    }
    let message = "the raw output of the run's process is kept".to_owned();
    let data = json!({"stdout": stdout, "stderr": stderr});
    Some(journal.event(EventKind::LogsCaptured, None, Level::Debug, message, data))
}

/// What the ledger is told of the run, with what it is to commit.
fn to_open(plan: &Plan, run: &Run, lease: Lease) -> OpenRun {
    OpenRun {
        run_id: lease.run_id,
        epoch: lease.epoch,
        job_name: run.job_name.clone(),
        batch_id: run.tags.get(tags::RUN_KEY).cloned(),
        partition_key: run.partition_key.clone(),
        expected_outputs: plan.staged(),
        started_at: run.started_at.unwrap_or_else(clock::now),
    }
}

/// The problem of a run is that of its first failed step; it says where, and how many others there were.
fn summary(failures: Vec<(String, Problem)>) -> Option<Problem> {
    let others = failures.len().saturating_sub(1);
    let (step, problem) = failures.into_iter().next()?;
    let what = match others {
        0 => format!("{} (in step {step})", problem.what),
        1 => format!("{} (in step {step}; one other step failed too)", problem.what),
        _ => format!("{} (in step {step}; {others} other steps failed too)", problem.what),
    };
    Some(Problem { what, ..problem })
}

async fn fail(instance: &SharedInstance, lease: Lease, problem: Problem) -> Result<End, Problem> {
    match end(instance, lease, Command::Fail(problem.clone())).await {
        Ok(()) => Ok(End::Failure(problem)),
        Err(error) => Err(error),
    }
}

async fn cancel(instance: &SharedInstance, lease: Lease) -> Result<End, Problem> {
    let run = instance.run(lease.run_id).await.map_err(Problem::from)?;
    if run.is_some_and(|run| run.status == RunStatus::Started) {
        // A signal, not the state, asked for it: say so in the state first. Another may have been faster.
        match instance.command(lease.run_id, Command::Cancel, Some(lease), None, clock::now()).await {
            Ok(_) | Err(InstanceError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    end(instance, lease, Command::Canceled).await.map(|()| End::Canceled)
}

/// Says how the run ended; a state that does not answer is asked again, for the lease is still kept.
async fn end(instance: &SharedInstance, lease: Lease, command: Command) -> Result<(), Problem> {
    let ended = match &command {
        Command::Succeed => RunStatus::Success,
        Command::Canceled => RunStatus::Canceled,
        _ => RunStatus::Failure,
    };
    let ask = async || match instance.command(lease.run_id, command.clone(), Some(lease), None, clock::now()).await {
        Ok(_) => Ok(None),
        // It was done already, and the answer was lost.
        Err(InstanceError::Refused(refused)) if refused.from == ended => Ok(None),
        Err(InstanceError::Refused(refused)) => Ok(Some(refused)),
        Err(error) => Err(error.into()),
    };
    // A run that was halted has to be ended like any other.
    match patiently(&Halt::default(), "the run is ended", ask).await? {
        None => Ok(()),
        Some(refused) => Err(lost(lease, &refused.to_string())),
    }
}

fn wake_daemon(resources: &Resources) {
    wake::wake_for_runs(&resources.surroundings().home.daemon_socket());
}
