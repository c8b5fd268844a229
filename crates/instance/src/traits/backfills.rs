//! Backfills.

use async_trait::async_trait;
use catchment_core::backfill::{Backfill, BackfillId, BackfillStatus, NewBackfill};
use jiff::Timestamp;

use super::Result;

/// Which backfills to list.
#[derive(Debug, Clone, Default)]
pub struct BackfillFilter {
    /// Of these statuses; empty: of all.
    pub statuses: Vec<BackfillStatus>,
    /// Of this code location.
    pub location: Option<String>,
}

/// Backfills.
#[async_trait]
pub trait Backfills: Send + Sync {
    /// Asks for one (REQUESTED). An id that is known answers what is there.
    async fn request_backfill(&self, backfill: NewBackfill, now: Timestamp) -> Result<Backfill>;
    /// One of them.
    async fn backfill(&self, id: &BackfillId) -> Result<Option<Backfill>>;
    /// Newest first; `before` is the last of the page before.
    async fn backfills(
        &self,
        filter: &BackfillFilter,
        before: Option<&BackfillId>,
        limit: u32,
    ) -> Result<Vec<Backfill>>;
    /// Writes status, problem, progress and end of a backfill that still has this version, which rises.
    /// [`super::InstanceError::Changed`] where it has another.
    async fn update_backfill(&self, backfill: &Backfill) -> Result<Backfill>;
}
