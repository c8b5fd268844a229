//! What an asset returns, and where it becomes durable.

use std::any::{Any, TypeId};
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_model::Problem;

/// A value that passes from one step to the next inside a run's process.
pub type SharedValue = Arc<dyn Any + Send + Sync>;

/// A finished file in the run's scratch folder. An asset that returns it asks for it to be committed: the
/// executor evaluates the blocking checks, then the lake commits it, then the event is written.
pub use catchment_lake::Staged;

/// What is to be committed.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The file.
    pub staged: Staged,
    /// The dataset: the run's partition.
    pub dataset_id: String,
    /// The run.
    pub run_id: RunId,
    /// The epoch of the lease that the run's process holds.
    pub epoch: i64,
    /// The output: the asset's key.
    pub output: String,
    /// For whom it is done (tag `catchment/principal`), for the activity log.
    pub principal: Option<String>,
}

/// A version that is in the lake. An asset downstream of one that returns [`Staged`] takes it as
/// `Input<Committed>`.
pub use catchment_lake::Committed;

/// What the ledger is told when a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// The run.
    pub run_id: RunId,
    /// The epoch of its lease.
    pub epoch: i64,
    /// The job.
    pub job_name: String,
    /// The batch (tag `dagster/run_key`).
    pub batch_id: Option<String>,
    /// The partition.
    pub partition_key: Option<String>,
    /// The assets that it is to commit.
    pub expected_outputs: Vec<String>,
    /// When its process began.
    pub started_at: jiff::Timestamp,
}

/// Where staged outputs become durable: the lake and its ledger, or a fake.
#[async_trait]
pub trait OutputStore: Send + Sync {
    /// Opens the run in the ledger.
    ///
    /// # Errors
    /// `lease_lost` where the ledger knows a newer epoch of this run.
    async fn open_run(&self, run: OpenRun) -> Result<(), Problem>;

    /// Commits a file, once for each run and output, on condition of the epoch.
    ///
    /// # Errors
    /// `lease_lost` where another process has taken over; whatever the store or ledger says.
    async fn commit(&self, request: CommitRequest) -> Result<Committed, Problem>;
}

/// What a step gave.
#[derive(Debug)]
pub enum StepOutput {
    /// A value for the steps after it.
    Value(SharedValue),
    /// A file to be committed.
    Staged(Box<Staged>),
}

/// What an asset may return in `Result<T, E>`: anything that threads may share. [`Staged`] is committed; all
/// else is handed on as it is.
pub trait Output: Any + Send + Sync + Sized {
    /// Whether it is committed to the lake.
    fn is_staged() -> bool {
        TypeId::of::<Self>() == TypeId::of::<Staged>()
    }

    /// The type under which steps downstream see it.
    fn seen_as() -> (TypeId, &'static str) {
        if Self::is_staged() {
            (TypeId::of::<Committed>(), std::any::type_name::<Committed>())
        } else {
            (TypeId::of::<Self>(), std::any::type_name::<Self>())
        }
    }

    /// Sorts it.
    fn into_output(self) -> StepOutput {
        let shared: Box<dyn Any + Send + Sync> = Box::new(self);
        match shared.downcast::<Staged>() {
            Ok(staged) => StepOutput::Staged(staged),
            Err(value) => StepOutput::Value(Arc::from(value)),
        }
    }
}

impl<T: Any + Send + Sync> Output for T {}

/// The `Result<T, E>` that a definition's function returns, with `Problem: From<E>`.
#[diagnostic::on_unimplemented(
    message = "a definition's function returns `Result<T, E>` where `E` becomes a `Problem`, not `{Self}`",
    label = "not a `Result<T, E>` with `Problem: From<E>`"
)]
pub trait Returned {
    /// The `T`.
    type Value: Send;

    /// The same with a [`Problem`].
    ///
    /// # Errors
    /// The error that it holds.
    fn into_result(self) -> Result<Self::Value, Problem>;
}

impl<T: Send, E> Returned for Result<T, E>
where
    Problem: From<E>,
{
    type Value = T;

    fn into_result(self) -> Result<T, Problem> {
        self.map_err(Problem::from)
    }
}
