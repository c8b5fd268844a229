//! What the API answers about code locations and what they define.

use std::collections::BTreeMap;

use catchment_model::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EvaluationView, Freshness, TickView};

/// A code location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocationView {
    /// Its name.
    pub name: String,
    /// Whether it answers.
    pub here: bool,
    /// Since when it is as it is.
    pub since: Timestamp,
    /// When its definitions were loaded; those of a location that is away are its last ones.
    pub loaded_at: Option<Timestamp>,
    /// The version of its code, where it has one.
    pub code_version: Option<String>,
    /// How many assets, jobs, sensors and schedules it defines.
    pub counts: BTreeMap<String, u64>,
    /// Why it does not answer, or what is wrong with its definitions.
    pub problem: Option<Problem>,
}

/// All code locations of the workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocationList {
    /// By name.
    pub locations: Vec<LocationView>,
}

/// An asset that a code location defines, with the newest of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssetDefinition {
    /// Its key.
    pub key: String,
    /// The code location.
    pub location: String,
    /// Its group.
    pub group: String,
    /// What it is made with or of.
    pub kinds: Vec<String>,
    /// What it is.
    pub description: String,
    /// The assets that it needs.
    pub deps: Vec<String>,
    /// Its partitions definition.
    pub partitions: Option<String>,
    /// Whether something here makes it; otherwise it is only known.
    pub executable: bool,
    /// When it was made last.
    pub materialized_at: Option<Timestamp>,
    /// The run that made it.
    pub materialized_by: Option<String>,
    /// The run that is making it.
    pub in_progress: Option<String>,
    /// Its data version.
    pub data_version: Option<String>,
    /// How many of its partitions stand how; only where it has partitions and a single asset is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_counts: Option<BTreeMap<String, u64>>,
    /// How fresh it is; only where it has a policy and a single asset is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// The newest evaluation of its automation condition; only where a single asset is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationView>,
    /// Its checks; only where a single asset is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckView>,
    /// The whole definition; only where a single asset is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
}

/// Assets that code locations define.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssetDefinitionList {
    /// By location, in the order of their definition.
    pub assets: Vec<AssetDefinition>,
}

/// A check of an asset, with its newest evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckView {
    /// The asset.
    pub asset_key: String,
    /// The check.
    pub name: String,
    /// The code location.
    pub location: String,
    /// What it asks.
    pub description: String,
    /// Whether its failure stops what is downstream.
    pub blocking: bool,
    /// `IN_PROGRESS`, `SUCCEEDED`, `FAILED`, `EXECUTION_FAILED` or `SKIPPED`; none before its first evaluation.
    pub status: Option<String>,
    /// When that was.
    pub evaluated_at: Option<Timestamp>,
    /// In which run.
    pub run_id: Option<String>,
}

/// Checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckList {
    /// By location and asset.
    pub checks: Vec<CheckView>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// The code location.
    pub location: String,
    /// What it does.
    pub description: String,
    /// Its steps, in topological order.
    pub steps: Vec<String>,
    /// Whether it makes assets.
    pub is_asset_job: bool,
    /// Its partitions definition.
    pub partitions: Option<String>,
    /// Tags of each of its runs.
    pub tags: BTreeMap<String, String>,
}

/// Jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// By location, in the order of their definition.
    pub jobs: Vec<JobView>,
}

/// A sensor or schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstigatorView {
    /// Its name.
    pub name: String,
    /// The code location.
    pub location: String,
    /// `sensor` or `schedule`.
    pub kind: String,
    /// What it follows: `standard`, `run_status`, `asset` or `automation`; of a schedule its cron expressions.
    pub follows: String,
    /// What it is for.
    pub description: String,
    /// Whether it runs.
    pub running: bool,
    /// What was decided about it: `DECLARED_IN_CODE`, `RUNNING` or `STOPPED`.
    pub status: String,
    /// The jobs and assets that it may ask for.
    pub targets: Vec<String>,
    /// Where it stands.
    pub cursor: Option<String>,
    /// When a schedule asks next, where it runs.
    pub next_at: Option<Timestamp>,
    /// Its last tick.
    pub last_tick: Option<TickView>,
}

/// Sensors or schedules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstigatorList {
    /// By location, in the order of their definition.
    pub instigators: Vec<InstigatorView>,
}

/// What an evaluation would ask for; nothing was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    /// The runs.
    pub run_requests: Vec<Value>,
    /// Why it asks for none.
    pub skip_reason: Option<String>,
    /// The cursor that it would leave.
    pub cursor: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What user code logged, as `LEVEL message`.
    pub log: Vec<String>,
}

/// A backfill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillView {
    /// Its id.
    pub id: String,
    /// The code location.
    pub location: String,
    /// `REQUESTED`, `PAUSED`, `CANCELING`, `CANCELED`, `FAILING`, `FAILED`, `COMPLETED_SUCCESS` or `COMPLETED_FAILED`.
    pub status: String,
    /// The job, where it fills one.
    pub job: Option<String>,
    /// The assets, where it fills such.
    pub assets: Vec<String>,
    /// How many partitions were asked for.
    pub partitions: u64,
    /// How many units of work stand how, once it was planned.
    pub counts: BTreeMap<String, u64>,
    /// For people.
    pub title: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// Backfills, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackfillList {
    /// The backfills.
    pub backfills: Vec<BackfillView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<String>,
}

/// A partitions definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionsView {
    /// Its name.
    pub name: String,
    /// The code location.
    pub location: String,
    /// `static`, `time_window`, `dynamic` or `multi`.
    pub kind: String,
    /// How many keys there are.
    pub count: u64,
}

/// Partitions definitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionsList {
    /// By location.
    pub partitions: Vec<PartitionsView>,
}

/// A page of partition keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionKeys {
    /// The definition.
    pub name: String,
    /// The keys.
    pub keys: Vec<PartitionKeyView>,
    /// Give it as `after` to get the next page; none after the last.
    pub next: Option<String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionKeyView {
    /// Its key.
    pub key: String,
    /// `MATERIALIZED`, `FAILED`, `MATERIALIZING` or `MISSING`; where an asset was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// Keys that were added or taken out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedKeys {
    /// Those that were not there before, or were there.
    pub changed: Vec<String>,
}

/// A concurrency pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// How many steps may hold a slot; none takes the default of the settings.
    pub limit: Option<u32>,
    /// How many hold one.
    pub held: u64,
    /// How many wait for one.
    pub waiting: u64,
}

/// Concurrency pools.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolList {
    /// By name.
    pub pools: Vec<PoolView>,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// Its id; rises.
    pub id: i64,
    /// The rule of `catchment.yaml` that asked for it.
    pub rule: String,
    /// Where it goes.
    pub channel: String,
    /// `PENDING`, `DELIVERED` or `GIVEN_UP`.
    pub status: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// The CloudEvent.
    pub event: Value,
}

/// Alerts, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertList {
    /// The alerts.
    pub alerts: Vec<AlertView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<i64>,
}

/// A concern of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonView {
    /// Its kind, such as `SENSOR`.
    pub daemon: String,
    /// Whether its last sign of life is young enough, and said nothing bad.
    pub healthy: bool,
    /// When that was.
    pub at: Timestamp,
    /// How many events it lies behind what it follows.
    pub lag: i64,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// The daemons of the installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonList {
    /// The daemon that leads, as host, home and start.
    pub leader: Option<String>,
    /// The epoch of its lead: rises with each change.
    pub epoch: Option<i64>,
    /// Whether its lead is valid now.
    pub leading: bool,
    /// Its concerns.
    pub daemons: Vec<DaemonView>,
}
