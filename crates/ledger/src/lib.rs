//! The ledger: the source of truth about the lake. What has no document here does not exist.
//!
//! - [`traits`](mod@traits): one small trait for each aggregate, together [`Ledger`]; what each call promises is said there;
//! - [`sqlite`]: the embedded backend, documents in one SQLite file that several processes share;
//! - [`schema`]: each document is checked against its JSON Schema at the door, whatever the backend;
//! - [`ids`]: where new document ids come from.
//!
//! Not here: objects (`catchment-store`), the protocol that keeps both in step (`catchment-lake`), runs as the
//! orchestrator sees them (`catchment-instance`).

pub mod error;
pub mod ids;
pub mod page;
pub mod schema;
pub mod sqlite;
pub mod traits;

pub use error::{LedgerError, Result};
pub use ids::new_id;
pub use page::{Page, PageRequest};
pub use sqlite::SqliteLedger;
pub use traits::{
    Activities, Assets, Committed, DatasetSummary, Datasets, Ledger, Lineages, Manifests, Reservation, Runs,
    SharedLedger, StatusChange,
};
