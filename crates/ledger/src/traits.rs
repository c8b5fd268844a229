//! The traits of the ledger. Time is passed in; every method is one transaction, and what it answered with
//! success is durable. Repeating a write with the same arguments changes nothing more, unless it says so.

use std::sync::Arc;

use async_trait::async_trait;
use catchment_model::{
    ActivityLog, Asset, Dataset, DatasetId, Lineage, ManifestDoc, ObjectId, RejectedManifest, RunDoc, Status,
};
use jiff::Timestamp;

use crate::{Page, PageRequest, Result};

/// Where a batch or run now stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    /// Where it stands.
    pub status: Status,
    /// Since when.
    pub at: Timestamp,
    /// Why it failed; clears an earlier reason where it is `None`.
    pub error_message: Option<String>,
}

/// Admitted and refused manifests.
#[async_trait]
pub trait Manifests: Send + Sync {
    /// Records an admitted manifest. The same `batch_id` and `etag` again answers what is recorded.
    ///
    /// # Errors
    /// [`Conflict`](crate::LedgerError::Conflict) where the `batch_id` is recorded with another `etag`.
    async fn record_manifest(&self, doc: ManifestDoc) -> Result<ManifestDoc>;
    /// The manifest of a batch.
    async fn manifest(&self, batch_id: &str) -> Result<Option<ManifestDoc>>;
    /// Admitted manifests, of one status or all.
    async fn manifests(&self, page: PageRequest, status: Option<Status>) -> Result<Page<ManifestDoc>>;
    /// Sets where a batch stands, and `completed_at` where that is final; `false` where there is no such batch.
    async fn set_manifest_status(&self, batch_id: &str, change: StatusChange) -> Result<bool>;
    /// Records a refused manifest. The same key and `etag` again answers what is recorded.
    async fn reject_manifest(&self, doc: RejectedManifest) -> Result<RejectedManifest>;
    /// Refused manifests.
    async fn rejected_manifests(&self, page: PageRequest) -> Result<Page<RejectedManifest>>;
}

/// Runs, as far as the lake is concerned.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Opens a run for commits under `doc.lease_epoch`. A run that is there keeps its id, its assets and its
    /// first start; the epoch rises to the given one.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::LedgerError::LeaseLost) where a newer epoch is recorded.
    async fn open_run(&self, doc: RunDoc) -> Result<RunDoc>;
    /// Raises the epoch, so that no commit under an older one succeeds from now on, and answers the run as it
    /// then stands. A run that was never opened gets a document without a job, so that it cannot be opened
    /// under an older epoch later. An epoch that is already higher stays.
    async fn close_run(&self, dagster_run_id: &str, new_epoch: i64, now: Timestamp) -> Result<RunDoc>;
    /// Sets where a run stands, `started_at` with the first [`Status::Running`] and `completed_at` with a final
    /// one. A final status stays. `false` where there is no such run.
    async fn set_run_status(&self, dagster_run_id: &str, change: StatusChange) -> Result<bool>;
    /// A run.
    async fn run_doc(&self, dagster_run_id: &str) -> Result<Option<RunDoc>>;
    /// Runs.
    async fn run_docs(&self, page: PageRequest) -> Result<Page<RunDoc>>;
}

/// A document id and a version number that nobody else has or will ever get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The id of the asset's document.
    pub asset_id: ObjectId,
    /// Its version.
    pub version: u64,
}

/// What a commit ended with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Committed {
    /// The document in the ledger.
    pub asset: Asset,
    /// Whether (run, output) was committed before; the document is then that of the first time.
    pub already: bool,
}

/// Versions of datasets.
#[async_trait]
pub trait Assets: Send + Sync {
    /// Reserves the next version of a dataset. Each call gives another.
    async fn reserve_version(&self, dataset_id: &DatasetId, now: Timestamp) -> Result<Reservation>;
    /// The commit point: inserts the document, appends it to its run's `asset_ids` and gives the dataset its
    /// title, in one transaction.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::LedgerError::LeaseLost) where the run's recorded epoch is not the asset's,
    /// [`NotFound`](crate::LedgerError::NotFound) where the run was not opened,
    /// [`Conflict`](crate::LedgerError::Conflict) where the version or the `s3_key` is taken.
    async fn commit_asset(&self, asset: Asset) -> Result<Committed>;
    /// An asset.
    async fn asset(&self, id: ObjectId) -> Result<Option<Asset>>;
    /// The asset whose data object has this key.
    async fn asset_of_key(&self, s3_key: &str) -> Result<Option<Asset>>;
    /// What a run has committed as this output.
    async fn committed(&self, dagster_run_id: &str, output: &str) -> Result<Option<Asset>>;
    /// What a run has committed.
    async fn run_assets(&self, dagster_run_id: &str) -> Result<Vec<Asset>>;
    /// The newest version of a dataset that is not deleted.
    async fn latest_asset(&self, dataset_id: &DatasetId) -> Result<Option<Asset>>;
    /// One version of a dataset, deleted or not.
    async fn asset_version(&self, dataset_id: &DatasetId, version: u64) -> Result<Option<Asset>>;
    /// All versions of a dataset, newest first, deleted ones too.
    async fn versions(&self, dataset_id: &DatasetId) -> Result<Vec<Asset>>;
    /// All assets, deleted ones too.
    async fn assets(&self, page: PageRequest) -> Result<Page<Asset>>;
    /// Marks a version as deleted; the record stays. A version that is marked keeps its first time.
    ///
    /// # Errors
    /// [`NotFound`](crate::LedgerError::NotFound) where there is no such asset.
    async fn tombstone_asset(&self, id: ObjectId, at: Timestamp) -> Result<Asset>;
}

/// A dataset with its newest version.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetSummary {
    /// The dataset.
    pub dataset: Dataset,
    /// How many versions it has that are not deleted.
    pub versions: u64,
    /// The newest of them.
    pub latest: Asset,
}

/// Datasets.
#[async_trait]
pub trait Datasets: Send + Sync {
    /// Datasets that have a version that is not deleted, by name, after the given one.
    async fn datasets(&self, after: Option<&DatasetId>, limit: u32) -> Result<Page<DatasetSummary, DatasetId>>;
    /// A dataset, also one that has reserved versions alone.
    async fn dataset(&self, dataset_id: &DatasetId) -> Result<Option<Dataset>>;
}

/// Which asset was made from which.
#[async_trait]
pub trait Lineages: Send + Sync {
    /// Records an edge; unique by source, target and run: the same again answers what is recorded.
    async fn record_lineage(&self, doc: Lineage) -> Result<Lineage>;
    /// The edges that an asset is the source or the target of.
    async fn lineage_of(&self, asset_id: ObjectId) -> Result<Vec<Lineage>>;
}

/// Who changed what.
#[async_trait]
pub trait Activities: Send + Sync {
    /// Writes an entry. One whose `event_key` is there already answers what is recorded.
    async fn log_activity(&self, doc: ActivityLog) -> Result<ActivityLog>;
    /// Entries, of one resource (type and id) or all.
    async fn activities(&self, page: PageRequest, resource: Option<(&str, &str)>) -> Result<Page<ActivityLog>>;
}

/// The whole ledger.
pub trait Ledger: Manifests + Runs + Assets + Datasets + Lineages + Activities + std::fmt::Debug {}

impl<T: Manifests + Runs + Assets + Datasets + Lineages + Activities + std::fmt::Debug> Ledger for T {}

/// A ledger that many share.
pub type SharedLedger = Arc<dyn Ledger>;
