//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use catchment_core::{Event, RunId};
use jiff::Timestamp;

#[async_trait]
impl Assets for SqlInstance {
    async fn assets(&self, _keys: &[String], _after: Option<&str>, _limit: u32) -> Result<Vec<AssetRecord>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn asset_partitions(&self, _asset_key: &str, _only: &[String]) -> Result<Vec<PartitionState>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn count_partitions(&self, _asset_key: &str) -> Result<PartitionCounts> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn wipe_asset(&self, _asset_key: &str, _partitions: Option<&[String]>, _now: Timestamp) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn check_executions(
        &self,
        _asset_key: &str,
        _check_name: &str,
        _before: Option<i64>,
        _limit: u32,
    ) -> Result<Vec<CheckExecution>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn latest_checks(&self, _asset_keys: &[String]) -> Result<Vec<CheckExecution>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
pub(super) async fn project(
    _tx: &mut super::WriteTx,
    _events: &[catchment_core::NewEvent],
    _ids: &[i64],
) -> Result<()> {
    Ok(())
}
pub(super) async fn run_ended(_tx: &mut super::WriteTx, _run: &catchment_core::Run) -> Result<()> {
    Ok(())
}
