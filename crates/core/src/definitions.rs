//! What a code location defines, as the control plane sees it.

use serde::{Deserialize, Serialize};

/// All definitions of a code location.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LocationSnapshot {
    /// The location's name, such as `etl_pipelines`.
    pub location: String,
    /// The version of the user's code, where it has one.
    pub code_version: String,
    /// Assets in the order of their definition.
    pub assets: Vec<AssetSpec>,
    /// Jobs.
    pub jobs: Vec<JobSpec>,
    /// Sensors.
    pub sensors: Vec<SensorSpec>,
    /// Partitions definitions.
    pub partitions: Vec<PartitionsSpec>,
}

/// An asset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetSpec {
    /// Its key; parts of a longer key are separated by `/`.
    pub key: String,
    /// The group that it is shown in.
    pub group: String,
    /// What it is made with or of, such as `geoparquet`.
    pub kinds: Vec<String>,
    /// What it is.
    pub description: String,
    /// The keys of the assets that it needs.
    pub deps: Vec<String>,
    /// The partitions definition, by name.
    pub partitions: Option<String>,
    /// JSON Schema of its config, where it takes one.
    pub config_schema: Option<serde_json::Value>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The assets (or ops) that it runs, in topological order.
    pub steps: Vec<String>,
    /// The partitions definition, by name.
    pub partitions: Option<String>,
    /// JSON Schema of its run config.
    pub config_schema: serde_json::Value,
}

/// A sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensorSpec {
    /// Its name.
    pub name: String,
    /// What it watches.
    pub description: String,
    /// The jobs that it may ask for.
    pub jobs: Vec<String>,
    /// The least time between two evaluations that nothing woke, in seconds.
    pub minimum_interval_s: u32,
    /// Whether it runs unless someone has stopped it.
    pub running_by_default: bool,
}

/// A partitions definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionsSpec {
    /// Its name, such as `dataset_id`.
    pub name: String,
    /// What kind it is.
    pub kind: PartitionsKind,
}

/// Kinds of partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartitionsKind {
    /// A set of keys that grows at run time.
    Dynamic,
    /// A fixed list of keys.
    Static {
        /// The keys, in order.
        keys: Vec<String>,
    },
}
