//! A panic of user code is the failure of its step, with its message and place.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use catchment_model::{Code, Problem};
use futures::FutureExt;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Runs user code; a panic becomes a problem.
pub(crate) async fn caught<T>(code: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PLACE.with_borrow_mut(|place| *place = info.location().map(ToString::to_string));
            before(info);
        }));
    });
    // A future that panicked is never polled again, so that nothing sees what it left half done.
    match AssertUnwindSafe(code).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(problem(panic.as_ref())),
    }
}

fn problem(panic: &(dyn Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned());
    let problem = Problem::new(Code::Bug, "the code of this step panicked")
        .cause(message)
        .remedy("this is a bug in that code: mend it, or report it with this message");
    match PLACE.with_borrow_mut(Option::take) {
        Some(place) => problem.place(place),
        None => problem,
    }
}
