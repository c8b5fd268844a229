//! What hooks are told of the end of a step, and claim handlers of the end of a claim.

use std::collections::BTreeMap;
use std::sync::Arc;

use catchment_core::sensor::Claim;
use catchment_core::{Level, RunId};
use catchment_model::Problem;
use serde_json::Value;

use super::scope::RunScope;
use super::{Context, its_own_extractor};
use crate::extract::{FromContext, Need};
use crate::resource::Resources;

struct HookCall {
    run: Arc<RunScope>,
    step_key: String,
    problem: Option<Problem>,
}

/// The end of a step, as a hook is told of it.
#[derive(Clone)]
pub struct HookContext(Arc<HookCall>);

its_own_extractor!(HookContext);

impl Context for HookContext {
    fn resources(&self) -> &Resources {
        &self.0.run.resources
    }
}

impl HookContext {
    pub(crate) fn new(run: Arc<RunScope>, step_key: &str, problem: Option<Problem>) -> Self {
        Self(Arc::new(HookCall { run, step_key: step_key.to_owned(), problem }))
    }

    /// The run.
    pub fn run_id(&self) -> RunId {
        self.0.run.run_id
    }

    /// The job.
    pub fn job_name(&self) -> &str {
        &self.0.run.job_name
    }

    /// The step that ended.
    pub fn step_key(&self) -> &str {
        &self.0.step_key
    }

    /// The run's tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.0.run.tags
    }

    /// Why the step failed; `None` where it ended well.
    pub fn problem(&self) -> Option<&Problem> {
        self.0.problem.as_ref()
    }

    /// Writes a line to the step's log.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.0.run.journal.log(Some(&self.0.step_key), level, message.into(), Value::Null);
    }
}

/// A claim that is to be finished.
#[derive(Clone)]
pub struct ClaimContext {
    sensor: Arc<str>,
    claim: Arc<Claim>,
    resources: Resources,
}

its_own_extractor!(ClaimContext);

impl Context for ClaimContext {
    fn resources(&self) -> &Resources {
        &self.resources
    }
}

impl ClaimContext {
    /// A context, also for a test.
    pub fn new(sensor: &str, claim: Claim, resources: Resources) -> Self {
        Self { sensor: sensor.into(), claim: Arc::new(claim), resources }
    }

    /// The sensor that made the claim.
    pub fn sensor(&self) -> &str {
        &self.sensor
    }

    /// The claim with its outcome.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl FromContext<ClaimContext> for Claim {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &ClaimContext, _: &str) -> Result<Self, Problem> {
        Ok(context.claim.as_ref().clone())
    }
}
