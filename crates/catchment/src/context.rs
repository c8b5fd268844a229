//! Contexts: what user code is told about the step, sensor or claim that it works on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use catchment_core::instigator::TickLog;
use catchment_core::metadata::MetadataValue;
use catchment_core::partitions::{PartitionsDefinition, TimeWindow};
use catchment_core::sensor::{Claim, SensorInput};
use catchment_core::{Event, Level, Run, RunId, tags};
use catchment_instance::SharedInstance;
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::check::CheckResult;
use crate::executor::Halt;
use crate::executor::children::{ChildGuard, Children};
use crate::executor::journal::Journal;
use crate::executor::opening::Opening;
use crate::extract::{FromContext, Need, PartitionRange};
use crate::materialization::{Materialization, Observation};
use crate::output::SharedValue;
use crate::resource::{Resources, Surroundings};

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
    pub(crate) opening: Arc<Opening>,
}

/// What an input takes in this run.
#[derive(Debug, Clone)]
pub(crate) enum InputValue {
    One(SharedValue),
    Many(Vec<SharedValue>),
}

/// What is particular to one execution of a step.
#[derive(Default)]
pub(crate) struct StepScope {
    /// Its key, the mapping key in brackets where it runs once for each.
    pub(crate) key: String,
    /// Where its part of the run config lies.
    pub(crate) config_path: Vec<String>,
    pub(crate) inputs: HashMap<String, InputValue>,
    /// The assets that it is to make (or observe); none for an op.
    pub(crate) assets: Vec<String>,
    /// The partitions of its assets or of its job.
    pub(crate) partitions: Option<PartitionsDefinition>,
    /// How often it was tried before in this run.
    pub(crate) retry_number: u32,
    /// The mapping key.
    pub(crate) mapping_key: Option<String>,
}

struct Step {
    run: Arc<RunScope>,
    step: StepScope,
    config: Value,
    reported: Mutex<Reported>,
}

/// What user code said while a step ran.
#[derive(Debug, Default)]
pub(crate) struct Reported {
    /// What was said of the assets, by key; by the empty key what was said of all of them.
    pub(crate) materializations: BTreeMap<String, Materialization>,
    /// Assets that were observed.
    pub(crate) observations: Vec<(String, Observation)>,
    /// Checks that were evaluated.
    pub(crate) checks: Vec<CheckResult>,
    /// The retry that was asked for.
    pub(crate) retry: Option<RetryRequested>,
    last_progress: Option<Instant>,
}

/// A retry that user code asks for: [`StepContext::retry_requested`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RetryRequested {
    pub(crate) max_retries: u32,
    pub(crate) seconds_to_wait: f64,
}

/// The step that is being run: which run and step it is, where its scratch is, and what it has to say.
///
/// Assets, ops and checks have the same one; [`AssetContext`], [`OpContext`] and [`CheckContext`] are its names there.
#[derive(Clone)]
pub struct StepContext(Arc<Step>);

/// The context of an asset.
pub type AssetContext = StepContext;
/// The context of an op.
pub type OpContext = StepContext;
/// The context of a check.
pub type CheckContext = StepContext;

its_own_extractor!(StepContext);

impl Context for StepContext {
    fn resources(&self) -> &Resources {
        &self.0.run.resources
    }
}

impl StepContext {
    pub(crate) fn new(run: Arc<RunScope>, step: StepScope) -> Self {
        let config = crate::config::at(&run.run_config, &step.config_path).and_then(|op| op.get("config"));
        let config = config.cloned().unwrap_or_else(|| json!({}));
        Self(Arc::new(Step { run, step, config, reported: Mutex::default() }))
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.run.run_id
    }

    /// The epoch of the lease that the run's process holds.
    pub fn epoch(&self) -> i64 {
        self.0.run.epoch
    }

    /// The step: the asset's key, the op's name in its graphs.
    pub fn step_key(&self) -> &str {
        &self.0.step.key
    }

