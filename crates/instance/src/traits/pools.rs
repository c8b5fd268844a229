//! Concurrency pools: how many steps, over all runs, may work at once.

use async_trait::async_trait;
use catchment_core::RunId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Lease, Result};

/// The largest limit of a pool.
pub const MAX_LIMIT: u32 = 1000;

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How many steps may hold a slot; `None` takes the default of the settings, and without one there is no limit.
    pub limit: Option<u32>,
    /// Who holds a slot, oldest first.
    pub slots: Vec<Slot>,
    /// Who waits for one, in the order of their turn: the highest priority first, then the longest wait.
    pub waiting: Vec<Slot>,
}

/// A step that holds a slot or waits for one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Its run.
    pub run_id: RunId,
    /// Its key.
    pub step_key: String,
    /// Its priority.
    pub priority: i64,
    /// Since when it holds the slot, or waits.
    pub since: Timestamp,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotClaim {
    /// The step has a slot (or had it already).
    Claimed,
    /// It waits; so many are before it.
    Waiting {
        /// Steps whose turn is earlier.
        before: u32,
    },
}

/// Pools. A run that ends frees its slots, and waits no more, in the same transaction ([`super::Runs::command`]).
#[async_trait]
pub trait Pools: Send + Sync {
    /// All pools that have a limit, a holder or one who waits.
    async fn pools(&self) -> Result<Vec<Pool>>;
    /// Sets or takes away a limit (at most [`MAX_LIMIT`]); those who hold slots keep them.
    async fn set_pool_limit(&self, pool: &str, limit: Option<u32>) -> Result<()>;
    /// Asks for a slot, or again for one that was not free; `default_limit` is that of the settings. A slot goes to
    /// whoever's turn it is, not to whoever asks first.
    async fn claim_slot(
        &self,
        pool: &str,
        step_key: &str,
        priority: i64,
        default_limit: Option<u32>,
        lease: Lease,
        now: Timestamp,
    ) -> Result<SlotClaim>;
    /// Gives a slot, or a place in the line, back. One that is not held is passed over.
    async fn free_slot(&self, pool: &str, run_id: RunId, step_key: &str) -> Result<()>;
    /// Frees all slots and places of a run; answers how many.
    async fn free_slots_of(&self, run_id: RunId) -> Result<u64>;
}
