//! What a run is, what is particular to one execution of a step, and what user code says while it runs.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use catchment_core::RunId;
use catchment_core::partitions::PartitionsDefinition;
use serde_json::Value;

use crate::check::CheckResult;
use crate::executor::Halt;
use crate::executor::children::Children;
use crate::executor::journal::Journal;
use crate::executor::opening::Opening;
use crate::materialization::{Materialization, Observation};
use crate::output::SharedValue;
use crate::resource::Resources;

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
    /// The versions of the code of those assets that have one.
    pub(crate) code_versions: BTreeMap<String, String>,
    /// The partitions of its assets or of its job.
    pub(crate) partitions: Option<PartitionsDefinition>,
    /// How often it was tried before in this run.
    pub(crate) retry_number: u32,
    /// The mapping key.
    pub(crate) mapping_key: Option<String>,
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
    pub(super) last_progress: Option<Instant>,
}

/// A retry that user code asks for: [`StepContext::retry_requested`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RetryRequested {
    pub(crate) max_retries: u32,
    pub(crate) seconds_to_wait: f64,
}
