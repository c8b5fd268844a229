//! The lake as the place where staged outputs become durable.

use async_trait::async_trait;
use catchment_lake::{Lake, RunLease};
use catchment_ledger::new_id;
use catchment_model::documents::Status;
use catchment_model::{Code, DatasetId, Problem, RunDoc};

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
        let dataset_id = DatasetId::new(request.dataset_id.as_str()).map_err(|error| {
            Problem::new(Code::InvalidInput, "the run's partition is no dataset id")
                .place(request.dataset_id.clone())
                .cause(error.to_string())
        })?;
        let request = catchment_lake::CommitRequest {
            staged: request.staged,
            dataset_id,
            run: RunLease { run_id: request.run_id.to_string(), epoch: request.epoch },
            output: request.output,
            principal: request.principal.unwrap_or_else(|| "system".to_owned()),
        };
        Ok(Lake::commit(self, request).await?)
    }
}
