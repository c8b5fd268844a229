//! Contexts: what user code is told about the step, sensor or claim that it works on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use catchment_core::sensor::Claim;
use catchment_core::{Level, RunId};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use futures::future::{BoxFuture, Shared};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::check::CheckResult;
use crate::executor::Halt;
use crate::executor::children::{ChildGuard, Children};
use crate::executor::journal::Journal;
use crate::extract::{FromContext, Need};
use crate::output::SharedValue;
use crate::resource::Resources;

/// A context of user code.
pub trait Context: Clone + Send + Sync + 'static {
    /// The resources of the process.
    fn resources(&self) -> &Resources;
}

macro_rules! its_own_extractor {
    ($context:ident) => {
        impl FromContext<$context> for $context {
            fn needs(_: &str) -> Vec<Need> {
                Vec::new()
            }

            async fn from_context(context: &$context, _: &str) -> Result<Self, Problem> {
                Ok(context.clone())
            }
        }
    };
}

/// What all steps of a run share.
pub(crate) struct RunScope {
    pub(crate) run_id: RunId,
    pub(crate) epoch: i64,
    pub(crate) job_name: String,
    pub(crate) partition_key: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) run_config: Value,
    pub(crate) scratch: PathBuf,
    pub(crate) halt: Halt,
    pub(crate) children: Children,
    pub(crate) journal: Journal,
    pub(crate) resources: Resources,
    pub(crate) opened: Opened,
}

/// The ledger's answer to the opening of the run.
pub(crate) type Opened = Shared<BoxFuture<'static, Result<(), Problem>>>;

struct Step {
    run: Arc<RunScope>,
    key: String,
    config: Value,
    inputs: HashMap<String, SharedValue>,
    reported: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    metadata: Map<String, Value>,
    checks: Vec<CheckResult>,
    last_progress: Option<Instant>,
}

/// The step that is being run: which run and step it is, where its scratch is, and what it has to say.
#[derive(Clone)]
pub struct AssetContext(Arc<Step>);

its_own_extractor!(AssetContext);

impl Context for AssetContext {
    fn resources(&self) -> &Resources {
        &self.0.run.resources
    }
}

impl AssetContext {
    pub(crate) fn new(run: Arc<RunScope>, key: &str, inputs: HashMap<String, SharedValue>) -> Self {
        let config = run.run_config.get("ops").and_then(|ops| ops.get(key)).and_then(|op| op.get("config"));
        let config = config.cloned().unwrap_or_else(|| json!({}));
        Self(Arc::new(Step { run, key: key.to_owned(), config, inputs, reported: Mutex::default() }))
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.run.run_id
    }

    /// The epoch of the lease that the run's process holds.
    pub fn epoch(&self) -> i64 {
        self.0.run.epoch
    }

    /// The step: the asset's key.
    pub fn step_key(&self) -> &str {
        &self.0.key
    }

    /// The job.
    pub fn job_name(&self) -> &str {
        &self.0.run.job_name
    }

    /// The partition, where the run has one.
    pub fn partition_key(&self) -> Option<&str> {
        self.0.run.partition_key.as_deref()
    }

