//! What happens in a run's process: one run, its steps as their dependencies allow, its events, its commits.
//!
//! [`steps`] runs the plan and knows nothing of leases; [`run`] takes the run over, renews its lease
//! ([`guard`]), and ends it. [`journal`] is the way of the events, [`logs`] brings `tracing` into it.

pub(crate) mod children;
pub(crate) mod guard;
pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod panics;
pub(crate) mod run;
pub(crate) mod step;
pub(crate) mod steps;

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
mod run_tests;
