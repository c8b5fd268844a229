//! The lease of a run: renewed on a thread and a runtime of its own, and the place where a cancel is learned of.
//!
//! Its connection to the state is the run's: a renewal comes in time only if whoever has the connection before it gives
//! it back. So user code must not hold the run's runtime up either ([`super::threads`]), and this runtime must never
//! be blocked: connections are given back by tasks.

use std::io;
use std::time::Duration;

use catchment_core::{Run, RunStatus};
use catchment_instance::{InstanceError, Lease, SharedInstance};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use tokio_util::sync::CancellationToken;

use super::Halt;

/// How far ahead a lease is prolonged.
pub(crate) const AHEAD: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Keeps a lease until it is dropped.
pub(crate) struct Guard {
    over: CancellationToken,
}

impl Guard {
    /// Begins to renew; `halt` is stopped by a cancel and by the loss of the lease.
    pub(crate) fn start(instance: SharedInstance, lease: Lease, halt: Halt) -> io::Result<Self> {
        let over = CancellationToken::new();
        let keeper = Keeper { instance, lease, halt, over: over.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        drop(std::thread::Builder::new().name("lease".into()).spawn(move || runtime.block_on(keeper.run()))?);
        Ok(Self { over })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

struct Keeper {
    instance: SharedInstance,
    lease: Lease,
    halt: Halt,
    over: CancellationToken,
}

impl Keeper {
    async fn run(self) {
        let mut renewed = clock::monotonic();
        let mut due = renewed + RENEW_EVERY;
        loop {
            tokio::select! {
                biased;
                () = self.over.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = clock::monotonic();
            let seen = if now >= due { self.renew().await } else { self.look().await };
            match seen {
                Ok(Some(run)) => {
                    if now >= due {
                        renewed = now;
                        due = now + RENEW_EVERY;
                    }
                    self.heed(&run);
                }
                Ok(None) => self.halt.stop(self.lost("it is not in the state any more")),
                Err(error @ InstanceError::LeaseLost { .. }) => self.halt.stop(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be looked after");
                    if now.duration_since(renewed) >= AHEAD {
                        self.halt.stop(self.lost(&format!("it could not be renewed in time: {error}")));
                    }
                }
            }
        }
    }

    async fn renew(&self) -> Result<Option<Run>, InstanceError> {
        self.instance.renew(self.lease, clock::now() + AHEAD).await.map(Some)
    }

    async fn look(&self) -> Result<Option<Run>, InstanceError> {
        self.instance.run(self.lease.run_id).await
    }

    fn heed(&self, run: &Run) {
        if run.lease_epoch != self.lease.epoch {
            self.halt.stop(self.lost(&format!("the newest epoch is {}", run.lease_epoch)));
        } else if run.status == RunStatus::Canceling {
            self.halt.stop(Problem::new(Code::Canceled, "the run was cancelled"));
        } else if run.status.is_final() && !self.over.is_cancelled() {
            self.halt.stop(self.lost(&format!("the run is {} already", run.status)));
        }
    }

    fn lost(&self, why: &str) -> Problem {
        lost(self.lease, why)
    }
}

/// The problem of a process whose run is not its own any more.
pub(crate) fn lost(lease: Lease, why: &str) -> Problem {
    let what =
        format!("the lease of run {} with epoch {} was lost, so nothing more is written", lease.run_id, lease.epoch);
    Problem::new(Code::LeaseLost, what)
        .cause(why)
        .remedy("nothing: the daemon has decided about this run; `catchment run show` says how it ended")
}