    /// The job.
    pub fn job_name(&self) -> &str {
        &self.0.run.job_name
    }

    /// The assets that this step is to make in this run; none for an op.
    pub fn assets(&self) -> &[String] {
        &self.0.step.assets
    }

    /// Whether this run wants that asset of this step.
    pub fn is_selected(&self, asset: &str) -> bool {
        self.0.step.assets.iter().any(|selected| selected == asset)
    }

    /// How often the step was tried before in this run.
    pub fn retry_number(&self) -> u32 {
        self.0.step.retry_number
    }

    /// The key of the dynamic output that this execution works on.
    pub fn mapping_key(&self) -> Option<&str> {
        self.0.step.mapping_key.as_deref()
    }

    /// The partition, where the run has one.
    pub fn partition_key(&self) -> Option<&str> {
        self.0.run.partition_key.as_deref()
    }

    /// The partitions that the run works on: one, or a range.
    pub fn partition_range(&self) -> Option<PartitionRange> {
        let tag = |name: &str| self.0.run.tags.get(name);
        match (tag(tags::PARTITION_RANGE_START), tag(tags::PARTITION_RANGE_END), self.partition_key()) {
            (Some(start), Some(end), _) => Some(PartitionRange::new(start, end)),
            (_, _, Some(key)) => Some(PartitionRange::new(key, key)),
            _ => None,
        }
    }

    /// The window of time that the run's partitions are, where they are windows of time.
    pub fn time_window(&self) -> Option<TimeWindow> {
        let range = self.partition_range()?;
        let partitions = self.0.step.partitions.as_ref()?;
        let (first, last) = (partitions.window_of(&range.start)?, partitions.window_of(&range.end)?);
        Some(TimeWindow { start: first.start, end: last.end })
    }

