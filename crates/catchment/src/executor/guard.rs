//! The lease of a run, on a thread of its own: renewed whatever user code does to the runtime, and the place
//! where a cancel is learned of.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use catchment_core::{Run, RunStatus};
use catchment_instance::{InstanceError, Lease, SharedInstance};
use catchment_model::{Code, Problem};
use catchment_settings::clock;

use super::Halt;

/// How far ahead a lease is prolonged.
pub(crate) const AHEAD: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Keeps a lease until it is dropped.
pub(crate) struct Guard {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Begins to renew; `halt` is stopped by a cancel and by the loss of the lease.
    pub(crate) fn start(instance: SharedInstance, lease: Lease, halt: Halt) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let keeper = Keeper { instance, lease, halt, over: over.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("lease".into()).spawn(move || runtime.block_on(keeper.run()))?;
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
        }
    }
}

struct Keeper {
    instance: SharedInstance,
    lease: Lease,
    halt: Halt,
    over: Arc<AtomicBool>,
}

impl Keeper {
    async fn run(self) {
        let mut renewed = clock::monotonic();
        let mut due = renewed + RENEW_EVERY;
        loop {
            std::thread::park_timeout(LOOK_EVERY);
            if self.over.load(Ordering::Relaxed) {
                return;
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
        } else if run.status.is_final() && !self.over.load(Ordering::Relaxed) {
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
