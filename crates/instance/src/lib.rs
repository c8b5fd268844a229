//! Orchestrator state, behind one small trait for each aggregate.
//!
//! Here: the traits ([`traits`]), their errors, and the SQLite backend. A second backend is one more module that
//! passes the same contract suite.
//!
//! Not here: any decision. The state machine and the queue are pure code in `catchment-core`; who acts on what
//! is read here is the daemon or a run's process.

pub mod sqlite;
pub mod traits;

use std::sync::Arc;

use catchment_settings::Home;

pub use traits::*;

/// Opens the state of a home: the one place where its backend is chosen.
///
/// # Errors
/// As [`sqlite::SqliteInstance::open`].
pub async fn open(home: &Home) -> Result<SharedInstance> {
    Ok(Arc::new(sqlite::SqliteInstance::open(home.instance_db()).await?))
}
