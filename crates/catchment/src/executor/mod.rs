//! What happens in a run's process: one run, its steps as their dependencies allow, its events, its commits.
//!
//! [`run`] takes a run over, renews its lease ([`guard`]), and ends it. [`steps`] drives its steps: the [`schedule`]
//! says which starts next, an [`attempt`] is one try of a step ([`inputs`] it takes, [`outputs`] it gives, [`checks`]
//! between them), [`hooks`] follow its end; both run on [`threads`] of their own. [`journal`] is the way of the events, [`logs`] brings `tracing` into it.
//! What all of them share is an [`execution`]; it knows nothing of leases, so that a test can do without a state.

pub(crate) mod attempt;
pub(crate) mod checks;
pub(crate) mod children;
pub(crate) mod execution;
pub(crate) mod guard;
pub(crate) mod hooks;
pub(crate) mod inputs;
pub(crate) mod journal;
pub(crate) mod limits;
pub(crate) mod lineage;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod opening;
pub(crate) mod outputs;
pub(crate) mod panics;
pub(crate) mod partitions;
pub(crate) mod patience;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod slots;
pub(crate) mod steps;
pub(crate) mod threads;

use std::sync::{Arc, OnceLock};

use catchment_model::{Code, Problem};
use tokio_util::sync::CancellationToken;

/// Why and whether a run is to stop before its steps are done.
#[derive(Clone, Default)]
pub(crate) struct Halt {
    /// Cancelled when the run is to stop.
    pub(crate) token: CancellationToken,
    reason: Arc<OnceLock<Problem>>,
}

impl Halt {
    /// Stops the run; the first reason stays.
    pub(crate) fn stop(&self, reason: Problem) {
        self.reason.set(reason).ok();
        self.token.cancel();
    }

    /// Why it stops.
    pub(crate) fn reason(&self) -> Problem {
        self.reason.get().cloned().unwrap_or_else(|| Problem::new(Code::Canceled, "the run was cancelled"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod asset_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod blocking_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod past_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod pool_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod run_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod step_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod test_world;
