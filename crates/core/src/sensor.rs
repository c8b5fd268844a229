//! What a sensor answers, and what becomes of it.
//!
//! A sensor that admits outside objects gives a *claim* with each request: the object's key and ETag. The
//! claim, the run, its run key, the partition and the cursor are written in one transaction of the state; then
//! the sensor is told the outcome of each claim, as often as it takes (at least once), and finishes what lies
//! outside the state (the ledger's record, the move to the archive). Both are idempotent.

use std::collections::BTreeMap;

use catchment_model::Problem;
use serde::{Deserialize, Serialize};

use crate::event::{Event, NewEvent};
use crate::run::{Run, RunId, Selection};

/// What names an outside object for good: the same bytes put again under the same key are the same object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClaimKey {
    /// The object's key, such as `manifests/a.json`.
    pub key: String,
    /// Its ETag, without quotes.
    pub etag: String,
}

/// A run that a sensor or schedule asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// What names this request for ever: the same key never gives a second run.
    pub run_key: Option<String>,
    /// The job; empty where only assets are named: they are made by the hidden job [`ASSET_JOB`](crate::definitions::ASSET_JOB).
    pub job_name: String,
    /// What of the job is to run.
    #[serde(skip_serializing_if = "Selection::is_everything")]
    pub selection: Selection,
    /// Run config.
    pub run_config: serde_json::Value,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The partition.
    pub partition_key: Option<String>,
    /// The outside object that it stands for.
    pub claim: Option<ClaimKey>,
}

impl RunRequest {
    /// A request that is made once for ever: the same key never gives a second run.
    pub fn new(run_key: impl Into<String>) -> Self {
        Self { run_key: Some(run_key.into()), ..Self::default() }
    }

    /// The job, where the sensor has several.
    pub fn job(mut self, name: impl Into<String>) -> Self {
        self.job_name = name.into();
        self
    }

    /// The partition.
    pub fn partition(mut self, key: impl Into<String>) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// Run config.
    pub fn config(mut self, run_config: serde_json::Value) -> Self {
        self.run_config = run_config;
        self
    }

    /// A tag of the run.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// The assets to make: of the job, or of the hidden one where none is named.
    pub fn assets<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.selection.assets = keys.into_iter().map(Into::into).collect();
        self
    }
}

/// An outside object that a sensor refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejection {
    /// The object.
    pub claim: ClaimKey,
    /// Why, with every fault.
    pub problem: Problem,
}

/// Keys to add to a dynamic partitions definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPartitions {
    /// The definition's name.
    pub definition: String,
    /// The keys; those that are there already are left.
    pub keys: Vec<String>,
}

/// Keys to take out of a dynamic partitions definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePartitions {
    /// The definition's name.
    pub definition: String,
    /// The keys; those that are not there are passed over.
    pub keys: Vec<String>,
}

/// What the daemon tells a sensor besides its cursor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorInput {
    /// When its last tick began.
    pub last_tick_at: Option<jiff::Timestamp>,
    /// The events after the cursor that it asked for, oldest first: changes of status of a run-status sensor,
    /// materialisations of an asset sensor.
    pub events: Vec<Event>,
    /// The runs that the events belong to.
    pub runs: Vec<Run>,
}

/// What a sensor or schedule answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorResult {
    /// The runs that it asks for.
    pub run_requests: Vec<RunRequest>,
    /// The objects that it refuses.
    pub rejections: Vec<Rejection>,
    /// Partitions to add in the same transaction.
    pub add_partitions: Vec<AddPartitions>,
    /// Partitions to take out in the same transaction.
    pub delete_partitions: Vec<DeletePartitions>,
    /// Events about assets that it reports; they belong to no run ([`RunId::NONE`]).
    pub asset_events: Vec<NewEvent>,
    /// Why it asks for nothing.
    pub skip_reason: Option<String>,
    /// The new cursor; `None` keeps the old one. Of a sensor that follows the event log it is the id of the last event
    /// that was dealt with; `None` then stands for all that were offered.
    pub cursor: Option<String>,
    /// Whether there was more than one evaluation takes: the next follows at once.
    pub more: bool,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ClaimOutcome {
    /// It has its run.
    Accepted {
        /// The run.
        run_id: RunId,
        /// The request that was made with it.
        request: Box<RunRequest>,
    },
    /// It was refused: by the sensor, or because its run key was used before.
    Rejected {
        /// Why.
        problem: Problem,
    },
}

/// A claim with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The object.
    pub claim: ClaimKey,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ClaimOutcome,
}
