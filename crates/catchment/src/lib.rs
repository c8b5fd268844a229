//! The SDK: what user code is written against, and what runs it.
//!
//! Here:
//! - definitions: [`Definitions`], [`AssetDefinition`], [`CheckDefinition`], [`OpDefinition`], [`GraphDefinition`],
//!   [`JobDefinition`] ([`asset_job`]), [`SensorDefinition`], [`ScheduleDefinition`], [`PartitionsDefinition`],
//!   [`ResourceDefinition`], [`HookDefinition`]; the attributes of the same names write them for functions;
//! - what their functions take: [`Input`] and [`Inputs`], [`Config`], [`Res`], [`Partition`], [`PartitionRange`],
//!   [`TimeWindow`], and the contexts ([`AssetContext`], [`SensorContext`], [`ScheduleContext`], [`HookContext`]…);
//! - what they give: any value, [`Materialization`], [`Observation`], [`Staged`] (a file to be committed),
//!   [`DynamicOutput`]s, [`CheckResult`]; [`RunRequest`]s and [`SkipReason`]s;
//! - where values are kept: [`io_manager`];
//! - [`serve`], which makes a program of it all, and [`materialize`] and [`execute_job`] for tests.
//!
//! Not here: what a run means (`catchment-core`), where state is kept (`catchment-instance`), when something
//! runs (`catchment-daemon`), how bytes reach the lake (behind [`OutputStore`]), anything spatial.
//!
//! `lower` brings all definitions down to steps; `plan` selects and orders them, `executor` runs them. [`probe`] is
//! how a type is asked what it can do.
//!
//! ```
//! use catchment::{Definitions, Input, Problem, asset, asset_job};
//!
//! /// Three numbers.
//! #[asset(group = "hello")]
//! async fn numbers() -> Result<Vec<u32>, Problem> {
//!     Ok(vec![1, 2, 3])
//! }
//!
//! /// Their sum.
//! #[asset(group = "hello")]
//! async fn total(numbers: Input<Vec<u32>>) -> Result<u32, Problem> {
//!     Ok(numbers.iter().sum())
//! }
//!
//! let definitions = Definitions::new("hello")
//!     .assets([numbers(), total()])                       // `total()` is the definition …
//!     .job(asset_job("add", ["numbers", "total"]));
//! assert!(definitions.check().is_empty());
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! assert_eq!(total::call(Input::of(vec![4, 5])).await.unwrap(), 9); // … `total::call(…)` the function
//! # });
//! ```

#[cfg(test)]
extern crate self as catchment;

mod asset;
mod check;
mod config;
mod context;
mod definitions;
mod evaluation;
mod executor;
mod extract;
mod graph;
mod hook;
pub mod io_manager;
mod job;
mod lake_outputs;
mod lower;
mod materialization;
mod materialize;
mod op;
mod output;
mod partitions;
mod pipes;
mod plan;
pub mod probe;
mod resource;
mod schedule;
mod schema;
mod secrets;
mod selection;
mod sensor;
mod serve;
mod server;
mod uses;
mod verify;
mod waits;
mod watch;

pub use asset::{AssetDefinition, Tried};
pub use catchment_core::automation::AutomationCondition;
pub use catchment_core::backfill::BackfillPolicy;
pub use catchment_core::definitions::{AssetSpec, CheckSpec};
pub use catchment_core::freshness::FreshnessPolicy;
pub use catchment_core::mapping::PartitionMapping;
pub use catchment_core::metadata::{self, Metadata, MetadataValue};
pub use catchment_core::partitions::TimeWindow;
pub use catchment_core::retry::{Backoff, Jitter, RetryPolicy};
pub use catchment_core::run::Selection;
pub use catchment_core::sensor::{
    AddPartitions, Claim, ClaimKey, ClaimOutcome, DeletePartitions, Rejection, RunRequest, SensorResult,
};
pub use catchment_core::{Event, EventKind, Level, Run, RunId, RunStatus};
pub use catchment_macros::{
    asset, asset_check, asset_sensor, claim_handler, failure_hook, graph, job, multi_asset, observable_source_asset,
    op, resource, run_status_sensor, schedule, sensor, success_hook,
};
pub use catchment_model::{Code, Fault, Problem};
pub use check::{CheckDefinition, CheckResult, Severity};
pub use context::{
    AssetContext, CheckContext, ClaimContext, Context, HookContext, OpContext, ScheduleContext, SensorContext,
    StepContext,
};
pub use definitions::{Definitions, OUTPUT_STORE};
pub use executor::children::ChildGuard;
pub use executor::logs::StepLogs;
pub use extract::{Config, FromContext, Input, Inputs, Need, Partition, PartitionRange, Res};
pub use graph::{Added, Bound, DynamicWire, Graph, GraphDefinition, GraphInput, GraphOutputs, Wire, Wires};
pub use hook::{HookBuilder, HookDefinition, HookOn};
pub use io_manager::IoManager;
pub use job::{JobDefinition, asset_job};
pub use materialization::{Materialization, Observation};
pub use materialize::{Materialize, Materialized, execute_job, materialize};
pub use op::{OpBuilder, OpDefinition};
pub use output::{
    CommitRequest, Committed, DynamicOutput, OpenRun, Optional, OutputPort, OutputStore, PortKind, Produced, Returned,
    SharedValue, Staged,
};
pub use partitions::PartitionsDefinition;
pub use pipes::{
    ContextInjector, FolderMessages, InlineContext, MessageReader, MessageSource, MessagesFrom, OpenedReader,
    PipesCheck, PipesContextData, PipesDataProvenance, PipesMaterialization, PipesPartitionKeyRange, PipesResult,
    PipesSubprocess, PipesTimeWindow, StdioMessages, Stream, TempFileContext, TempFileMessages,
};
pub use probe::Probe;
pub use resource::{ResourceContext, ResourceDefinition, Resources, Surroundings};
pub use schedule::{ScheduleDefinition, schedule_from_partitioned_job};
pub use secrets::Secret;
pub use sensor::{ClaimHandler, ClaimHandlerBuilder, Requests, SensorBuilder, SensorDefinition, SkipReason};
pub use serve::serve;
pub use server::{CodeServer, Listen};
