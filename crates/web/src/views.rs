//! What the API answers. The command line reads the same types.
//!
//! Times are RFC 3339 in UTC; coordinates are in the order x, y.

mod history;
mod installation;
mod orchestrator;

use std::collections::BTreeMap;

use catchment_core::instigator::Tick;
use catchment_core::{Event, Run, RunId};
use catchment_model::{ActivityLog, Asset, Fault, ManifestDoc, Problem, RejectedManifest};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use history::{CheckExecutionList, CheckExecutionView, EvaluationList, EvaluationView, Freshness, Wiped};
pub use installation::{Health, InstanceView, KeyList, KeyView, NewKey, PartHealth, WorkLine};
pub use orchestrator::{
    AlertList, AlertView, AssetDefinition, AssetDefinitionList, BackfillList, BackfillView, ChangedKeys, CheckList,
    CheckView, DaemonList, DaemonView, DryRun, InstigatorList, InstigatorView, JobList, JobView, LocationList,
    LocationView, PartitionKeyView, PartitionKeys, PartitionsList, PartitionsView, PoolList, PoolView,
};

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunView {
    /// Its id (UUID).
    pub run_id: String,
    /// The job.
    pub job_name: String,
    /// The code location that defines the job.
    pub location: String,
    /// `NOT_STARTED`, `QUEUED`, `STARTING`, `STARTED`, `SUCCESS`, `FAILURE`, `CANCELING` or `CANCELED`.
    pub status: String,
    /// Whether nothing more happens to it.
    pub ended: bool,
    /// The batch that it works on (its run key).
    pub batch_id: Option<String>,
    /// The partition, which for the platform's own jobs is the dataset.
    pub partition_key: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its process was asked for.
    pub launched_at: Option<Timestamp>,
    /// When its process began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Milliseconds from the start of its process to its end.
    pub duration_ms: Option<i64>,
    /// The run that it runs again.
    pub parent_run_id: Option<String>,
    /// The process that holds its lease, where one is known.
    pub process: Option<String>,
    /// The epoch of the newest lease.
    pub lease_epoch: i64,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// Run config; only where a single run is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_config: Option<Value>,
}

impl RunView {
    /// The view of a run, with its config where `whole`.
    pub fn new(run: Run, whole: bool) -> Self {
        let duration = |run: &Run| Some(run.ended_at?.as_millisecond() - run.started_at?.as_millisecond());
        Self {
            run_id: run.run_id.to_string(),
            ended: run.status.is_final(),
            status: run.status.as_str().into(),
            batch_id: run.tags.get(catchment_core::tags::RUN_KEY).cloned(),
            duration_ms: duration(&run),
            job_name: run.job_name,
            location: run.location,
            partition_key: run.partition_key,
            tags: run.tags,
            created_at: run.created_at,
            launched_at: run.launched_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            parent_run_id: run.parent_run_id.map(|id| id.to_string()),
            process: run.process,
            lease_epoch: run.lease_epoch,
            problem: run.problem,
            run_config: whole.then_some(run.run_config),
        }
    }
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<String>,
}

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Its place in the log of all runs; rises, with gaps.
    pub id: i64,
    /// The run.
    pub run_id: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What it says, in Dagster's words: `PIPELINE_START`, `STEP_SUCCESS`, `ASSET_MATERIALIZATION`, `LOG`, …
    pub kind: String,
    /// The step that it belongs to.
    pub step_key: Option<String>,
    /// `DEBUG`, `INFO`, `WARNING` or `ERROR`.
    pub level: String,
    /// A sentence for people.
    pub message: String,
    /// What belongs to its kind.
    #[serde(default)]
    pub data: Value,
}

impl From<Event> for EventView {
    fn from(Event { id, event }: Event) -> Self {
        Self {
            id,
            run_id: event.run_id.to_string(),
            timestamp: event.timestamp,
            kind: event.kind.as_str().into(),
            step_key: event.step_key,
            level: event.level.as_str().into(),
            message: event.message,
            data: event.data,
        }
    }
}

/// Events of a run, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// The events.
    pub events: Vec<EventView>,
    /// Give it as `after` to get what comes next.
    pub cursor: i64,
    /// Where the run stands.
    pub status: String,
    /// Whether the run has ended and these are its last events.
    pub ended: bool,
}

/// Versions of datasets that a run has committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssetList {
    /// The versions.
    pub assets: Vec<Asset>,
}

/// A page of datasets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetList {
    /// The datasets, by name.
    pub datasets: Vec<DatasetView>,
    /// Give it as `after` to get the next page; none after the last.
    pub next: Option<String>,
}

/// A dataset with its newest version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetView {
    /// Its name.
    pub dataset_id: String,
    /// The title of its newest version.
    pub title: Option<String>,
    /// When its first version was reserved.
    pub created_at: Timestamp,
    /// How many versions it has.
    pub version_count: u64,
    /// Its newest version that has not been given up.
    pub latest: Option<Asset>,
}