    /// The run's tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.0.run.tags
    }

    /// The state of the orchestrator, to read what other runs did.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn instance(&self) -> Result<SharedInstance, Problem> {
        self.0.run.resources.instance().await
    }

    /// Where the process lives: what a child of it needs to be told.
    pub fn surroundings(&self) -> &Surroundings {
        self.0.run.resources.surroundings()
    }

    /// A folder of this step's own, made when it is first asked for and removed when the run has ended.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf, Problem> {
        let folder = self.0.run.scratch.join(self.0.step.key.replace('/', "__"));
        std::fs::create_dir_all(&folder).map_err(|error| scratch_problem(&folder, &error))?;
        Ok(folder)
    }

    /// Writes a line to the step's log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.0.run.journal.log(Some(&self.0.step.key), level, message.into(), Value::Null);
    }

    /// Adds to the metadata of the materialisation (of each, where the step makes several assets); a name that is
    /// there already takes the new value.
    pub fn add_metadata(&self, name: impl Into<String>, value: impl Into<MetadataValue>) {
        self.add_asset_metadata("", name, value);
    }

    /// Adds to the metadata of one of the assets that the step makes.
    pub fn add_asset_metadata(&self, asset: &str, name: impl Into<String>, value: impl Into<MetadataValue>) {
        self.reported(|reported| {
            let materialization = reported.materializations.entry(asset.to_owned()).or_default();
            materialization.metadata.insert(name.into(), value.into());
        });
    }

    /// Says how one of the assets that the step makes was made: metadata and data version.
    pub fn report_materialization(&self, asset: &str, materialization: Materialization) {
        self.reported(|reported| reported.materializations.entry(asset.to_owned()).or_default().merge(materialization));
    }

    /// Says how an asset was found that this step does not make.
    pub fn observe(&self, asset: &str, observation: Observation) {
        self.reported(|reported| reported.observations.push((asset.to_owned(), observation)));
    }

    /// Asks for the step to be tried again, whatever its policy: `return Err(ctx.retry_requested(3, 10.0, "…"))`. It
    /// fails for good where it was tried `max_retries` times before.
    pub fn retry_requested(&self, max_retries: u32, seconds_to_wait: f64, why: impl Into<String>) -> Problem {
        self.reported(|reported| reported.retry = Some(RetryRequested { max_retries, seconds_to_wait }));
        Problem::new(Code::Unavailable, "the step asks to be tried again").place(self.step_key()).cause(why)
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
            self.0.run.journal.log(Some(&self.0.step.key), Level::Debug, message, data);
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

    pub(crate) fn config_place(&self) -> String {
        crate::config::place(&self.0.step.config_path, "config")
    }

    pub(crate) fn input(&self, name: &str) -> Option<InputValue> {
        self.0.step.inputs.get(name).cloned()
    }

    /// What was said since this was asked last.
    pub(crate) fn take_reported(&self) -> Reported {
        self.reported(std::mem::take)
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

/// The lines that an evaluation logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<TickLog>>>);

impl Lines {
    fn push(&self, level: Level, message: String) {
        let line = TickLog { timestamp: clock::now(), level, message };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn all(&self) -> Vec<TickLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

macro_rules! logs_to_its_tick {
    ($context:ident) => {
        impl $context {
            /// The tick.
            pub fn tick_id(&self) -> &str {
                &self.0.tick_id
            }

            /// Writes a line to the tick's log.
            pub fn log(&self, message: impl Into<String>) {
                self.log_at(Level::Info, message);
            }

            /// Writes a line of that level to the tick's log.
            pub fn log_at(&self, level: Level, message: impl Into<String>) {
                self.0.lines.push(level, message.into());
            }

            /// The lines so far, oldest first.
            pub fn log_lines(&self) -> Vec<TickLog> {
                self.0.lines.all()
            }

            /// The state of the orchestrator, to read what runs did.
            ///
            /// # Errors
            /// Where it cannot be opened.
            pub async fn instance(&self) -> Result<SharedInstance, Problem> {
                self.0.resources.instance().await
            }
        }

        its_own_extractor!($context);

        impl Context for $context {
            fn resources(&self) -> &Resources {
                &self.0.resources
            }
        }
    };
}

struct Evaluation {
    sensor: String,
    tick_id: String,
    cursor: Option<String>,
    input: SensorInput,
    resources: Resources,
    lines: Lines,
}

/// The evaluation of a sensor: its cursor, what happened since, and what it has to say.
#[derive(Clone)]
pub struct SensorContext(Arc<Evaluation>);

logs_to_its_tick!(SensorContext);

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
            input: SensorInput::default(),
            resources,
            lines: Lines::default(),
        }))
    }

    /// The same with what the daemon tells besides the cursor: events and their runs.
    pub fn with_input(self, input: SensorInput) -> Self {
        let Evaluation { sensor, tick_id, cursor, resources, .. } = &*self.0;
        Self(Arc::new(Evaluation {
            sensor: sensor.clone(),
            tick_id: tick_id.clone(),
            cursor: cursor.clone(),
            input,
            resources: resources.clone(),
            lines: Lines::default(),
        }))
    }

    /// The sensor.
    pub fn sensor(&self) -> &str {
        &self.0.sensor
    }

    /// The cursor that an earlier evaluation left.
    pub fn cursor(&self) -> Option<&str> {
        self.0.cursor.as_deref()
    }

    /// When its last tick began.
    pub fn last_tick_at(&self) -> Option<Timestamp> {
        self.0.input.last_tick_at
    }

    /// The events that it was called for, oldest first: none for a sensor that watches what lies outside.
    pub fn events(&self) -> &[Event] {
        &self.0.input.events
    }

    /// The runs that those events belong to.
    pub fn runs(&self) -> &[Run] {
        &self.0.input.runs
    }

    /// The newest of the events for each asset, of a sensor of assets.
    pub fn newest_by_asset(&self) -> BTreeMap<&str, &Event> {
        self.events().iter().filter_map(|event| Some((event.event.asset_key()?, event))).collect()
    }

    /// The same for one of its events and the run of that.
    pub(crate) fn of_event(&self, event: &Event) -> Self {
        let runs = self.runs().iter().filter(|run| run.run_id == event.event.run_id).cloned().collect();
        let input = SensorInput { last_tick_at: self.last_tick_at(), events: vec![event.clone()], runs };
        let Evaluation { sensor, tick_id, cursor, resources, lines, .. } = &*self.0;
        let (sensor, tick_id, cursor, lines) = (sensor.clone(), tick_id.clone(), cursor.clone(), lines.clone());
        Self(Arc::new(Evaluation { sensor, tick_id, cursor, input, resources: resources.clone(), lines }))
    }
}

