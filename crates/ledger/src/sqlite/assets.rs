//! Versions of datasets: reserved, committed, found, marked as deleted.

use async_trait::async_trait;
use catchment_model::{Asset, Dataset, DatasetId, ObjectId};
use jiff::Timestamp;
use sqlx::sqlite::SqliteExecutor;

use super::SqliteLedger;
use super::documents::{Bind, all, find, insert, page, replace};
use super::runs::find_run;
use crate::{Assets, Committed, DatasetSummary, Datasets, LedgerError, Page, PageRequest, Reservation, Result, new_id};

const OF_DATASET: &str = "doc ->> '$.dataset_id' = ?";
const LATEST: &str = "doc ->> '$.dataset_id' = ? AND doc ->> '$.deleted_at' IS NULL ORDER BY doc ->> '$.version' DESC";

async fn find_output(db: impl SqliteExecutor<'_>, dagster_run_id: &str, output: &str) -> Result<Option<Asset>> {
    let condition = "doc ->> '$.dagster_run_id' = ? AND doc ->> '$.output' = ?";
    find(db, "assets", condition, &[dagster_run_id.into(), output.into()]).await
}

#[async_trait]
impl Assets for SqliteLedger {
    async fn reserve_version(&self, dataset_id: &DatasetId, now: Timestamp) -> Result<Reservation> {
        self.write(async |tx| {
            let found: Option<Dataset> = find(&mut **tx, "datasets", OF_DATASET, &[dataset_id.as_str().into()]).await?;
            let version = match found {
                Some(mut dataset) => {
                    let version = dataset.next_version;
                    dataset.next_version += 1;
                    replace(&mut **tx, "datasets", dataset.id, &dataset).await?;
                    version
                }
                None => {
                    let dataset = Dataset {
                        id: new_id(now),
                        dataset_id: dataset_id.clone(),
                        next_version: 2,
                        title: None,
                        created_at: now,
                    };
                    insert(&mut **tx, "datasets", dataset.id, &dataset).await?;
                    1
                }
            };
            Ok(Reservation { asset_id: new_id(now), version })
        })
        .await
    }

    async fn commit_asset(&self, asset: Asset) -> Result<Committed> {
        self.write(async |tx| {
            let Some(mut run) = find_run(&mut **tx, &asset.dagster_run_id).await? else {
                return Err(LedgerError::NotFound(format!("run {}: it was not opened", asset.dagster_run_id)));
            };
            if run.lease_epoch != asset.lease_epoch {
                return Err(LedgerError::LeaseLost {
                    run: asset.dagster_run_id,
                    epoch: asset.lease_epoch,
                    newest: run.lease_epoch,
                });
            }
            if let Some(found) = find_output(&mut **tx, &asset.dagster_run_id, &asset.output).await? {
                return Ok(Committed { asset: found, already: true });
            }
            insert(&mut **tx, "assets", asset.id, &asset).await?;
            run.asset_ids.push(asset.id);
            replace(&mut **tx, "runs", run.id, &run).await?;
            let dataset: Option<Dataset> =
                find(&mut **tx, "datasets", OF_DATASET, &[asset.dataset_id.as_str().into()]).await?;
            let Some(mut dataset) = dataset.filter(|dataset| dataset.next_version > asset.version) else {
                return Err(LedgerError::NotFound(format!(
                    "reservation of version {} of dataset `{}`",
                    asset.version, asset.dataset_id
                )));
            };
            dataset.title = asset.metadata.title.clone().or(dataset.title);
            replace(&mut **tx, "datasets", dataset.id, &dataset).await?;
            Ok(Committed { asset, already: false })
        })
        .await
    }

    async fn asset(&self, id: ObjectId) -> Result<Option<Asset>> {
        find(&self.readers, "assets", "id = ?", &[id.to_string().as_str().into()]).await
    }

    async fn asset_of_key(&self, s3_key: &str) -> Result<Option<Asset>> {
        find(&self.readers, "assets", "doc ->> '$.s3_key' = ?", &[s3_key.into()]).await
    }

