//! What declarative automation keeps between its ticks.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Result;

/// One evaluation of an asset's condition, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutomationRecord {
    /// Rises; all evaluations of one tick have the tick's id.
    pub id: i64,
    /// The asset, or `<asset>:<check>`.
    pub key: String,
    /// The tick.
    pub tick: i64,
    /// When.
    pub timestamp: Timestamp,
    /// How many partitions were asked for (1 of an asset without partitions).
    pub requested: u64,
    /// The tree of results.
    pub evaluation: Value,
}

/// Automation.
#[async_trait]
pub trait Automations: Send + Sync {
    /// What each condition keeps, by the asset's key.
    async fn automation_states(&self, location: &str) -> Result<Vec<(String, Value)>>;
    /// Writes what the conditions keep, and evaluations worth showing, before the tick is admitted.
    async fn save_automation(
        &self,
        location: &str,
        states: &[(String, Value)],
        records: &[AutomationRecord],
    ) -> Result<()>;
    /// Evaluations of a key, newest first, before the id.
    async fn evaluations(&self, key: &str, before: Option<i64>, limit: u32) -> Result<Vec<AutomationRecord>>;
    /// Removes evaluations before a time, at most `limit`; answers how many went.
    async fn purge_evaluations(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
