//! The event log.

use async_trait::async_trait;
use catchment_core::{Event, EventKind, Level, NewEvent, RunId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Lease, Result};

/// Which events to read. Fields are joined by AND; an empty list or `None` does not filter.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    /// Of this run.
    pub run_id: Option<RunId>,
    /// Of these kinds.
    pub kinds: Vec<EventKind>,
    /// Of this step.
    pub step_key: Option<String>,
    /// At least this serious.
    pub level: Option<Level>,
    /// About this asset.
    pub asset_key: Option<String>,
    /// About any of these partitions.
    pub partitions: Vec<String>,
    /// Not before this time.
    pub after: Option<Timestamp>,
    /// Before this time.
    pub before: Option<Timestamp>,
}

/// The event log. A reader that follows the global cursor never misses an event.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends events in order; `lease` (where given) must be the newest. What they say of assets, partitions and
    /// checks goes into the tables of [`super::Assets`] in the same transaction. Answers the last id.
    async fn append(&self, events: &[NewEvent], lease: Option<Lease>) -> Result<i64>;
    /// Events of one run in order, after the cursor.
    async fn run_events(&self, run_id: RunId, after: i64, limit: u32) -> Result<Vec<Event>>;
    /// Events of all runs in order, after the cursor; only of these kinds, unless there are none. An event that
    /// commits later than one that was answered never has a lower id than it.
    async fn events_after(&self, after: i64, kinds: &[EventKind], limit: u32) -> Result<Vec<Event>>;
    /// Events that a filter finds, newest first, before the cursor: pages of the log for people.
    async fn events(&self, filter: &EventFilter, before: Option<i64>, limit: u32) -> Result<Vec<Event>>;
    /// The newest id that a reader may stand at. It never falls: each page of [`Events::events_after`] that the same
    /// handle reads later reaches at least this far, unless it is full.
    async fn last_event_id(&self) -> Result<i64>;
    /// Removes log lines and engine events of runs that ended before a time, at most `limit`; what says that a run or
    /// an asset changed stays. Answers how many went.
    async fn purge_events(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
