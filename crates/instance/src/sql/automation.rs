//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

#[async_trait]
impl Automations for SqlInstance {
    async fn automation_states(&self, _location: &str) -> Result<Vec<(String, Value)>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn save_automation(
        &self,
        _location: &str,
        _states: &[(String, Value)],
        _records: &[AutomationRecord],
    ) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn evaluations(&self, _key: &str, _before: Option<i64>, _limit: u32) -> Result<Vec<AutomationRecord>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn purge_evaluations(&self, _before: Timestamp, _limit: u32) -> Result<u64> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
