//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use jiff::Timestamp;

#[async_trait]
impl Alerts for SqlInstance {
    async fn raise(&self, _alerts: &[NewAlert], _follower: Option<(&str, i64)>, _now: Timestamp) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn due_alerts(&self, _now: Timestamp, _limit: u32) -> Result<Vec<Alert>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn alert_delivered(&self, _id: i64) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn alert_failed(&self, _id: i64, _error: &str, _next: Option<Timestamp>) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn alerts(&self, _before: Option<i64>, _limit: u32) -> Result<Vec<Alert>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn purge_alerts(&self, _before: Timestamp, _limit: u32) -> Result<u64> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
