//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use catchment_core::RunId;
use jiff::Timestamp;

#[async_trait]
impl Pools for SqlInstance {
    async fn pools(&self) -> Result<Vec<Pool>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn set_pool_limit(&self, _pool: &str, _limit: Option<u32>) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn claim_slot(
        &self,
        _pool: &str,
        _step_key: &str,
        _priority: i64,
        _default_limit: Option<u32>,
        _lease: Lease,
        _now: Timestamp,
    ) -> Result<SlotClaim> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn free_slot(&self, _pool: &str, _run_id: RunId, _step_key: &str) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn free_slots_of(&self, _run_id: RunId) -> Result<u64> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
pub(super) async fn free_run(_tx: &mut super::WriteTx, _run_id: RunId) -> Result<()> {
    Ok(())
}
