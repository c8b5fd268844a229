//! Follows.
#![allow(warnings, reason = "follows")]
use super::SqlInstance;
use crate::*;
use async_trait::async_trait;
use catchment_core::backfill::{Backfill, BackfillId, BackfillStatus, NewBackfill};
use jiff::Timestamp;

#[async_trait]
impl Backfills for SqlInstance {
    async fn request_backfill(&self, _backfill: NewBackfill, _now: Timestamp) -> Result<Backfill> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn backfill(&self, _id: &BackfillId) -> Result<Option<Backfill>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn backfills(
        &self,
        _filter: &BackfillFilter,
        _before: Option<&BackfillId>,
        _limit: u32,
    ) -> Result<Vec<Backfill>> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
    async fn update_backfill(&self, _backfill: &Backfill) -> Result<Backfill> {
        Err(crate::InstanceError::Database("not yet".into()))
    }
}
