//! The documents of the ledger, one type for each collection. `_id` is written as MongoDB does; times are
//! RFC 3339 text in UTC (JSON Schema format `date-time`, by which a backend knows that it may store a date).

mod asset;
mod manifest;
mod run;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use asset::{
    Asset, AssetFormat, AssetKind, AssetMetadata, CheckRecord, ColumnSchema, ColumnSchemas, ContentHash, CrsOperation,
    EngineInfo, Provenance, RecipeRef, Source, TypeName,
};
pub use manifest::{ManifestDoc, RejectedManifest};
pub use run::RunDoc;

use crate::id::{DatasetId, ObjectId};

/// Where a batch or a run stands, in the ledger's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// Is worked on.
    Running,
    /// Ended well.
    Success,
    /// Ended with an error.
    Failure,
    /// Ended early, as asked.
    Canceled,
}

impl Status {
    /// The text of it, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Canceled => "canceled",
        }
    }

    /// Whether nothing more happens.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Canceled)
    }
}

/// Which asset was made from which (collection `lineage`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// The asset that was read.
    pub source_asset_id: ObjectId,
    /// The asset that was made.
    pub target_asset_id: ObjectId,
    /// The run document's id.
    pub run_id: ObjectId,
    /// What was done: a recipe's or an operation's name.
    pub transformation: String,
    /// With what parameters.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// When.
    pub created_at: jiff::Timestamp,
}

/// Who changed what and when (collection `activity_logs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityLog {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// When.
    pub timestamp: jiff::Timestamp,
    /// Who: a user's or key's name, or a process (`daemon`).
    pub user: String,
    /// What was done, as `noun.verb`: `asset.commit`, `asset.tombstone`.
    pub action: String,
    /// What kind of thing it was done to: `asset`, `manifest`, `run`.
    pub resource_type: String,
    /// Which one.
    pub resource_id: String,
    /// Further facts.
    pub details: serde_json::Map<String, serde_json::Value>,
    /// What makes the entry the same entry when it is written again; unique where it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_key: Option<String>,
}

/// A dataset (collection `datasets`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// Its name; unique.
    pub dataset_id: DatasetId,
    /// The number that the next reservation gets; numbers rise from 1 and are never given twice.
    #[schemars(range(min = 1))]
    pub next_version: u64,
    /// The title of its newest version.
    pub title: Option<String>,
    /// When its first version was reserved.
    pub created_at: jiff::Timestamp,
}
