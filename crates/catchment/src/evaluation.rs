//! Evaluations of user code in the code server: bounded in time, one at a time of each sensor and schedule.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use catchment_model::{Code, Problem};
use catchment_settings::clock;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::executor::panics;

/// How long an evaluation may take where who asks does not say.
const DEFAULT: Duration = Duration::from_secs(60);
/// How much earlier than who asks the evaluation is given up, so that the answer still arrives.
const EARLIER: Duration = Duration::from_secs(1);
/// How long the last evaluation of the same name may take to let go, once nobody waits for it.
const LETS_GO: Duration = Duration::from_secs(1);

/// Until when the request has to be answered: its `grpc-timeout`, else a minute.
pub(crate) fn deadline<T>(request: &Request<T>) -> Instant {
    let given = request.metadata().get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
    clock::monotonic() + given.map_or(DEFAULT, |given| given.saturating_sub(EARLIER.min(given / 10)))
}

/// The value of a `grpc-timeout` header: up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The evaluations that work.
#[derive(Default)]
pub(crate) struct Evaluations(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Evaluations {
    /// Runs user code on a thread of its own, so that what blocks, panics or never ends disturbs no other. When its
    /// time is over, or nobody waits for it any more, it ends at its next await. Code that blocks its thread does not
    /// see that: it is given up, and nothing of its name is evaluated until it ends, so that threads do not pile up.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        name: &str,
        until: Instant,
        evaluation: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let began = clock::monotonic();
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone();
        let Ok(turn) = tokio::time::timeout(LETS_GO, turn.lock_owned()).await else { return Err(still_works(name)) };
        let stop = CancellationToken::new();
        let _given_up = stop.clone().drop_guard();
        let runtime = tokio::runtime::Handle::current();
        let thread = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            runtime.block_on(stop.run_until_cancelled(panics::caught(evaluation)))
        });
        match tokio::time::timeout_at(until.into(), thread).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) | Err(_) => {
                let seconds = until.saturating_duration_since(began).as_secs_f64();
                Err(Problem::new(Code::LimitExceeded, format!("`{name}` took longer than {seconds:.0} s"))
                    .remedy("let it look at less at a time, and go on from its cursor"))
            }
            Ok(Err(error)) => {
                Err(Problem::new(Code::Bug, format!("`{name}` ended without an answer")).cause(error.to_string()))
            }
        }
    }
}

fn still_works(name: &str) -> Problem {
    Problem::new(Code::Unavailable, format!("the last evaluation of `{name}` still works, so it is not evaluated"))
        .cause("its code was given up, and blocks its thread all the same")
        .remedy("let it await what it waits for, with a timeout; a reload of the location ends what blocks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_who_asks_and_a_minute_where_nobody_says() {
        assert_eq!(timeout("300S"), Some(Duration::from_secs(300)));
        assert_eq!(timeout("65000m"), Some(Duration::from_secs(65)));
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        for nonsense in ["", "S", "1", "-1S", "123456789S", "1ä"] {
            assert_eq!(timeout(nonsense), None, "{nonsense}");
        }
        let mut request = Request::new(());
        assert!(deadline(&request) > clock::monotonic() + Duration::from_secs(55));
        assert!(deadline(&request) <= clock::monotonic() + DEFAULT);
        request.set_timeout(Duration::from_secs(600));
        assert!(deadline(&request) > clock::monotonic() + Duration::from_secs(590));
    }

    fn soon() -> Instant {
        clock::monotonic() + Duration::from_millis(50)
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_may_be_evaluated_again() {
        let evaluations = Evaluations::default();
        let refused = evaluations.run("sensor s", soon(), std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!(refused.code, Code::LimitExceeded);
        let until = clock::monotonic() + DEFAULT;
        assert_eq!(evaluations.run("sensor s", until, async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn nothing_of_a_name_is_evaluated_while_its_last_evaluation_blocks_a_thread() {
        let evaluations = Evaluations::default();
        let (go_on, blocked) = std::sync::mpsc::channel::<()>();
        let blocks = async move {
            blocked.recv().ok();
            Ok(())
        };
        let refused = evaluations.run("sensor s", soon(), blocks).await.unwrap_err();
        assert_eq!(refused.code, Code::LimitExceeded);
        let until = clock::monotonic() + DEFAULT;
        let refused = evaluations.run("sensor s", until, async { Ok(()) }).await.unwrap_err();
        assert_eq!(refused.code, Code::Unavailable);
        assert!(refused.what.contains("still works"), "{refused}");
        evaluations.run("sensor t", until, async { Ok(()) }).await.unwrap();
        drop(go_on);
        evaluations.run("sensor s", until, async { Ok(()) }).await.unwrap();
    }
}
