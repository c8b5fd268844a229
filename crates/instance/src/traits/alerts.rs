//! The outbox of alerts: written with what they tell of, delivered at least once.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Result;

/// An alert to be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewAlert {
    /// What names it for ever: the same key is never delivered as two alerts.
    pub key: String,
    /// The rule of `catchment.yaml` that asked for it.
    pub rule: String,
    /// Where it goes: the name of a channel.
    pub channel: String,
    /// The CloudEvent (version 1.0), in its JSON format.
    pub event: Value,
}

/// How far an alert has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertStatus {
    /// It is to be delivered, for the first time or again.
    Pending,
    /// It was delivered.
    Delivered,
    /// It was given up after its last try.
    GivenUp,
}

/// An alert as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id; rises.
    pub id: i64,
    /// What is to be delivered.
    #[serde(flatten)]
    pub alert: NewAlert,
    /// How far it has come.
    pub status: AlertStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub due_at: Timestamp,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// Alerts.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Puts alerts into the outbox; those whose key is known are passed over. `follower` (where given) is a cursor of
    /// [`super::Cursors`] that moves in the same transaction.
    async fn raise(&self, alerts: &[NewAlert], follower: Option<(&str, i64)>, now: Timestamp) -> Result<()>;
    /// Alerts whose time has come, oldest first.
    async fn due_alerts(&self, now: Timestamp, limit: u32) -> Result<Vec<Alert>>;
    /// Notes that one was delivered.
    async fn alert_delivered(&self, id: i64) -> Result<()>;
    /// Notes a try that failed: it is due again at `next`, or given up where there is none.
    async fn alert_failed(&self, id: i64, error: &str, next: Option<Timestamp>) -> Result<()>;
    /// Alerts, newest first, before the id.
    async fn alerts(&self, before: Option<i64>, limit: u32) -> Result<Vec<Alert>>;
    /// Removes alerts that need no further try and were made before a time; their keys stay used.
    async fn purge_alerts(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
