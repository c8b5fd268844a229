//! How long a run bears with a state that does not answer: as long as its lease may hold.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::clock;

use super::Halt;
use super::guard::AHEAD;

/// The first wait, and the longest: it doubles in between.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Whether a call to the state may go better in a moment: the database is busy, restarts or cannot be reached.
pub(crate) fn may_pass(problem: &Problem) -> bool {
    problem.code == Code::Unavailable
}

/// Calls again while the state does not answer: until the lease that was renewed before the first call is over, or the
/// run is halted. What an answer was lost of is done twice.
///
/// # Errors
/// The last one; at once one that does not pass.
pub(crate) async fn patiently<T, F>(halt: &Halt, what: &str, mut call: impl FnMut() -> F) -> Result<T, Problem>
where
    F: Future<Output = Result<T, Problem>>,
{
    let until = clock::monotonic() + AHEAD;
    let mut wait = FIRST_WAIT;
    loop {
        let problem = match call().await {
            Err(problem) if may_pass(&problem) => problem,
            answer => return answer,
        };
        if halt.token.is_cancelled() || clock::monotonic() + wait > until {
            return Err(problem);
        }
        tracing::warn!(%problem, what, "the state did not answer, and is asked again");
        tokio::select! {
            () = halt.token.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
