//! Why the lake did not do what was asked.

use catchment_ledger::LedgerError;
use catchment_model::{Code, Problem};
use catchment_store::StoreError;

/// Why the lake did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The ledger refused; [`LedgerError::LeaseLost`] is the one that a run must heed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The object store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The staged file is not what its description says.
    #[error("the staged file {path} is not what was checked: {cause}")]
    Staged {
        /// The file.
        path: String,
        /// What differs.
        cause: String,
    },
}

impl From<LakeError> for Problem {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::Ledger(error) => error.into(),
            LakeError::Store(error) => error.into(),
            LakeError::Staged { path, cause } => {
                Problem::new(Code::Integrity, "a staged file was changed after it was checked")
                    .place(path)
                    .cause(cause)
                    .remedy("run it again; nothing but the run may write to its scratch folder")
            }
        }
    }
}

/// The result of a call to the lake.
pub type Result<T, E = LakeError> = std::result::Result<T, E>;
