//! What the API answers about what became of assets.

use catchment_instance::{AutomationRecord, CheckExecution};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One evaluation of an automation condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationView {
    /// Rises.
    pub id: i64,
    /// The asset, or `asset:check`.
    pub key: String,
    /// The tick of the sensor that evaluated it.
    pub tick: i64,
    /// When.
    pub timestamp: Timestamp,
    /// How many partitions were asked for (1 of an asset without partitions).
    pub requested: u64,
    /// The results of the condition and of all that it is made of, as a tree.
    pub evaluation: Value,
}

impl From<AutomationRecord> for EvaluationView {
    fn from(record: AutomationRecord) -> Self {
        let AutomationRecord { id, key, tick, timestamp, requested, evaluation } = record;
        Self { id, key, tick, timestamp, requested, evaluation }
    }
}

/// Evaluations of a condition, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationList {
    /// The evaluations.
    pub evaluations: Vec<EvaluationView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<i64>,
}

/// One evaluation of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckExecutionView {
    /// Rises.
    pub id: i64,
    /// The partition.
    pub partition: Option<String>,
    /// The run.
    pub run_id: String,
    /// `IN_PROGRESS`, `SUCCEEDED`, `FAILED`, `EXECUTION_FAILED` or `SKIPPED`.
    pub status: String,
    /// When it was planned or evaluated.
    pub timestamp: Timestamp,
    /// `ERROR` or `WARN`, once it was evaluated.
    pub severity: Option<String>,
    /// What it found, once it was evaluated.
    pub description: Option<String>,
    /// Its metadata.
    pub metadata: Value,
}

impl From<CheckExecution> for CheckExecutionView {
    fn from(one: CheckExecution) -> Self {
        let data = one.evaluation.map(|event| event.event.data).unwrap_or_default();
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        Self {
            id: one.id,
            partition: one.partition,
            run_id: one.run_id.to_string(),
            status: serde_json::to_value(one.status)
                .ok()
                .and_then(|s| Some(s.as_str()?.to_owned()))
                .unwrap_or_default(),
            timestamp: one.timestamp,
            severity: text("severity"),
            description: text("description"),
            metadata: data["metadata"].clone(),
        }
    }
}

/// Evaluations of a check, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckExecutionList {
    /// The evaluations.
    pub executions: Vec<CheckExecutionView>,
    /// Give it as `before` to get the next page; none after the last.
    pub next: Option<i64>,
}

/// How the freshness of an asset stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freshness {
    /// `PASS`, `WARN`, `FAIL` or `UNKNOWN`.
    pub state: String,
    /// Since when; none where nothing was said of it yet.
    pub since: Option<Timestamp>,
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wiped {
    /// The asset.
    pub asset_key: String,
    /// The partitions; none where it is all of the asset.
    pub partitions: Vec<String>,
}
