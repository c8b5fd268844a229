//! Why the state did not do what was asked.

use catchment_core::RunId;
use catchment_core::state::Refused;
use catchment_model::{Code, Problem};

/// Why the state did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// No such run, tick or sensor.
    #[error("{0} is not there")]
    NotFound(String),
    /// The run's status does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The caller's lease is older than the newest one: another process has taken over.
    #[error("the lease of run {run_id} with epoch {epoch} was lost: the newest epoch is {newest}")]
    LeaseLost {
        /// The run.
        run_id: RunId,
        /// The caller's epoch.
        epoch: i64,
        /// The newest epoch.
        newest: i64,
    },
    /// Another daemon leads by now.
    #[error("this daemon leads no more: its epoch is {epoch}, the newest is {newest}")]
    Deposed {
        /// The caller's epoch.
        epoch: i64,
        /// The newest epoch.
        newest: i64,
    },
    /// What the caller decided on has changed meanwhile: it looks again.
    #[error("{0} has changed meanwhile")]
    Changed(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The server of the state does not answer, or does not let us in.
    #[error("the state database cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused or is not there.
    #[error("the state database failed: {0}")]
    Database(String),
    /// What is stored is not what this version understands.
    #[error("the state holds something that this version does not understand: {0}")]
    Corrupt(String),
}

impl From<InstanceError> for Problem {
    fn from(error: InstanceError) -> Self {
        let what = error.to_string();
        match error {
            InstanceError::NotFound(_) => Problem::new(Code::NotFound, what),
            InstanceError::Refused(refused) => {
                Problem::new(Code::Conflict, what).remedy(match refused.from.is_final() {
                    true => "nothing: the run has ended, and nothing changes that",
                    false => "cancel the run, or wait until it has ended",
                })
            }
            InstanceError::LeaseLost { .. } => Problem::new(Code::LeaseLost, what),
            InstanceError::Deposed { .. } => {
                Problem::new(Code::LeaseLost, what).remedy("nothing: the other daemon goes on with the work")
            }
            InstanceError::Changed(_) => Problem::new(Code::Conflict, what).remedy("look at it again, then repeat"),
            InstanceError::Invalid(_) => Problem::new(Code::InvalidInput, what),
            InstanceError::Unreachable(_) => Problem::new(Code::Unavailable, what).remedy(
                "start the PostgreSQL server and make its database, or correct DAGSTER_POSTGRES_HOST, _PORT, _USER, \
                 _PASSWORD and _DB; without DAGSTER_POSTGRES_HOST the state is a file in CATCHMENT_HOME",
            ),
            InstanceError::Database(_) => Problem::new(Code::Unavailable, what).remedy(
                "see that the disk has room and the state (CATCHMENT_HOME, or the PostgreSQL server) may be written",
            ),
            InstanceError::Corrupt(_) => Problem::new(Code::Integrity, what)
                .remedy("use the version of catchment that wrote this home, or restore a copy"),
        }
    }
}

/// The result of a call to the state.
pub type Result<T, E = InstanceError> = std::result::Result<T, E>;
