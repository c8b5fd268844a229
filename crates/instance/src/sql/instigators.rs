//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use catchment_core::instigator::{InstigatorState, InstigatorStatus, Tick, TickLog, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_core::{Instigator, RunId};
use catchment_model::Problem;
use jiff::Timestamp;

#[async_trait]
impl Instigators for SqlInstance {
    async fn instigator(&self, _instigator: &Instigator) -> Result<InstigatorState> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn instigators(&self) -> Result<Vec<InstigatorState>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn set_status(
        &self,
        _instigator: &Instigator,
        _status: InstigatorStatus,
        running: bool,
        _now: Timestamp,
    ) -> Result<InstigatorState> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn set_cursor(&self, _instigator: &Instigator, _cursor: Option<&str>) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn begin_tick(
        &self,
        _instigator: &Instigator,
        _scheduled_for: Option<Timestamp>,
        _now: Timestamp,
    ) -> Result<Tick> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn log_tick(&self, _tick: i64, _log: &[TickLog]) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn admit(&self, _tick: i64, _result: SensorResult, _origins: &[RunId], _now: Timestamp) -> Result<Admitted> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn fail_tick(&self, _tick: i64, _problem: Problem, _cursor: Option<&str>, _now: Timestamp) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn tick(&self, _tick: i64) -> Result<Option<Tick>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn ticks(
        &self,
        _instigator: &Instigator,
        _filter: &TickFilter,
        _before: Option<i64>,
        _limit: u32,
    ) -> Result<Vec<Tick>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn purge_ticks(
        &self,
        kind: catchment_core::instigator::InstigatorKind,
        _statuses: &[TickStatus],
        _before: Timestamp,
        _limit: u32,
    ) -> Result<u64> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn unfinished_claims(&self, _sensor: &Instigator, _limit: u32) -> Result<Vec<Claim>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn finish_claims(&self, _sensor: &Instigator, _claims: &[ClaimKey]) -> Result<()> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
