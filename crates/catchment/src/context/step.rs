//! What user code is told of the step that it is, and what it says.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catchment_core::metadata::MetadataValue;
use catchment_core::partitions::{PartitionsDefinition, TimeWindow};
use catchment_core::{Level, RunId, tags};
use catchment_instance::SharedInstance;
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::scope::{InputValue, Reported, RetryRequested, RunScope, StepScope};
use super::{Context, its_own_extractor};
use crate::check::CheckResult;
use crate::executor::children::ChildGuard;
use crate::extract::{FromContext, Need, PartitionRange};
use crate::io_manager;
use crate::materialization::{Materialization, Observation};
use crate::resource::{Resources, Surroundings};

struct Step {
    run: Arc<RunScope>,
    step: StepScope,
    config: Value,
    reported: Mutex<Reported>,
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

    /// A folder of this step's own, empty when it is first asked for in a try, and removed when the run has ended.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn scratch(&self) -> Result<PathBuf, Problem> {
        let mut folder = self.0.run.scratch.join(io_manager::file_names(&self.0.step.key));
        if let tries @ 1.. = self.0.step.retry_number {
            folder.as_mut_os_string().push(format!("~try-{}", tries + 1));
        }
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

    /// The version of the code that makes one of its assets.
    pub(crate) fn code_version(&self, asset: &str) -> Option<&str> {
        self.0.step.code_versions.get(asset).map(String::as_str)
    }

    /// The partitions definition of its assets or of its job.
    pub(crate) fn partitions_definition(&self) -> Option<&PartitionsDefinition> {
        self.0.step.partitions.as_ref()
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
