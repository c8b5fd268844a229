//! The SDK: what user code is written against, and what runs it.
//!
//! Here: definitions ([`Definitions`], [`AssetDefinition`], [`asset_job`], [`SensorDefinition`],
//! [`PartitionsDefinition`]), the attributes that write them ([`asset`], [`sensor`], [`claim_handler`]), the
//! extractors that are their arguments ([`Input`], [`Config`], [`Res`], [`Partition`], [`AssetContext`],
//! [`SensorContext`], [`ClaimContext`]), checks ([`CheckResult`]), what an asset may return ([`Staged`], or any
//! value), [`materialize`] for tests.
//!
//! Not here: what a run means (`catchment-core`), where state is kept (`catchment-instance`), when something
//! runs (`catchment-daemon`), how bytes reach the lake (behind [`OutputStore`]), anything spatial.
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
mod executor;
mod extract;
mod job;
mod lake_outputs;
mod materialize;
mod output;
mod partitions;
mod pipes;
mod plan;
mod resource;
mod sensor;
mod serve;
mod server;
mod verify;

pub use asset::{AssetBuilder, AssetDefinition};
pub use catchment_core::sensor::{AddPartitions, Claim, ClaimKey, ClaimOutcome, Rejection, RunRequest, SensorResult};
pub use catchment_core::{Level, RunId};
pub use catchment_macros::{asset, claim_handler, sensor};
pub use catchment_model::{Code, Fault, Problem};
pub use check::{CheckResult, Severity};
pub use context::{AssetContext, ClaimContext, Context, SensorContext};
pub use definitions::{Definitions, OUTPUT_STORE};
pub use executor::children::ChildGuard;
pub use executor::logs::StepLogs;
pub use extract::{Config, FromContext, Input, Need, Partition, Res};
pub use job::{JobDefinition, asset_job};
pub use materialize::{Materialize, Materialized, materialize};
pub use output::{CommitRequest, Committed, OpenRun, Output, OutputStore, Returned, SharedValue, Staged, StepOutput};
pub use partitions::PartitionsDefinition;
pub use pipes::{
    ContextInjector, FolderMessages, InlineContext, MessageReader, MessageSource, MessagesFrom, OpenedReader, PipesCheck,
    PipesContextData, PipesDataProvenance, PipesMaterialization, PipesPartitionKeyRange, PipesResult, PipesSubprocess,
    PipesTimeWindow, StdioMessages, Stream, TempFileContext, TempFileMessages,
};
pub use resource::{ResourceContext, ResourceDefinition, Resources, Surroundings};
pub use sensor::{ClaimHandler, ClaimHandlerBuilder, SensorBuilder, SensorDefinition};
pub use serve::serve;
pub use server::{CodeServer, Listen};