/// The newest event that a sensor of runs or assets is called for.
impl FromContext<SensorContext> for Event {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &SensorContext, _: &str) -> Result<Self, Problem> {
        context.events().last().cloned().ok_or_else(|| called_for_nothing(context, "an event"))
    }
}

/// The run that a sensor of runs is called for, or that made the asset.
impl FromContext<SensorContext> for Run {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &SensorContext, _: &str) -> Result<Self, Problem> {
        context.runs().last().cloned().ok_or_else(|| called_for_nothing(context, "a run"))
    }
}

fn called_for_nothing(context: &SensorContext, what: &str) -> Problem {
    Problem::new(Code::InvalidConfig, format!("the sensor takes {what}, and was called for none"))
        .place(format!("sensor {}", context.sensor()))
        .remedy("make it a `#[run_status_sensor]` or an `#[asset_sensor]`")
}

struct ScheduleEvaluation {
    schedule: String,
    tick_id: String,
    scheduled_for: Timestamp,
    last_tick_at: Option<Timestamp>,
    resources: Resources,
    lines: Lines,
}

/// The evaluation of a schedule for one of its times.
#[derive(Clone)]
pub struct ScheduleContext(Arc<ScheduleEvaluation>);

logs_to_its_tick!(ScheduleContext);

impl ScheduleContext {
    /// A context, also for a test that calls a schedule's function.
    pub fn new(
        schedule: impl Into<String>,
        tick_id: impl Into<String>,
        scheduled_for: Timestamp,
        last_tick_at: Option<Timestamp>,
        resources: Resources,
    ) -> Self {
        Self(Arc::new(ScheduleEvaluation {
            schedule: schedule.into(),
            tick_id: tick_id.into(),
            scheduled_for,
            last_tick_at,
            resources,
            lines: Lines::default(),
        }))
    }

    /// The schedule.
    pub fn schedule(&self) -> &str {
        &self.0.schedule
    }

    /// The time that the tick stands for; it may be evaluated later.
    pub fn scheduled_for(&self) -> Timestamp {
        self.0.scheduled_for
    }

    /// When its last tick began.
    pub fn last_tick_at(&self) -> Option<Timestamp> {
        self.0.last_tick_at
    }
}

struct HookCall {
    run: Arc<RunScope>,
    step_key: String,
    problem: Option<Problem>,
}

/// The end of a step, as a hook is told of it.
#[derive(Clone)]
pub struct HookContext(Arc<HookCall>);

its_own_extractor!(HookContext);

impl Context for HookContext {
    fn resources(&self) -> &Resources {
        &self.0.run.resources
    }
}

impl HookContext {
    pub(crate) fn new(run: Arc<RunScope>, step_key: &str, problem: Option<Problem>) -> Self {
        Self(Arc::new(HookCall { run, step_key: step_key.to_owned(), problem }))
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.run.run_id
    }

    /// The job.
    pub fn job_name(&self) -> &str {
        &self.0.run.job_name
    }

    /// The step that ended.
    pub fn step_key(&self) -> &str {
        &self.0.step_key
    }

    /// The run's tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.0.run.tags
    }

    /// Why the step failed; `None` where it ended well.
    pub fn problem(&self) -> Option<&Problem> {
        self.0.problem.as_ref()
    }

    /// Writes a line to the step's log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.0.run.journal.log(Some(&self.0.step_key), level, message.into(), Value::Null);
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