/// The versions of a dataset, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionList {
    /// The dataset.
    pub dataset_id: String,
    /// The versions.
    pub versions: Vec<Asset>,
}

/// How a version's bytes are had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Download {
    /// The dataset.
    pub dataset_id: String,
    /// The version.
    pub version: u64,
    /// A signed address that gives the bytes to whoever has it.
    pub url: String,
    /// Until when the address is good.
    pub expires_at: Timestamp,
    /// The address in the lake.
    pub s3_path: String,
    /// A name for the file.
    pub file_name: String,
    /// `sha256:` and 64 hex digits: check it.
    pub content_hash: String,
    /// How many bytes there are.
    pub bytes: u64,
}

/// A batch as the ledger has it, with its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BatchView {
    /// The manifest's record.
    pub manifest: ManifestDoc,
    /// Its run.
    pub run: Option<RunView>,
    /// What it brought into the lake.
    pub assets: Vec<Asset>,
}

/// A page of batches, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestList {
    /// The records.
    pub manifests: Vec<ManifestDoc>,
    /// Give it as `after` to get the next page; none after the last.
    pub next: Option<String>,
}

/// A manifest that was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedView {
    /// The record.
    #[serde(flatten)]
    pub record: RejectedManifest,
    /// Every fault: the same as `problem.faults`.
    pub faults: Vec<Fault>,
}

impl From<RejectedManifest> for RejectedView {
    fn from(record: RejectedManifest) -> Self {
        Self { faults: record.problem.faults.clone(), record }
    }
}

/// Manifests that were refused, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedList {
    /// The records.
    pub rejected: Vec<RejectedView>,
    /// Give it as `after` to get the next page; none after the last.
    pub next: Option<String>,
}

/// What became of an object under `manifests/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Submission {
    /// Nothing yet: the sensor has not seen it.
    Waiting {
        /// Why the sensor's last evaluation failed, where it did.
        sensor_problem: Option<Problem>,
        /// When a daemon last gave a sign of life.
        daemon_seen_at: Option<Timestamp>,
    },
    /// It has its run.
    Accepted {
        /// The run.
        run: Box<RunView>,
    },
    /// It was refused.
    Rejected {
        /// Why.
        problem: Problem,
    },
}

/// What came of checking a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Validation {
    /// Whether it would be admitted.
    pub valid: bool,
    /// Its `batch_id`, where it is valid.
    pub batch_id: Option<String>,
    /// The dataset that it would be a version of, where it is valid.
    pub dataset_id: Option<String>,
    /// Why it would be refused.
    pub problem: Option<Problem>,
}

/// One evaluation of a sensor or schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TickView {
    /// Its id; rises.
    pub id: i64,
    /// The sensor or schedule.
    pub name: String,
    /// The code location that defines it.
    pub location: String,
    /// `sensor` or `schedule`.
    pub kind: String,
    /// `STARTED`, `SUCCESS`, `SKIPPED` or `FAILURE`.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The time that it stands for, of a schedule.
    pub scheduled_for: Option<Timestamp>,
    /// The runs that it made.
    pub run_ids: Vec<String>,
    /// Run keys that were asked for again, and not launched again.
    pub duplicate_run_keys: Vec<String>,
    /// Objects that it refused.
    pub rejected: Vec<RejectedClaim>,
    /// Why it asked for nothing.
    pub skip_reason: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What user code logged, oldest first, as `LEVEL message`.
    pub log: Vec<String>,
}

/// An object that a sensor refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedClaim {
    /// Its key.
    pub key: String,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// Why.
    pub problem: Option<Problem>,
}

impl From<Tick> for TickView {
    fn from(tick: Tick) -> Self {
        use catchment_core::sensor::ClaimOutcome;
        let rejected = tick.rejected.into_iter().map(|claim| RejectedClaim {
            key: claim.claim.key,
            etag: claim.claim.etag,
            problem: match claim.outcome {
                ClaimOutcome::Rejected { problem } => Some(problem),
                ClaimOutcome::Accepted { .. } => None,
            },
        });
        Self {
            id: tick.id,
            name: tick.instigator.name,
            location: tick.instigator.location,
            kind: tick.instigator.kind.as_str().into(),
            status: tick.status.as_str().into(),
            started_at: tick.started_at,
            ended_at: tick.ended_at,
            scheduled_for: tick.scheduled_for,
            run_ids: tick.run_ids.iter().map(RunId::to_string).collect(),
            duplicate_run_keys: tick.duplicate_run_keys,
            rejected: rejected.collect(),
            skip_reason: tick.skip_reason,
            problem: tick.problem,
            log: tick.log.iter().map(|line| format!("{} {}", line.level.as_str(), line.message)).collect(),
        }
    }
}

/// Ticks of a sensor or schedule, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TickList {
    /// The ticks.
    pub ticks: Vec<TickView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<i64>,
}

/// Who changed what, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActivityList {
    /// The entries.
    pub activity: Vec<ActivityLog>,
    /// Give it as `after` to get the next page; none after the last.
    pub next: Option<String>,
}