    /// The run's tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.0.run.tags
    }

    /// A folder of this step's own, made when it is first asked for and removed when the run has ended.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf, Problem> {
        let folder = self.0.run.scratch.join(self.0.key.replace('/', "__"));
        std::fs::create_dir_all(&folder).map_err(|error| scratch_problem(&folder, &error))?;
        Ok(folder)
    }

    /// Writes a line to the step's log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.0.run.journal.log(Some(&self.0.key), level, message.into(), Value::Null);
    }

    /// Adds to the metadata of the materialisation; a name that is there already takes the new value.
    pub fn add_metadata(&self, name: impl Into<String>, value: impl Into<Value>) {
        self.reported(|reported| reported.metadata.insert(name.into(), value.into()));
    }

    /// Reports a check that was evaluated while the asset was made. A blocking one that failed keeps the asset
    /// from being committed.
    pub fn report_check(&self, check: CheckResult) {
        self.reported(|reported| reported.checks.push(check));
    }

    /// Cancelled when the run is to stop: long work looks at it, or selects over it.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.run.halt.token
    }

    /// Says how far the step is, at most five times a second; `total` where it is known.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &str) {
        let now = clock::monotonic();
        let due = self.reported(|reported| {
            let due = reported.last_progress.is_none_or(|last| now.duration_since(last) >= Duration::from_millis(200));
            if due {
                reported.last_progress = Some(now);
            }
            due
        });
        if due || total == Some(done) {
            let message = match total {
                Some(total) => format!("{done} of {total} {unit}"),
                None => format!("{done} {unit}"),
            };
            let data = json!({"progress": {"done": done, "total": total, "unit": unit}});
            self.0.run.journal.log(Some(&self.0.key), Level::Debug, message, data);
        }
    }

    /// Takes charge of a child's process group, so that a cancel kills it; dropping the guard lets go of it.
    /// The child has to lead a group of its own.
    pub fn adopt_group(&self, pid: u32) -> ChildGuard {
        self.0.run.children.adopt(pid)
    }

    pub(crate) fn run(&self) -> &RunScope {
        &self.0.run
    }

    pub(crate) fn config(&self) -> &Value {
        &self.0.config
    }

    pub(crate) fn input(&self, asset: &str) -> Option<SharedValue> {
        self.0.inputs.get(asset).cloned()
    }

    pub(crate) fn take_reported(&self) -> (Map<String, Value>, Vec<CheckResult>) {
        self.reported(|reported| (std::mem::take(&mut reported.metadata), std::mem::take(&mut reported.checks)))
    }

    fn reported<R>(&self, change: impl FnOnce(&mut Reported) -> R) -> R {
        change(&mut self.0.reported.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn scratch_problem(folder: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Io, "the scratch folder cannot be made")
        .place(folder.display().to_string())
        .cause(error.to_string())
        .remedy("see that the disk has room and CATCHMENT_HOME may be written")
}

struct Evaluation {
    sensor: String,
    tick_id: String,
    cursor: Option<String>,
    resources: Resources,
    lines: Mutex<Vec<String>>,
}

/// The evaluation of a sensor: its cursor, and what it has to say.
#[derive(Clone)]
pub struct SensorContext(Arc<Evaluation>);

its_own_extractor!(SensorContext);

impl Context for SensorContext {
    fn resources(&self) -> &Resources {
        &self.0.resources
    }
}

impl SensorContext {
    /// A context, also for a test that calls a sensor's function.
    pub fn new(
        sensor: impl Into<String>,
        tick_id: impl Into<String>,
        cursor: Option<String>,
        resources: Resources,
    ) -> Self {
        Self(Arc::new(Evaluation {
            sensor: sensor.into(),
            tick_id: tick_id.into(),
            cursor,
            resources,
            lines: Mutex::default(),
        }))
    }

    /// The sensor.
    pub fn sensor(&self) -> &str {
        &self.0.sensor
    }

    /// The tick.
    pub fn tick_id(&self) -> &str {
        &self.0.tick_id
    }

    /// The cursor that an earlier evaluation left.
    pub fn cursor(&self) -> Option<&str> {
        self.0.cursor.as_deref()
    }

    /// Writes a line to the tick's log.
    pub fn log(&self, message: impl Into<String>) {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(message.into());
    }

    /// The lines so far, oldest first.
    pub fn log_lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A claim that is to be finished.
#[derive(Clone)]
pub struct ClaimContext {
    sensor: Arc<str>,
    claim: Arc<Claim>,
    resources: Resources,
}

its_own_extractor!(ClaimContext);

impl Context for ClaimContext {
    fn resources(&self) -> &Resources {
        &self.resources
    }
}

impl ClaimContext {
    /// A context, also for a test.
    pub fn new(sensor: &str, claim: Claim, resources: Resources) -> Self {
        Self { sensor: sensor.into(), claim: Arc::new(claim), resources }
    }

    /// The sensor that made the claim.
    pub fn sensor(&self) -> &str {
        &self.sensor
    }

    /// The claim with its outcome.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl FromContext<ClaimContext> for Claim {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &ClaimContext, _: &str) -> Result<Self, Problem> {
        Ok(context.claim.as_ref().clone())
    }
}
