//! The one way to start a background task: with a name that its panic is reported under.
#![allow(clippy::disallowed_methods, reason = "this module is the one that starts tasks")]

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Starts `future` as a task of the current runtime; its log lines carry `name` and stay in the caller's span.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // The task's own span is off at the usual level; the caller's must hold all the same.
    tokio::spawn(future.instrument(tracing::debug_span!("task", name)).in_current_span())
}
