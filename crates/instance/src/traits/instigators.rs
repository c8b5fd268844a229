//! Sensors and schedules: their state, ticks, run keys and claims.

use async_trait::async_trait;
use catchment_core::instigator::{InstigatorState, InstigatorStatus, Tick, TickLog, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_core::{Instigator, RunId};
use catchment_model::Problem;
use jiff::Timestamp;

use super::Result;

/// What an admission came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The tick as it is stored.
    pub tick: Tick,
    /// Every claim of this result that has to be finished, old ones that were asked for again among them.
    pub claims: Vec<Claim>,
}

/// Which ticks to list.
#[derive(Debug, Clone, Default)]
pub struct TickFilter {
    /// Of these statuses; empty: of all.
    pub statuses: Vec<TickStatus>,
    /// Begun at this time or later.
    pub after: Option<Timestamp>,
    /// Begun before this time.
    pub before: Option<Timestamp>,
}

/// Sensors and schedules.
#[async_trait]
pub trait Instigators: Send + Sync {
    /// What is kept of one; the default where nothing is kept yet.
    async fn instigator(&self, instigator: &Instigator) -> Result<InstigatorState>;
    /// What is kept of all of which something is kept, in the order of their names.
    async fn instigators(&self) -> Result<Vec<InstigatorState>>;
    /// Notes what was decided about one. What begins to run (by this, or by its code: the daemon says so with
    /// `DeclaredInCode` and `running`) gets `running_since`, unless it runs already; what stops loses it. The open tick of
    /// one that is stopped ends: nothing of its answer is written.
    async fn set_status(
        &self,
        instigator: &Instigator,
        status: InstigatorStatus,
        running: bool,
        now: Timestamp,
    ) -> Result<InstigatorState>;
    /// Sets the cursor by hand, or forgets it. An open tick ends: its answer was about the old one, and nothing of it is
    /// written.
    async fn set_cursor(&self, instigator: &Instigator, cursor: Option<&str>, now: Timestamp) -> Result<()>;
    /// Begins a tick (kept, with status STARTED). One of the same instigator that is still open was cut off by the
    /// end of its daemon, and is ended as failed.
    async fn begin_tick(
        &self,
        instigator: &Instigator,
        scheduled_for: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Tick>;
    /// Adds what user code logged to a tick.
    async fn log_tick(&self, tick: i64, log: &[TickLog]) -> Result<()>;
    /// Writes an answer in one transaction: claims, runs (QUEUED) with their run keys, partitions, asset events, the
    /// cursor, and the tick's end. A claim that is known and not finished keeps its outcome. One that was accepted
    /// and finished, or whose run key was used for another claim, is refused with `duplicate_batch`. One that was
    /// refused and finished is handled afresh. A request without a claim whose run key was used makes nothing.
    /// The instigator's location goes to each run, as do the reserved tags that say where it came from. The scope of
    /// run keys is the instigator. `origins` are the runs that it reacted to: events of the result that name one of
    /// them are written to it, all others belong to no run. A tick that has ended is refused; so is an answer with a
    /// text that cannot be stored ([`super::InstanceError::Invalid`]). Very many requests that all have a run key or a
    /// claim are written in several transactions, the last of which moves the cursor and ends the tick.
    async fn admit(&self, tick: i64, result: SensorResult, origins: &[RunId], now: Timestamp) -> Result<Admitted>;
    /// Ends a tick with an error. The cursor stays, unless one is given: a run-status sensor that fails on one run
    /// goes on with the next.
    async fn fail_tick(&self, tick: i64, problem: Problem, cursor: Option<&str>, now: Timestamp) -> Result<()>;
    /// One tick.
    async fn tick(&self, tick: i64) -> Result<Option<Tick>>;
    /// Ticks, newest first; `before` is the last tick of the page before.
    async fn ticks(
        &self,
        instigator: &Instigator,
        filter: &TickFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Tick>>;
    /// Removes ticks of these statuses that began before a time, at most `limit`; answers how many went. Run keys and
    /// claims are not touched.
    async fn purge_ticks(
        &self,
        kind: catchment_core::instigator::InstigatorKind,
        statuses: &[TickStatus],
        before: Timestamp,
        limit: u32,
    ) -> Result<u64>;
    /// Claims that were admitted and not yet finished, oldest first.
    async fn unfinished_claims(&self, sensor: &Instigator, limit: u32) -> Result<Vec<Claim>>;
    /// Marks claims as finished.
    async fn finish_claims(&self, sensor: &Instigator, claims: &[ClaimKey]) -> Result<()>;
}
