//! What a process is told, and the ways in which it is told.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use catchment_model::{Code, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a process is told of the step that it is part of. All keys are always there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PipesContextData {
    /// The keys of the assets that the step makes, escaped as Pipes does; none in a step that makes no assets.
    pub asset_keys: Option<Vec<String>>,
    /// The version of the code that makes each.
    pub code_version_by_asset_key: Option<BTreeMap<String, Option<String>>>,
    /// What each was made of the last time.
    pub provenance_by_asset_key: Option<BTreeMap<String, Option<PipesDataProvenance>>>,
    /// The partition, where it is one.
    pub partition_key: Option<String>,
    /// The partitions, where there are any.
    pub partition_key_range: Option<PipesPartitionKeyRange>,
    /// The time that the partitions stand for, where they do.
    pub partition_time_window: Option<PipesTimeWindow>,
    /// The run.
    pub run_id: String,
    /// The job.
    pub job_name: Option<String>,
    /// How often the step was tried before.
    pub retry_number: u32,
    /// What the launching code adds.
    pub extras: Map<String, Value>,
}

/// What a version of an asset was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipesDataProvenance {
    /// The version of the code.
    pub code_version: String,
    /// The data versions of its inputs, by asset key.
    pub input_data_versions: BTreeMap<String, String>,
    /// Whether its data version was given by user code.
    pub is_user_provided: bool,
}

/// A range of partitions, its ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipesPartitionKeyRange {
    /// The first key.
    pub start: String,
    /// The last key.
    pub end: String,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipesTimeWindow {
    /// Its begin, in RFC 3339.
    pub start: String,
    /// Its end, which does not belong to it, in RFC 3339.
    pub end: String,
}

/// A way to hand the context over.
#[async_trait]
pub trait ContextInjector: Send + Sync {
    /// Puts the context where the process can read it, and answers the params by which it finds it. What is put into
    /// `folder` goes away with the session.
    ///
    /// # Errors
    /// Where it cannot be put there.
    async fn inject(&self, context: &PipesContextData, folder: &Path) -> Result<Value, Problem>;
}

/// Hands the context over as a file: the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct TempFileContext;

#[async_trait]
impl ContextInjector for TempFileContext {
    async fn inject(&self, context: &PipesContextData, folder: &Path) -> Result<Value, Problem> {
        let path = folder.join("context.json");
        tokio::fs::write(&path, json!(context).to_string()).await.map_err(|error| {
            Problem::new(Code::Io, "the context of a process cannot be written")
                .place(path.display().to_string())
                .cause(error.to_string())
                .remedy("see that the disk has room and CATCHMENT_HOME may be written")
        })?;
        Ok(json!({"path": path}))
    }
}

/// Hands the context over within the environment variable: nothing on disk, and at most 128 KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineContext;

#[async_trait]
impl ContextInjector for InlineContext {
    async fn inject(&self, context: &PipesContextData, _: &Path) -> Result<Value, Problem> {
        Ok(json!({"data": context}))
    }
}
