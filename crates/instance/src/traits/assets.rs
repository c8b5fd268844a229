//! What the event log says of assets, kept as tables: the newest of everything, by asset, partition and check.

use async_trait::async_trait;
use catchment_core::{Event, RunId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Result;

/// The newest of an asset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AssetRecord {
    /// Its key.
    pub asset_key: String,
    /// The id and time of its newest materialisation.
    pub materialized: Option<(i64, Timestamp)>,
    /// The run of it.
    pub materialized_by: Option<RunId>,
    /// Its data version.
    pub data_version: Option<String>,
    /// The version of the code that made it.
    pub code_version: Option<String>,
    /// The id and time of its newest observation.
    pub observed: Option<(i64, Timestamp)>,
    /// The id of the newest event that says that it was not materialised.
    pub failed: Option<i64>,
    /// The run that was to materialise it last, as far as that is not decided yet.
    pub in_progress: Option<RunId>,
    /// When it was wiped last: what is older does not count.
    pub wiped_at: Option<Timestamp>,
}

/// How a partition of an asset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PartitionStatus {
    /// It is there.
    Materialized,
    /// The last try to make it failed.
    Failed,
    /// A run is making it.
    Materializing,
}

/// A partition of an asset of which the log says anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Its key; empty for an asset without partitions.
    pub partition: String,
    /// How it stands.
    pub status: PartitionStatus,
    /// The id and time of its newest materialisation, also where a later try failed.
    pub materialized: Option<(i64, Timestamp)>,
    /// Its data version.
    pub data_version: Option<String>,
    /// The id of the newest event about it.
    pub last_event: i64,
    /// The run of that event.
    pub run_id: RunId,
}

/// How many partitions of an asset stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionCounts {
    /// There.
    pub materialized: u64,
    /// Failed at the last try.
    pub failed: u64,
    /// Being made.
    pub materializing: u64,
}

/// How a check stands. The names are Dagster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckStatus {
    /// A run is about to evaluate it.
    InProgress,
    /// It holds.
    Succeeded,
    /// It does not hold.
    Failed,
    /// It could not be evaluated.
    ExecutionFailed,
    /// Its run ended without it.
    Skipped,
}

/// An evaluation of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckExecution {
    /// Rises with each evaluation.
    pub id: i64,
    /// The asset.
    pub asset_key: String,
    /// The check.
    pub check_name: String,
    /// The partition.
    pub partition: Option<String>,
    /// The run.
    pub run_id: RunId,
    /// How it stands: planned ones are in progress while their run is live, and skipped or could not be evaluated
    /// (where the step failed) when it has ended.
    pub status: CheckStatus,
    /// When it was planned or evaluated.
    pub timestamp: Timestamp,
    /// The event `ASSET_CHECK_EVALUATION`, once there is one.
    pub evaluation: Option<Event>,
}

/// Assets, partitions and checks.
#[async_trait]
pub trait Assets: Send + Sync {
    /// The newest of these assets, or of all of which the log says anything (`keys` empty), in the order of keys,
    /// after `after`, at most `limit`.
    async fn assets(&self, keys: &[String], after: Option<&str>, limit: u32) -> Result<Vec<AssetRecord>>;
    /// The partitions of an asset of which the log says anything, in the order of keys. `only` limits to these keys.
    async fn asset_partitions(&self, asset_key: &str, only: &[String]) -> Result<Vec<PartitionState>>;
    /// How many stand how.
    async fn count_partitions(&self, asset_key: &str) -> Result<PartitionCounts>;
    /// Forgets the materialisations of an asset, or of these partitions, with an `ASSET_WIPED` event.
    async fn wipe_asset(&self, asset_key: &str, partitions: Option<&[String]>, now: Timestamp) -> Result<()>;
    /// Evaluations of a check, newest first, before the id.
    async fn check_executions(
        &self,
        asset_key: &str,
        check_name: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<CheckExecution>>;
    /// The newest evaluation of a check for each partition, in the order of their ids.
    async fn latest_of_partitions(&self, asset_key: &str, check_name: &str) -> Result<Vec<CheckExecution>>;
    /// The newest evaluation of each check of these assets.
    async fn latest_checks(&self, asset_keys: &[String]) -> Result<Vec<CheckExecution>>;
}
