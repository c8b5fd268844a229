//! Following the event log under a name of one's own, page by page.

use catchment_core::{Event, EventKind};
use catchment_instance::SharedInstance;
use catchment_model::Problem;

/// How far a follower has come.
#[derive(Debug)]
pub(crate) struct Follower {
    name: &'static str,
    kinds: &'static [EventKind],
    cursor: Option<i64>,
    lag: i64,
}

/// The next events.
#[derive(Debug)]
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) events: Vec<Event>,
    /// The cursor once all of them were dealt with.
    pub(crate) until: i64,
    /// Whether there may be more behind them.
    pub(crate) is_full: bool,
    head: i64,
}

impl Follower {
    pub(crate) fn new(name: &'static str, kinds: &'static [EventKind]) -> Self {
        Self { name, kinds, cursor: None, lag: 0 }
    }

    /// The name of its cursor.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// How far it lies behind, in events.
    pub(crate) fn lag(&self) -> i64 {
        self.lag
    }

    /// Reads what lies after the cursor.
    pub(crate) async fn page(&mut self, instance: &SharedInstance, limit: u32) -> Result<Page, Problem> {
        let cursor = match self.cursor {
            Some(cursor) => cursor,
            None => instance.follow_cursor(self.name).await?.unwrap_or(0),
        };
        self.cursor = Some(cursor);
        // The head first: whatever lies before it is in the page.
        let head = instance.last_event_id().await?;
        self.lag = (head - cursor).max(0);
        let events = instance.events_after(cursor, self.kinds, limit).await?;
        let is_full = events.len() >= limit as usize;
        let last = events.last().map_or(cursor, |last| last.id);
        let until = if is_full { last } else { last.max(head) };
        Ok(Page { events, until, is_full, head })
    }

    /// Notes that the cursor was moved, by whoever dealt with the page.
    pub(crate) fn moved(&mut self, page: &Page, cursor: i64) {
        self.cursor = Some(cursor);
        self.lag = (page.head - cursor).max(0);
    }
}
