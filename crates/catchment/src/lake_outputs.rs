//! The lake as the place where staged outputs become durable.

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_lake::{Lake, RunLease};
use catchment_ledger::{Ledger, new_id};
use catchment_model::documents::Status;
use catchment_model::{Asset, Code, DatasetId, Problem, RunDoc};

use crate::output::{CommitRequest, Committed, OpenRun, OutputStore};

#[async_trait]
impl OutputStore for Lake {
    async fn open_run(&self, run: OpenRun) -> Result<(), Problem> {
        let doc = RunDoc {
            id: new_id(run.started_at),
            dagster_run_id: run.run_id.to_string(),
            batch_id: run.batch_id,
            job_name: run.job_name,
            partition_key: run.partition_key,
            status: Status::Running,
            asset_ids: Vec::new(),
            error_message: None,
            started_at: Some(run.started_at),
            completed_at: None,
            lease_epoch: run.epoch,
            expected_outputs: run.expected_outputs,
        };
        self.ledger().open_run(doc).await?;
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, Problem> {
        let dataset_id = dataset(&request.dataset_id)?;
        let request = catchment_lake::CommitRequest {
            staged: request.staged,
            dataset_id,
            run: RunLease { run_id: request.run_id.to_string(), epoch: request.epoch },
            output: request.output,
            principal: request.principal.unwrap_or_else(|| "system".to_owned()),
        };
        Ok(Lake::commit(self, request).await?)
    }

    async fn newest(&self, dataset_id: &str, output: &str) -> Result<Option<Committed>, Problem> {
        newest(self.ledger().as_ref(), &dataset(dataset_id)?, output).await
    }

    async fn committed(&self, run_id: RunId, output: &str) -> Result<Option<Committed>, Problem> {
        Ok(self.ledger().committed(&run_id.to_string(), output).await?.and_then(there))
    }
}

fn dataset(partition: &str) -> Result<DatasetId, Problem> {
    DatasetId::new(partition).map_err(|error| {
        Problem::new(Code::InvalidInput, "the run's partition is no dataset id")
            .place(partition.to_owned())
            .cause(error.to_string())
    })
}

/// Several outputs may go to one dataset: the newest version of all may be that of another.
async fn newest(ledger: &dyn Ledger, dataset_id: &DatasetId, output: &str) -> Result<Option<Committed>, Problem> {
    let versions = ledger.versions(dataset_id).await?;
    Ok(versions.into_iter().filter(|asset| asset.output == output).find_map(there))
}

/// A version that is not deleted.
fn there(asset: Asset) -> Option<Committed> {
    asset.deleted_at.is_none().then_some(Committed { asset, already: true })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use catchment_ledger::{Assets as _, Runs as _, SqliteLedger};
    use catchment_model::documents::{AssetFormat, AssetKind, AssetMetadata, ContentHash, Provenance};
    use catchment_settings::clock;

    use super::*;

    async fn commit(ledger: &dyn Ledger, run: &RunDoc, dataset_id: &DatasetId, output: &str) -> Asset {
        let now = clock::now();
        let reserved = ledger.reserve_version(dataset_id, now).await.unwrap();
        let asset = Asset {
            id: reserved.asset_id,
            s3_key: format!("{dataset_id}/v{}/data.parquet", reserved.version),
            dataset_id: dataset_id.clone(),
            version: reserved.version,
            content_hash: ContentHash::from_hex(&"ab".repeat(32)).unwrap(),
            bytes: 10,
            run_id: run.id,
            dagster_run_id: run.dagster_run_id.clone(),
            output: output.into(),
            lease_epoch: run.lease_epoch,
            kind: AssetKind::Spatial,
            format: AssetFormat::Geoparquet,
            crs: None,
            bounds: None,
            metadata: AssetMetadata::default(),
            provenance: Provenance { batch_id: None, sources: vec![], recipe: None, engine: None, crs_operation: None },
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        ledger.commit_asset(asset).await.unwrap().asset
    }

    #[tokio::test]
    async fn the_newest_version_is_that_of_the_output_and_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
        let roads = DatasetId::new("roads").unwrap();
        let mut made = Vec::new();
        for (run, output) in [("one", "lines"), ("two", "lines"), ("three", "crossings")] {
            let doc = RunDoc::starting(new_id(clock::now()), run.into(), "job".into(), 1);
            let run = ledger.open_run(doc).await.unwrap();
            made.push(commit(&ledger, &run, &roads, output).await);
        }
        let found = async |output| newest(&ledger, &roads, output).await.unwrap().map(|found| found.asset.version);
        assert_eq!((found("lines").await, found("crossings").await, found("other").await), (Some(2), Some(3), None));
        ledger.tombstone_asset(made[1].id, clock::now()).await.unwrap();
        assert_eq!(found("lines").await, Some(1));
        ledger.tombstone_asset(made[0].id, clock::now()).await.unwrap();
        assert_eq!(found("lines").await, None);
    }
}
