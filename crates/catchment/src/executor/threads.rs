//! User code on threads of its own: code that blocks or computes holds up its own step, and nothing else.
//!
//! The runtime's workers stay free for what has to go on whatever a step does: the journal, the connections of the
//! state, the tasks that steps start. The blocking pool of the runtime would not do: a limited pool that is full of
//! steps lets those wait for ever that read a file in it.

use catchment_model::{Code, Problem};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;

/// Drives a future on a new thread, in the current runtime and span. When `gone` is cancelled the future is dropped
/// where it next waits; a thread that never waits is left behind.
///
/// # Errors
/// `bug` where there is no answer: the future was dropped, or panicked; `io` where there are no more threads.
pub(crate) fn drive<F>(
    name: &str,
    gone: CancellationToken,
    future: F,
) -> impl Future<Output = Result<F::Output, Problem>> + Send + 'static
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (done, answer) = oneshot::channel();
    let runtime = Handle::current();
    let driven = async move {
        tokio::select! {
            biased;
            () = gone.cancelled() => {}
            output = future => drop(done.send(output)),
        }
    };
    let driven = driven.in_current_span().with_current_subscriber();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(driven));
    async move {
        thread.map_err(|error| {
            Problem::new(Code::Io, "a thread for a step cannot be started")
                .cause(error.to_string())
                .remedy("let fewer steps work at once, or raise the limit of threads")
        })?;
        answer.await.map_err(|_| Problem::new(Code::Bug, "a step ended without an answer"))
    }
}
