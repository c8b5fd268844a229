//! Hooks: what is called when a step has ended.

use std::future::Future;
use std::sync::Arc;

use catchment_model::Problem;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::context::HookContext;
use crate::extract::Need;
use crate::output::Returned;

/// Which end of a step calls a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookOn {
    /// It ended well.
    Success,
    /// It failed for good: no retry is left.
    Failure,
}

/// A hook. `#[success_hook]` and `#[failure_hook]` write this for a function. A hook that fails changes nothing about
/// its step: the failure is in the log.
#[derive(Clone)]
pub struct HookDefinition {
    pub(crate) name: String,
    pub(crate) on: HookOn,
    pub(crate) needs: Vec<Need>,
    pub(crate) call: Arc<dyn Fn(HookContext) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>,
}

impl HookDefinition {
    /// Begins a hook whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "a hook without its body is no hook yet")]
    pub fn new<R: Returned<Value = ()>>(name: &str, on: HookOn) -> HookBuilder {
        HookBuilder { name: name.to_owned(), on, needs: Vec::new() }
    }
}

/// A hook without its function.
pub struct HookBuilder {
    name: String,
    on: HookOn,
    needs: Vec<Need>,
}

impl HookBuilder {
    /// What an argument needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The function.
    pub fn body<F, Fut>(self, body: F) -> HookDefinition
    where
        F: Fn(HookContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        let call = Arc::new(move |context| body(context).boxed());
        HookDefinition { name: self.name, on: self.on, needs: self.needs, call }
    }
}
