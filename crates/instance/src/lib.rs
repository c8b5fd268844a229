//! Orchestrator state, behind one small trait for each aggregate.
//!
//! Here: the traits ([`traits`]), their errors, and the one implementation, which keeps the state in SQLite or in
//! PostgreSQL ([`sql`]). The contract suite in `tests/` holds both to the same promises.
//!
//! Not here: any decision. The state machine and the queue are pure code in `catchment-core`; who acts on what
//! is read here is the daemon or a run's process.

pub mod sql;
pub mod traits;

use std::sync::Arc;

use catchment_settings::{Home, PostgresSettings};

pub use traits::*;

/// Opens the state: in PostgreSQL where the environment says so (`DAGSTER_POSTGRES_HOST`), otherwise in the home's
/// SQLite file. The one place where this is chosen.
///
/// # Errors
/// As [`sql::SqlInstance::open_sqlite`] and [`sql::SqlInstance::open_postgres`].
pub async fn open(home: &Home) -> Result<SharedInstance> {
    let postgres = PostgresSettings::from_environment().map_err(|p| InstanceError::Unreachable(p.to_string()))?;
    Ok(match postgres {
        Some(settings) => Arc::new(sql::SqlInstance::open_postgres(&settings).await?),
        None => Arc::new(sql::SqlInstance::open_sqlite(home.instance_db()).await?),
    })
}
