//! The one loop that everything which decides to run has: look, do what is missing, wait for a hint or the interval.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use catchment_instance::Heartbeat;
use catchment_model::Problem;
use catchment_settings::clock;
use tokio::sync::watch;

use crate::context::Context;

/// Between two heartbeats of a task.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// The wait after a first failure; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest wait after failures.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// One concern of the daemon.
#[async_trait]
pub trait Reconcile: Send {
    /// The name, in logs.
    fn name(&self) -> &str;

    /// The name that its heartbeats have, where it has any.
    fn heartbeat(&self) -> Option<&'static str> {
        None
    }

    /// How far it lies behind what it follows, in events.
    fn lag(&self) -> i64 {
        0
    }

    /// What wakes it, where anything does.
    fn hint(&self) -> Option<watch::Receiver<()>>;

    /// Looks at the state and does what is missing; answers when to look again if nothing wakes it. A step is never
    /// cut off while the daemon lives; it bounds its own waiting.
    ///
    /// # Errors
    /// Where it could not be done: it is logged, and tried again after a short wait.
    async fn step(&mut self) -> Result<Duration, Problem>;
}

#[async_trait]
impl Reconcile for Box<dyn Reconcile> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn heartbeat(&self) -> Option<&'static str> {
        (**self).heartbeat()
    }

    fn lag(&self) -> i64 {
        (**self).lag()
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        (**self).hint()
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        (**self).step().await
    }
}

/// Runs a concern until the daemon stops.
pub(crate) async fn drive(mut work: impl Reconcile, context: Context) {
    let mut hint = work.hint();
    let mut failures = 0;
    let mut was_hinted = false;
    let mut last_beat = None;
    loop {
        if let Some(hint) = &mut hint {
            hint.mark_unchanged();
        }
        let (wait, problem) = match work.step().await {
            Ok(wait) => {
                failures = 0;
                (wait, None)
            }
            Err(problem) => {
                // The first of a row is news; the others say the same again.
                if failures == 0 {
                    tracing::warn!(task = work.name(), %problem, "a task of the daemon failed; it tries again");
                } else {
                    tracing::debug!(task = work.name(), %problem, failures, "a task of the daemon failed again");
                }
                // Tries that a hint brought forward say nothing about how long it lasts.
                if failures == 0 || !was_hinted {
                    failures += 1;
                }
                (backoff(failures), Some(problem))
            }
        };
        let wait = match work.heartbeat() {
            Some(name) => {
                let beat = Heartbeat { daemon: name.to_owned(), at: context.now(), problem, lag: work.lag() };
                last_beat = send(&context, beat, last_beat).await;
                wait.min(HEARTBEAT)
            }
            None => wait,
        };
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = hinted(&mut hint) => was_hinted = true,
            () = tokio::time::sleep(wait) => was_hinted = false,
        }
    }
}

/// Waits for a hint; for ever where there are none to come.
async fn hinted(hint: &mut Option<watch::Receiver<()>>) {
    let changed = match hint {
        Some(hint) => hint.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

/// The wait after so many failures in a row.
pub(crate) fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACKOFF)
}

/// What was last written of a task, and when.
struct LastBeat {
    at: Instant,
    failed: bool,
    behind: bool,
}

/// Writes a heartbeat now and then, and at once where it says something new; answers the last that was written.
async fn send(context: &Context, beat: Heartbeat, last: Option<LastBeat>) -> Option<LastBeat> {
    let (failed, behind) = (beat.problem.is_some(), beat.lag > 0);
    if let Some(last) = &last
        && last.at.elapsed() < HEARTBEAT / 2
        && last.failed == failed
        && last.behind == behind
    {
        return Some(LastBeat { ..*last });
    }
    match context.instance.beat(&beat).await {
        Ok(()) => Some(LastBeat { at: clock::monotonic(), failed, behind }),
        Err(error) => {
            tracing::debug!(name = beat.daemon, %error, "a heartbeat could not be written");
            last
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_BACKOFF, backoff};

    #[test]
    fn waits_double_up_to_the_longest() {
        assert!(backoff(1) < backoff(2) && backoff(2) < backoff(3));
        assert_eq!(backoff(u32::MAX), LONGEST_BACKOFF);
    }
}