    async fn committed(&self, dagster_run_id: &str, output: &str) -> Result<Option<Asset>> {
        find_output(&self.readers, dagster_run_id, output).await
    }

    async fn run_assets(&self, dagster_run_id: &str) -> Result<Vec<Asset>> {
        all(&self.readers, "assets", "doc ->> '$.dagster_run_id' = ? ORDER BY id", &[dagster_run_id.into()]).await
    }

    async fn latest_asset(&self, dataset_id: &DatasetId) -> Result<Option<Asset>> {
        find(&self.readers, "assets", LATEST, &[dataset_id.as_str().into()]).await
    }

    async fn asset_version(&self, dataset_id: &DatasetId, version: u64) -> Result<Option<Asset>> {
        let Ok(version) = i64::try_from(version) else { return Ok(None) };
        let binds = [dataset_id.as_str().into(), Bind::Int(version)];
        find(&self.readers, "assets", "doc ->> '$.dataset_id' = ? AND doc ->> '$.version' = ?", &binds).await
    }

    async fn versions(&self, dataset_id: &DatasetId) -> Result<Vec<Asset>> {
        let condition = "doc ->> '$.dataset_id' = ? ORDER BY doc ->> '$.version' DESC";
        all(&self.readers, "assets", condition, &[dataset_id.as_str().into()]).await
    }

    async fn assets(&self, request: PageRequest) -> Result<Page<Asset>> {
        page(&self.readers, "assets", "true", Vec::new(), request).await
    }

    async fn tombstone_asset(&self, id: ObjectId, at: Timestamp) -> Result<Asset> {
        self.write(async |tx| {
            let found: Option<Asset> = find(&mut **tx, "assets", "id = ?", &[id.to_string().as_str().into()]).await?;
            let Some(mut asset) = found else { return Err(LedgerError::NotFound(format!("asset {id}"))) };
            if asset.deleted_at.is_none() {
                asset.deleted_at = Some(at);
                asset.updated_at = at;
                replace(&mut **tx, "assets", id, &asset).await?;
            }
            Ok(asset)
        })
        .await
    }
}

#[async_trait]
impl Datasets for SqliteLedger {
    async fn datasets(&self, after: Option<&DatasetId>, limit: u32) -> Result<Page<DatasetSummary, DatasetId>> {
        let condition = "doc ->> '$.dataset_id' > ? AND EXISTS (SELECT 1 FROM assets WHERE \
            assets.doc ->> '$.dataset_id' = datasets.doc ->> '$.dataset_id' AND assets.doc ->> '$.deleted_at' IS NULL) \
            ORDER BY doc ->> '$.dataset_id' LIMIT ?";
        let after = after.map_or("", DatasetId::as_str);
        let binds = [after.into(), Bind::Int(i64::from(limit) + 1)];
        // One transaction: a version that is deleted between the two reads is not missed.
        let mut tx = self.readers.begin().await?;
        let mut found: Vec<Dataset> = all(&mut *tx, "datasets", condition, &binds).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|dataset| dataset.dataset_id.clone());
        let mut items = Vec::with_capacity(found.len());
        for dataset in found {
            let latest: Option<Asset> = find(&mut *tx, "assets", LATEST, &[dataset.dataset_id.as_str().into()]).await?;
            let versions: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM assets WHERE doc ->> '$.dataset_id' = ? AND doc ->> '$.deleted_at' IS NULL",
            )
            .bind(dataset.dataset_id.as_str())
            .fetch_one(&mut *tx)
            .await?;
            if let Some(latest) = latest {
                items.push(DatasetSummary { dataset, versions: versions.unsigned_abs(), latest });
            }
        }
        Ok(Page { items, next })
    }

    async fn dataset(&self, dataset_id: &DatasetId) -> Result<Option<Dataset>> {
        find(&self.readers, "datasets", OF_DATASET, &[dataset_id.as_str().into()]).await
    }
}
