//! What the ledger keeps of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Status;
use crate::id::ObjectId;

/// A run that may commit to the lake (collection `runs`); unique by `dagster_run_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunDoc {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// The run's UUID, with hyphens.
    #[schemars(length(min = 1))]
    pub dagster_run_id: String,
    /// The batch that it works on, where there is one.
    pub batch_id: Option<String>,
    /// The job.
    pub job_name: String,
    /// The partition, which for this platform's jobs is the dataset.
    pub partition_key: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// What it has committed.
    pub asset_ids: Vec<ObjectId>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When its process began.
    pub started_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub completed_at: Option<jiff::Timestamp>,
    /// The newest epoch of the run's lease that the ledger knows; a commit with another is refused.
    pub lease_epoch: i64,
    /// The outputs that it is to commit, by their names.
    pub expected_outputs: Vec<String>,
}

impl RunDoc {
    /// The document of a run that is about to start.
    pub fn starting(id: ObjectId, dagster_run_id: String, job_name: String, lease_epoch: i64) -> Self {
        Self {
            id,
            dagster_run_id,
            batch_id: None,
            job_name,
            partition_key: None,
            status: Status::Running,
            asset_ids: Vec::new(),
            error_message: None,
            started_at: None,
            completed_at: None,
            lease_epoch,
            expected_outputs: Vec::new(),
        }
    }
}
