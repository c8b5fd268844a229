//! Sensors, and what finishes their claims.

use std::future::Future;
use std::sync::Arc;

use catchment_core::definitions::SensorSpec;
use catchment_core::sensor::SensorResult;
use catchment_model::Problem;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::context::{ClaimContext, SensorContext};
use crate::extract::Need;
use crate::output::Returned;

pub(crate) type Evaluate =
    Arc<dyn Fn(SensorContext) -> BoxFuture<'static, Result<SensorResult, Problem>> + Send + Sync>;
pub(crate) type Finish = Arc<dyn Fn(ClaimContext) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>;

/// A sensor: what it watches, and the function that looks. `#[sensor]` writes this for a function.
#[derive(Clone)]
pub struct SensorDefinition {
    pub(crate) spec: SensorSpec,
    pub(crate) needs: Vec<Need>,
    pub(crate) evaluate: Evaluate,
}

impl SensorDefinition {
    /// Begins a sensor whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "a sensor without its body is no sensor yet")]
    pub fn new<R: Returned<Value = SensorResult>>(name: &str) -> SensorBuilder {
        SensorBuilder {
            spec: SensorSpec {
                name: name.to_owned(),
                description: String::new(),
                jobs: Vec::new(),
                minimum_interval_s: 30,
                running_by_default: false,
            },
            needs: Vec::new(),
        }
    }
}

/// A sensor without its function.
pub struct SensorBuilder {
    spec: SensorSpec,
    needs: Vec<Need>,
}

impl SensorBuilder {
    /// The jobs that it may ask for.
    pub fn jobs<const N: usize>(mut self, jobs: [&str; N]) -> Self {
        self.spec.jobs = jobs.map(str::to_owned).to_vec();
        self
    }

    /// The least time between two evaluations that nothing woke, in seconds (default 30).
    pub fn minimum_interval_s(mut self, seconds: u32) -> Self {
        self.spec.minimum_interval_s = seconds;
        self
    }

    /// Whether it runs unless someone has stopped it (default: not).
    pub fn running_by_default(mut self, running: bool) -> Self {
        self.spec.running_by_default = running;
        self
    }

    /// What it watches.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.spec.description);
        self
    }

    /// What an argument needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The function that looks.
    pub fn body<F, Fut>(self, body: F) -> SensorDefinition
    where
        F: Fn(SensorContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<SensorResult, Problem>> + Send + 'static,
    {
        SensorDefinition {
            spec: self.spec,
            needs: self.needs,
            evaluate: Arc::new(move |context| body(context).boxed()),
        }
    }
}

/// What finishes a sensor's claims outside the state (a ledger's record, a move to an archive). It is called at
/// least once for each claim. `#[claim_handler]` writes this for a function.
#[derive(Clone)]
pub struct ClaimHandler {
    pub(crate) needs: Vec<Need>,
    pub(crate) finish: Finish,
}

impl ClaimHandler {
    /// Begins a handler whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "a handler without its body is no handler yet")]
    pub fn new<R: Returned<Value = ()>>() -> ClaimHandlerBuilder {
        ClaimHandlerBuilder { needs: Vec::new() }
    }
}

/// A claim handler without its function.
pub struct ClaimHandlerBuilder {
    needs: Vec<Need>,
}

impl ClaimHandlerBuilder {
    /// What an argument needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The function that finishes one claim.
    pub fn body<F, Fut>(self, body: F) -> ClaimHandler
    where
        F: Fn(ClaimContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        ClaimHandler { needs: self.needs, finish: Arc::new(move |context| body(context).boxed()) }
    }
}
