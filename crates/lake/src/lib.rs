//! The lake: versions of datasets as objects, each accounted for in the ledger.
//!
//! - [`commit`] is the protocol by which a staged file becomes a version: reserve, upload, insert (the commit
//!   point), tell; cut off anywhere, it leaves a version or garbage, never half a version;
//! - [`layout`] says which key belongs to which version;
//! - [`iso19115`] and [`stac`] describe a version to other catalogues;
//! - [`verify`](mod@verify) proves that lake and ledger agree; [`gc`](mod@gc) removes what no document speaks of.
//!
//! Not here: how a file is made (`catchment-formats`, `catchment-compute`), who decides that it is committed
//! (the executor of `catchment`), the ledger's documents (`catchment-model`).

pub mod commit;
pub mod error;
pub mod gc;
pub mod iso19115;
pub mod layout;
pub mod stac;
pub mod verify;

use catchment_ledger::SharedLedger;
use catchment_store::Store;

pub use catchment_ledger::Committed;
pub use commit::{CommitRequest, RunLease, Staged};
pub use error::{LakeError, Result};
pub use gc::{GcOptions, GcReport};
pub use verify::{Finding, Invariant, VerifyOptions, VerifyReport};

/// The lake's bucket with its ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    store: Store,
    ledger: SharedLedger,
}

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being done: `documents`, `objects`.
    pub phase: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// The one at hand.
    pub place: &'a str,
}

/// Is told how far a long piece of work has come.
pub type OnProgress<'a> = &'a (dyn for<'p> Fn(Progress<'p>) + Send + Sync);

impl Lake {
    /// The lake of a bucket and a ledger.
    pub fn new(store: Store, ledger: SharedLedger) -> Self {
        Self { store, ledger }
    }

    /// The bucket.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The ledger.
    pub fn ledger(&self) -> &SharedLedger {
        &self.ledger
    }
}
