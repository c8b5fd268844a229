//! Sensors, and what finishes their claims.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use catchment_core::RunStatus;
use catchment_core::definitions::{SensorKind, SensorSpec};
use catchment_core::sensor::{RunRequest, SensorResult};
use catchment_model::{Code, Problem};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::context::{ClaimContext, SensorContext};
use crate::extract::{Need, Res};
use crate::output::Returned;
use crate::schedule::with_job;

pub(crate) type Evaluate =
    Arc<dyn Fn(SensorContext) -> BoxFuture<'static, Result<SensorResult, Problem>> + Send + Sync>;
pub(crate) type Finish = Arc<dyn Fn(ClaimContext) -> BoxFuture<'static, Result<(), Problem>> + Send + Sync>;

/// What the function of a sensor or schedule may return: a [`SensorResult`], one [`RunRequest`] or a list, a
/// [`SkipReason`], or nothing.
#[diagnostic::on_unimplemented(
    message = "a sensor or schedule returns a SensorResult, RunRequests, a SkipReason or nothing, not `{Self}`",
    label = "not what a sensor or schedule returns"
)]
pub trait Requests: Send {
    /// The same, whole.
    fn into_result(self) -> SensorResult;
}

/// Why a sensor or schedule asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipReason(pub String);

impl SkipReason {
    /// This reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl Requests for SensorResult {
    fn into_result(self) -> SensorResult {
        self
    }
}

impl Requests for () {
    fn into_result(self) -> SensorResult {
        SensorResult::default()
    }
}

impl Requests for RunRequest {
    fn into_result(self) -> SensorResult {
        vec![self].into_result()
    }
}

impl Requests for Vec<RunRequest> {
    fn into_result(self) -> SensorResult {
        SensorResult { run_requests: self, ..SensorResult::default() }
    }
}

impl Requests for SkipReason {
    fn into_result(self) -> SensorResult {
        SensorResult { skip_reason: Some(self.0), ..SensorResult::default() }
    }
}

impl<T: Requests> Requests for Option<T> {
    fn into_result(self) -> SensorResult {
        self.map(Requests::into_result).unwrap_or_default()
    }
}

impl<T: Requests> Requests for Result<T, SkipReason> {
    fn into_result(self) -> SensorResult {
        self.map_or_else(Requests::into_result, Requests::into_result)
    }
}

/// A sensor: what it watches, and the function that looks. `#[sensor]`, `#[run_status_sensor]` and `#[asset_sensor]`
/// write this for a function.
#[derive(Clone)]
pub struct SensorDefinition {
    pub(crate) spec: SensorSpec,
    pub(crate) needs: Vec<Need>,
    /// The resource that says in which folder a change wakes it.
    pub(crate) watch: Option<String>,
    /// `None` for a sensor that evaluates automation conditions: the daemon does.
    pub(crate) evaluate: Option<Evaluate>,
}

impl SensorDefinition {
    /// Begins a sensor whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "a sensor without its body is no sensor yet")]
    pub fn new<R: Returned<Value: Requests>>(name: &str) -> SensorBuilder {
        SensorBuilder::of(spec(name, SensorKind::Standard))
    }

    /// Begins a sensor that is called when runs reach one of these statuses.
    pub fn on_run_status<R: Returned<Value: Requests>, const N: usize>(
        name: &str,
        statuses: [RunStatus; N],
    ) -> SensorBuilder {
        let kind = SensorKind::RunStatus {
            statuses: statuses.to_vec(),
            monitored_jobs: Vec::new(),
            monitor_all_locations: false,
        };
        SensorBuilder::of(spec(name, kind))
    }

    /// Begins a sensor that is called when one of these assets was materialised.
    pub fn on_assets<R: Returned<Value: Requests>, const N: usize>(name: &str, assets: [&str; N]) -> SensorBuilder {
        let kind = SensorKind::Asset { assets: assets.map(str::to_owned).to_vec() };
        SensorBuilder::of(spec(name, kind))
    }

    /// A sensor that evaluates the automation conditions of these assets (of all that no other names, where there are
    /// none), with an interval and default of its own.
    pub fn automation<const N: usize>(name: &str, assets: [&str; N]) -> Self {
        let kind = SensorKind::Automation { assets: assets.map(str::to_owned).to_vec() };
        Self { spec: spec(name, kind), needs: Vec::new(), watch: None, evaluate: None }
    }

    /// Whether it runs unless someone has stopped it (default: not).
    pub fn running_by_default(mut self, running: bool) -> Self {
        self.spec.running_by_default = running;
        self
    }

