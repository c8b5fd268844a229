//! What an asset returns, and where it becomes durable.

use std::any::{Any, TypeId};
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_model::Problem;

use crate::check::CheckResult;
use crate::materialization::{Materialization, Observation};
use crate::probe::Codec;

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

    /// The newest version of a dataset that was committed as this output and is not deleted.
    ///
    /// # Errors
    /// Where the name cannot be a dataset's; whatever the ledger says.
    async fn newest(&self, dataset_id: &str, output: &str) -> Result<Option<Committed>, Problem>;

    /// What a run has committed as this output, where it is not deleted.
    ///
    /// # Errors
    /// Whatever the ledger says.
    async fn committed(&self, run_id: RunId, output: &str) -> Result<Option<Committed>, Problem>;
}

/// What an output stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// A value for the steps downstream.
    Value,
    /// A file to be committed; downstream sees [`Committed`].
    Staged,
    /// Several values, each under a key of its own: what is downstream runs once for each.
    Dynamic,
    /// The result of a check.
    Check,
    /// How an asset was found.
    Observation,
}

/// An output of an op: its name, and what is known of its type.
#[derive(Debug, Clone)]
pub struct OutputPort {
    pub(crate) name: String,
    pub(crate) kind: PortKind,
    /// The type under which steps downstream see it.
    pub(crate) type_id: TypeId,
    /// That type's name, for messages.
    pub(crate) type_name: &'static str,
    /// Whether it may be left out: then what needs it is skipped.
    pub(crate) is_optional: bool,
    /// How its value is stored, where it can be.
    pub(crate) codec: Option<Codec>,
    /// The IO manager that keeps it, by the name of a resource; `None` takes the default.
    pub(crate) io_manager: Option<String>,
}

impl OutputPort {
    /// The IO manager that keeps its values, by the name of a resource.
    pub(crate) fn io_manager_name(&self) -> &str {
        self.io_manager.as_deref().unwrap_or(crate::io_manager::DEFAULT)
    }

    /// Whether its value says nothing, so needs not be kept.
    pub(crate) fn is_unit(&self) -> bool {
        self.type_id == TypeId::of::<()>()
    }
}

/// What an op gave for one of its outputs.
#[derive(Debug)]
pub enum Produced {
    /// Nothing: an optional output that was left out.
    Nothing,
    /// A value for the steps after it.
    Value {
        /// The value.
        value: SharedValue,
        /// What is said of the asset that it is, if it is one.
        materialization: Materialization,
    },
    /// A file to be committed.
    Staged {
        /// The file.
        staged: Box<Staged>,
        /// What is said of it besides what it says itself.
        materialization: Materialization,
    },
    /// Values by their mapping keys.
    Dynamic(Vec<(String, SharedValue)>),
    /// The result of a check.
    Check(Box<CheckResult>),
    /// How an asset was found.
    Observation(Observation),
}

/// An output that may be left out: what needs it is skipped then. In a `#[multi_asset]`, the outputs that a run has
/// not selected are left out. `T` is all that an output may be otherwise: a value, or a wrapper such as [`Staged`] or
/// `(T, Materialization)`, which is then treated as without the `Optional`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optional<T>(pub Option<T>);

/// One of the values of an op that fans out: `Result<Vec<DynamicOutput<T>>, E>`. What is downstream runs once for
/// each, until it is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicOutput<T> {
    /// What tells it from its siblings: letters, digits, `_`, `-` and `.`.
    pub key: String,
    /// The value.
    pub value: T,
}

impl<T> DynamicOutput<T> {
    /// A value under a key.
    pub fn new(key: impl Into<String>, value: T) -> Self {
        Self { key: key.into(), value }
    }
}

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
