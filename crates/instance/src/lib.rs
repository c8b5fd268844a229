//! Orchestrator state, behind one small trait for each aggregate.
//!
//! Here: the traits ([`traits`]), their errors, and the SQLite backend. A second backend is one more module that
//! passes the same contract suite.
//!
//! Not here: any decision. The state machine and the queue are pure code in `catchment-core`; who acts on what
//! is read here is the daemon or a run's process.

pub mod traits;

pub use traits::*;
