//! The traits of the state, one for each aggregate. Time is passed in; every method is one transaction.

mod alerts;
mod assets;
mod automation;
mod backfills;
mod daemons;
mod error;
mod events;
mod instigators;
mod locations;
mod partitions;
mod pools;
mod runs;

use std::sync::Arc;

use async_trait::async_trait;

use crate::sql::Hints;

pub use alerts::{Alert, AlertStatus, Alerts, NewAlert};
pub use assets::{AssetRecord, Assets, CheckExecution, CheckStatus, PartitionCounts, PartitionState, PartitionStatus};
pub use automation::{AutomationRecord, Automations};
pub use backfills::{BackfillFilter, Backfills};
pub use daemons::{Cursors, Heartbeat, Heartbeats, Leadership, Leading};
pub use error::{InstanceError, Result};
pub use events::{EventFilter, Events};
pub use instigators::{Admitted, Instigators, TickFilter};
pub use locations::{LocationRecord, Locations};
pub use partitions::Partitions;
pub use pools::{MAX_LIMIT, Pool, Pools, Slot, SlotClaim};
pub use runs::{Enqueued, Lease, RunFilter, Runs};

/// The whole state: what a process opens once.
///
/// A leading daemon writes through the handle that [`Instance::fenced`] answers: each of its transactions that write
/// is refused with [`InstanceError::Deposed`] once another daemon leads.
#[async_trait]
pub trait Instance:
    Runs
    + Events
    + Instigators
    + Partitions
    + Assets
    + Backfills
    + Pools
    + Automations
    + Alerts
    + Locations
    + Heartbeats
    + Leadership
    + Cursors
{
    /// A handle on the same state whose every write is conditional on this epoch still being the newest.
    fn fenced(&self, epoch: i64) -> SharedInstance;
    /// Hints that something was written that somebody may wait for: a run that was made or has changed, an asset that
    /// was materialised.
    async fn hints(&self) -> Result<Hints>;
}

/// A shared handle on the state.
pub type SharedInstance = Arc<dyn Instance>;
