//! The entries of the event log.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::run::RunId;

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What an event says. The texts are Dagster's `DagsterEventType`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum EventKind { $($(#[$doc])* #[serde(rename = $text)] $name),* }

        impl EventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The text, as in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

event_kinds! {
    /// The run waits in the queue.
    RunEnqueued = "PIPELINE_ENQUEUED",
    /// The run's process is being started.
    RunStarting = "PIPELINE_STARTING",
    /// The run's process works.
    RunStart = "PIPELINE_START",
    /// The run ended well.
    RunSuccess = "PIPELINE_SUCCESS",
    /// The run ended with an error.
    RunFailure = "PIPELINE_FAILURE",
    /// The run was asked to end early.
    RunCanceling = "PIPELINE_CANCELING",
    /// The run ended early.
    RunCanceled = "PIPELINE_CANCELED",
    /// A step's worker is being started.
    StepWorkerStarting = "STEP_WORKER_STARTING",
    /// A step's worker works.
    StepWorkerStarted = "STEP_WORKER_STARTED",
    /// A resource is being made.
    ResourceInitStarted = "RESOURCE_INIT_STARTED",
    /// A resource was made.
    ResourceInitSuccess = "RESOURCE_INIT_SUCCESS",
    /// A resource could not be made.
    ResourceInitFailure = "RESOURCE_INIT_FAILURE",
    /// Where a step's captured output is kept.
    LogsCaptured = "LOGS_CAPTURED",
    /// A step took a value.
    StepInput = "STEP_INPUT",
    /// An IO manager loaded a value.
    LoadedInput = "LOADED_INPUT",
    /// An IO manager stored a value.
    HandledOutput = "HANDLED_OUTPUT",
    /// A step failed and will be tried again.
    StepUpForRetry = "STEP_UP_FOR_RETRY",
    /// A step is being tried again.
    StepRestarted = "STEP_RESTARTED",
    /// A hook ended well.
    HookCompleted = "HOOK_COMPLETED",
    /// A hook failed; the step's outcome stands.
    HookErrored = "HOOK_ERRORED",
    /// A hook did not concern the step's outcome.
    HookSkipped = "HOOK_SKIPPED",
    /// A run is about to materialise an asset.
    AssetMaterializationPlanned = "ASSET_MATERIALIZATION_PLANNED",
    /// A run was about to materialise an asset, and did not.
    AssetFailedToMaterialize = "ASSET_FAILED_TO_MATERIALIZE",
    /// A run is about to evaluate a check.
    AssetCheckEvaluationPlanned = "ASSET_CHECK_EVALUATION_PLANNED",
    /// An asset's materialisations were forgotten.
    AssetWiped = "ASSET_WIPED",
    /// An asset became fresh or stale by its policy.
    FreshnessStateChange = "FRESHNESS_STATE_CHANGE",
    /// A step began.
    StepStart = "STEP_START",
    /// A step gave a value.
    StepOutput = "STEP_OUTPUT",
    /// A step ended well.
    StepSuccess = "STEP_SUCCESS",
    /// A step ended with an error.
    StepFailure = "STEP_FAILURE",
    /// A step was not run because what it needs is not there.
    StepSkipped = "STEP_SKIPPED",
    /// An asset was materialised: its metadata is in `data`.
    AssetMaterialization = "ASSET_MATERIALIZATION",
    /// An asset was observed.
    AssetObservation = "ASSET_OBSERVATION",
    /// A check of an asset was evaluated.
    AssetCheckEvaluation = "ASSET_CHECK_EVALUATION",
    /// What the orchestrator itself has to say.
    EngineEvent = "ENGINE_EVENT",
    /// A line that user code or a child process logged.
    Log = "LOG",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|k| k.as_str() == text).ok_or_else(|| format!("`{text}` is no event type"))
    }
}

/// How serious an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// For those who look for an error.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
}

impl Level {
    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// An event that is about to be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewEvent {
    /// The run that it belongs to.
    pub run_id: RunId,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What it says.
    pub kind: EventKind,
    /// The step that it belongs to.
    pub step_key: Option<String>,
    /// How serious it is.
    pub level: Level,
    /// A sentence for people.
    pub message: String,
    /// What belongs to its kind. Events about an asset (materialised, planned, failed, observed, checked) hold
    /// `asset_key` and, where there is one, `partition`: the state indexes both. Besides: `{metadata, data_version,
    /// code_version, input_data_versions}` of a materialisation (`metadata` is a [`crate::metadata::Metadata`]),
    /// `{check_name, passed, severity, blocking, metadata}` of a check, `{problem}` of a failure, `{duration_ms}` of a
    /// step's end, `{problem, attempt, seconds_to_wait}` of a step that is up for retry; `null` elsewhere.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl NewEvent {
    /// The asset that it is about.
    pub fn asset_key(&self) -> Option<&str> {
        self.data.get("asset_key")?.as_str()
    }

    /// The partition that it is about.
    pub fn partition(&self) -> Option<&str> {
        self.data.get("partition")?.as_str()
    }
}

/// An event of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the log of all runs: the global cursor. It rises; there may be gaps.
    pub id: i64,
    /// What was written.
    #[serde(flatten)]
    pub event: NewEvent,
}
