//! Daemons: which one leads, that they live, and how far they have come.

use async_trait::async_trait;
use catchment_model::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Result;

/// The daemon that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leading {
    /// Rises with each change of the leader.
    pub epoch: i64,
    /// Who it is: a name that no other daemon has.
    pub holder: String,
    /// Until when it is believed to live.
    pub until: Timestamp,
}

/// Leadership: at most one daemon decides at a time.
#[async_trait]
pub trait Leadership: Send + Sync {
    /// Takes or prolongs the lead: where nobody leads, the leader's time has run out, or the caller leads already.
    /// Answers who leads now: the caller has to look whether it is itself. The epoch rises when the holder changes.
    async fn lead(&self, holder: &str, until: Timestamp, now: Timestamp) -> Result<Leading>;
    /// Gives the lead back, so that another need not wait.
    async fn resign(&self, holder: &str) -> Result<()>;
    /// Who leads, if anybody does.
    async fn leader(&self) -> Result<Option<Leading>>;
}

/// The last beat of a daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its kind: `SENSOR`, `SCHEDULER`, `QUEUED_RUN_COORDINATOR`…
    pub daemon: String,
    /// When.
    pub at: Timestamp,
    /// What went wrong at its last step.
    pub problem: Option<Problem>,
    /// How far it lies behind what it follows, in events; 0 of one that follows nothing.
    pub lag: i64,
}

/// Heartbeats of daemons, for health and for people.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// Says that a daemon lives.
    async fn beat(&self, beat: &Heartbeat) -> Result<()>;
    /// The last beat of each daemon.
    async fn heartbeats(&self) -> Result<Vec<Heartbeat>>;
}

/// How far those who follow the event log have come, by the follower's name.
#[async_trait]
pub trait Cursors: Send + Sync {
    /// The last event that the follower has dealt with; 0 before the first.
    async fn follow_cursor(&self, name: &str) -> Result<Option<i64>>;
    /// Moves the cursor; never back.
    async fn set_follow_cursor(&self, name: &str, event_id: i64) -> Result<()>;
}
