//! Why the ledger did not do what was asked.

use catchment_model::{Code, Fault, Problem};

/// Why the ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No such document.
    #[error("the ledger has no {0}")]
    NotFound(String),
    /// A newer epoch of the run's lease is known: another process has taken over.
    #[error("the lease of run {run} with epoch {epoch} was lost: the newest epoch is {newest}")]
    LeaseLost {
        /// The run's UUID.
        run: String,
        /// The caller's epoch.
        epoch: i64,
        /// The newest epoch.
        newest: i64,
    },
    /// A unique key is taken by another document.
    #[error("the ledger already has {0}")]
    Conflict(String),
    /// A document does not fit its collection's JSON Schema.
    #[error("a document of `{collection}` does not fit its schema")]
    Schema {
        /// The collection.
        collection: &'static str,
        /// What does not fit, with JSON paths.
        faults: Vec<Fault>,
    },
    /// The database refused or is not there.
    #[error("the ledger's database failed: {0}")]
    Database(String),
    /// What is stored is not what this version understands.
    #[error("the ledger holds something that this version does not understand: {0}")]
    Corrupt(String),
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let what = error.to_string();
        match error {
            LedgerError::NotFound(_) => Problem::new(Code::NotFound, what),
            LedgerError::LeaseLost { .. } => {
                Problem::new(Code::LeaseLost, what).remedy("nothing is to be done: the process that took over goes on")
            }
            LedgerError::Conflict(_) => Problem::new(Code::Conflict, what),
            LedgerError::Schema { faults, .. } => {
                Problem::new(Code::Bug, what).faults(faults).remedy("report this as a bug of Catchment")
            }
            LedgerError::Database(_) => Problem::new(Code::Unavailable, what)
                .remedy("see that the disk has room and that CATCHMENT_HOME may be written"),
            LedgerError::Corrupt(_) => Problem::new(Code::Integrity, what)
                .remedy("use the version of catchment that wrote this home, or restore a copy"),
        }
    }
}

/// The result of a call to the ledger.
pub type Result<T, E = LedgerError> = std::result::Result<T, E>;