    /// The least time between two evaluations, in seconds, whatever happens outside. Without one, the sensor is evaluated
    /// as soon as something wakes it, and else at the daemon's interval (30 s).
    pub fn minimum_interval_s(mut self, seconds: u32) -> Self {
        self.spec.minimum_interval_s = seconds;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Evaluates it once, also in a test.
    ///
    /// # Errors
    /// What its function answers; `invalid_input` for a sensor of automation conditions, which has none.
    pub async fn evaluate(&self, context: SensorContext) -> Result<SensorResult, Problem> {
        match &self.evaluate {
            Some(evaluate) => evaluate(context).await,
            None => Err(Problem::new(Code::InvalidInput, format!("the daemon evaluates `{}`", self.spec.name))
                .cause("it has no function of its own, only the conditions of assets")),
        }
    }
}

fn spec(name: &str, kind: SensorKind) -> SensorSpec {
    SensorSpec { name: name.to_owned(), kind, ..SensorSpec::default() }
}

/// A sensor without its function.
pub struct SensorBuilder {
    spec: SensorSpec,
    needs: Vec<Need>,
    watch: Option<String>,
}

impl SensorBuilder {
    fn of(spec: SensorSpec) -> Self {
        Self { spec, needs: Vec::new(), watch: None }
    }

    /// The jobs that it may ask for. A request that names neither a job nor assets is for the first of them.
    pub fn jobs<const N: usize>(mut self, jobs: [&str; N]) -> Self {
        self.spec.jobs = jobs.map(str::to_owned).to_vec();
        self
    }

    /// The assets that it may ask for.
    pub fn assets<const N: usize>(mut self, assets: [&str; N]) -> Self {
        self.spec.assets = assets.map(str::to_owned).to_vec();
        self
    }

    /// The jobs whose runs a run-status sensor is called for (default: all of its location).
    pub fn monitored_jobs<const N: usize>(mut self, jobs: [&str; N]) -> Self {
        if let SensorKind::RunStatus { monitored_jobs, .. } = &mut self.spec.kind {
            *monitored_jobs = jobs.map(str::to_owned).to_vec();
        }
        self
    }

    /// Whether a run-status sensor is called for the runs of every location.
    pub fn monitor_all_locations(mut self, all: bool) -> Self {
        if let SensorKind::RunStatus { monitor_all_locations, .. } = &mut self.spec.kind {
            *monitor_all_locations = all;
        }
        self
    }

    /// The least time between two evaluations, in seconds, whatever happens outside. Without one, the sensor is evaluated
    /// as soon as something wakes it, and else at the daemon's interval (30 s).
    pub fn minimum_interval_s(mut self, seconds: u32) -> Self {
        self.spec.minimum_interval_s = seconds;
        self
    }

    /// Whether it runs unless someone has stopped it (default: not).
    pub fn running_by_default(mut self, running: bool) -> Self {
        self.spec.running_by_default = running;
        self
    }

    /// The resource, a `PathBuf`, that says in which folder a change wakes the sensor at once, besides its interval. The
    /// code server watches it, so it has to be a folder of its machine.
    pub fn watch(mut self, resource: &str) -> Self {
        self.watch = Some(resource.to_owned());
        self.needs.push(Res::<PathBuf>::need(resource));
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
    pub fn body<R, F, Fut>(self, body: F) -> SensorDefinition
    where
        R: Requests + 'static,
        F: Fn(SensorContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        let job = self.spec.jobs.first().cloned().unwrap_or_default();
        let look = move |context: SensorContext| {
            let job = job.clone();
            body(context).map(move |asked| asked.map(|asked| with_job(asked.into_result(), &job))).boxed()
        };
        let evaluate: Evaluate = match &self.spec.kind {
            SensorKind::RunStatus { .. } => {
                let look: Evaluate = Arc::new(look);
                Arc::new(move |context| for_each_run(look.clone(), context).boxed())
            }
            _ => Arc::new(look),
        };
        SensorDefinition { spec: self.spec, needs: self.needs, watch: self.watch, evaluate: Some(evaluate) }
    }
}

/// Calls a sensor of the status of runs for one event after another. Where it fails on one, what it asked for before
/// stands, and the cursor stays before that event: it is the first of the next evaluation, and fails that alone.
async fn for_each_run(look: Evaluate, context: SensorContext) -> Result<SensorResult, Problem> {
    let mut all = SensorResult::default();
    let mut skipped = Vec::new();
    for event in context.events() {
        match look(context.of_event(event)).await {
            Ok(one) => {
                all.run_requests.extend(one.run_requests);
                all.rejections.extend(one.rejections);
                all.add_partitions.extend(one.add_partitions);
                all.delete_partitions.extend(one.delete_partitions);
                all.asset_events.extend(one.asset_events);
                skipped.extend(one.skip_reason);
                all.cursor = Some(event.id.to_string());
            }
            Err(problem) if all.cursor.is_none() => return Err(problem),
            Err(_) => {
                all.more = true;
                break;
            }
        }
    }
    skipped.dedup();
    all.skip_reason = (!skipped.is_empty()).then(|| skipped.join("; "));
    Ok(all)
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
