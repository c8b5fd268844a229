//! The ledger of a simulation: the real one, each call being one event.

use std::sync::Arc;

use async_trait::async_trait;
use catchment_ledger::*;
use catchment_model::documents::*;
use catchment_model::{Asset, DatasetId, ManifestDoc, ObjectId, RunDoc, Status};
use jiff::Timestamp;

use crate::world::World;

/// A ledger whose calls take no simulated time.
#[derive(Debug)]
pub struct AtOnce {
    inner: SharedLedger,
    world: Arc<World>,
}

impl AtOnce {
    /// The ledger, in a world.
    pub fn new(inner: SharedLedger, world: Arc<World>) -> Arc<Self> {
        Arc::new(Self { inner, world })
    }
}

macro_rules! pass_on {
    ($trait:ident { $( $name:ident ( $($arg:ident : $ty:ty),* ) -> $ret:ty; )* }) => {
        #[async_trait]
        impl $trait for AtOnce {
            $(async fn $name(&self $(, $arg: $ty)*) -> Result<$ret> {
                self.world.at_once(self.inner.$name($($arg),*))
            })*
        }
    };
}

pass_on! { Manifests {
    record_manifest(doc: ManifestDoc) -> ManifestDoc;
    manifest(batch_id: &str) -> Option<ManifestDoc>;
    manifests(page: PageRequest, status: Option<Status>) -> Page<ManifestDoc>;
    set_manifest_status(batch_id: &str, change: StatusChange) -> bool;
    reject_manifest(doc: RejectedManifest) -> RejectedManifest;
    rejected_manifests(page: PageRequest) -> Page<RejectedManifest>;
} }

pass_on! { Runs {
    open_run(doc: RunDoc) -> RunDoc;
    close_run(dagster_run_id: &str, new_epoch: i64, now: Timestamp) -> RunDoc;
    set_run_status(dagster_run_id: &str, change: StatusChange) -> bool;
    run_doc(dagster_run_id: &str) -> Option<RunDoc>;
    run_docs(page: PageRequest) -> Page<RunDoc>;
} }

pass_on! { Assets {
    reserve_version(dataset_id: &DatasetId, now: Timestamp) -> Reservation;
    commit_asset(asset: Asset) -> Committed;
    asset(id: ObjectId) -> Option<Asset>;
    asset_of_key(s3_key: &str) -> Option<Asset>;
    committed(dagster_run_id: &str, output: &str) -> Option<Asset>;
    run_assets(dagster_run_id: &str) -> Vec<Asset>;
    latest_asset(dataset_id: &DatasetId) -> Option<Asset>;
    asset_version(dataset_id: &DatasetId, version: u64) -> Option<Asset>;
    versions(dataset_id: &DatasetId) -> Vec<Asset>;
    assets(page: PageRequest) -> Page<Asset>;
    tombstone_asset(id: ObjectId, at: Timestamp) -> Asset;
} }

pass_on! { Datasets {
    datasets(after: Option<&DatasetId>, limit: u32) -> Page<DatasetSummary, DatasetId>;
    dataset(dataset_id: &DatasetId) -> Option<Dataset>;
} }

pass_on! { Lineages {
    record_lineage(doc: Lineage) -> Lineage;
    lineage_of(asset_id: ObjectId) -> Vec<Lineage>;
} }

pass_on! { Activities {
    log_activity(doc: ActivityLog) -> ActivityLog;
    activities(page: PageRequest, resource: Option<(&str, &str)>) -> Page<ActivityLog>;
} }
