//! One try of a step, from its slot to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use futures::FutureExt;
use serde_json::{Value as Json, json};

use super::execution::Execution;
use super::inputs::{Loader, Taken, Value};
use super::outputs::Settling;
use super::panics;
use super::patience::may_pass;
use crate::context::{RetryRequested, StepContext, StepScope};
use crate::plan::PlannedStep;

/// What is to be tried.
pub(crate) struct Work {
    /// The place of the step in the plan.
    pub(crate) place: usize,
    /// The key, with the mapping key.
    pub(crate) key: String,
    pub(crate) mapping_key: Option<String>,
    /// What each input takes.
    pub(crate) inputs: Vec<(String, Taken)>,
    /// How often it was tried before in this run.
    pub(crate) retry_number: u32,
}

/// How a try ended.
pub(crate) enum Outcome {
    /// Well: with something for each output.
    Done(Vec<Value>),
    /// It failed for good.
    Failed(Problem),
    /// It failed and is tried again after this time.
    Retry(Duration),
    /// There was no slot in this pool.
    NoSlot(String),
}

/// Tries a step. What it did is told before this answers; what it says of assets is durable by then.
pub(crate) async fn attempt(execution: Arc<Execution>, work: Work) -> Outcome {
    let step = &execution.plan.steps[work.place];
    let attempt = Attempt { execution: &execution, step, key: &work.key, began: clock::monotonic() };
    let slot = match (step.pool(), &execution.slots) {
        (Some(pool), Some(slots)) => match slots.claim(pool, &work.key, step.node.priority).await {
            Ok(None) => Some((slots, pool)),
            Ok(Some(before)) => {
                tracing::debug!(pool, before, "waits for a slot");
                return Outcome::NoSlot(pool.to_owned());
            }
            Err(problem) if may_pass(&problem) => {
                tracing::warn!(%problem, pool, "a slot could not be asked for");
                return Outcome::NoSlot(pool.to_owned());
            }
            Err(problem) => return attempt.failed(problem, Vec::new(), None, work.retry_number).await,
        },
        _ => None,
    };
    let outcome = match panics::caught(attempt.run(&work).map(Ok).boxed()).await {
        Ok(outcome) => outcome,
        Err(panic) => attempt.failed(panic, Vec::new(), None, work.retry_number).await,
    };
    if let Some((slots, pool)) = slot {
        slots.free(pool, &work.key, &execution.scope.halt).await;
    }
    outcome
}

struct Attempt<'a> {
    execution: &'a Arc<Execution>,
    step: &'a PlannedStep,
    key: &'a str,
    began: Instant,
}

impl Attempt<'_> {
    async fn run(&self, work: &Work) -> Outcome {
        let begin = match work.retry_number {
            0 => self.event(EventKind::StepStart, Level::Info, "started".into(), Json::Null),
            number => {
                let data = json!({"attempt": number});
                self.event(EventKind::StepRestarted, Level::Info, format!("started again (retry {number})"), data)
            }
        };
        let mut events = vec![begin];
        let loaded = panics::caught(self.context(work, &mut events)).await;
        self.execution.scope.journal.tell(events);
        let context = match loaded {
            Ok(context) => context,
            Err(problem) => return self.failed(problem, Vec::new(), None, work.retry_number).await,
        };
        let made = panics::caught((self.step.definition.op.body)(context.clone())).await;
        let mut reported = context.take_reported();
        let retry = reported.retry.take();
        let mut settling = Settling::new(self.execution, self.step, self.key, self.began, reported);
        let settled = match made {
            // IO managers, checks of staged files and the types of values are user code too.
            Ok(produced) => panics::caught(settling.settle(produced)).await,
            Err(problem) => Err(problem),
        };
        match settled {
            Ok(values) => self.succeeded(values, settling).await,
            Err(problem) => {
                // What was reported before the failure is true all the same.
                settling.tell_reported();
                self.failed(problem, settling.events, retry, work.retry_number).await
            }
        }
    }

    /// The context of user code, with all inputs loaded.
    async fn context(&self, work: &Work, events: &mut Vec<NewEvent>) -> Result<StepContext, Problem> {
        let mut loader = Loader { execution: self.execution, step: self.step, step_key: self.key, events: Vec::new() };
        let mut scope = StepScope {
            key: self.key.to_owned(),
            config_path: self.step.definition.config_path.clone(),
            assets: self.step.assets.clone(),
            partitions: self.execution.partitions_definition(self.step),
            code_versions: self.step.definition.code_versions(),
            retry_number: work.retry_number,
            mapping_key: work.mapping_key.clone(),
            ..StepScope::default()
        };
        for (name, taken) in &work.inputs {
            match loader.load(name, taken.clone()).await {
                Ok(value) => scope.inputs.extend(value.map(|value| (name.clone(), value))),
                Err(problem) => {
                    events.append(&mut loader.events);
                    return Err(problem);
                }
            }
        }
        events.append(&mut loader.events);
        Ok(StepContext::new(self.execution.scope.clone(), scope))
    }

    async fn succeeded(&self, values: Vec<Value>, settling: Settling<'_>) -> Outcome {
        let is_about_assets = settling.is_about_assets;
        let mut events = settling.events;
        let ms = self.duration_ms();
        let data = json!({"duration_ms": ms});
        events.push(self.event(EventKind::StepSuccess, Level::Info, format!("done in {ms} ms"), data));
        if !is_about_assets {
            self.execution.scope.journal.tell(events);
            return Outcome::Done(values);
        }
        match self.execution.scope.journal.write(events).await {
            Ok(()) => {
                catchment_settings::failpoint::hit("run.after_event");
                Outcome::Done(values)
            }
            Err(problem) => Outcome::Failed(problem),
        }
    }

    async fn failed(
        &self,
        problem: Problem,
        mut events: Vec<NewEvent>,
        retry: Option<RetryRequested>,
        retries: u32,
    ) -> Outcome {
        // Another process has taken over: nothing may be written any more.
        if problem.code == Code::LeaseLost {
            return Outcome::Failed(problem);
        }
        if let Some(wait) = self.wait_for_retry(&problem, retry, retries) {
            let number = retries + 1;
            let message = format!("failed, and will be tried again in {} s: {problem}", wait.as_secs_f64());
            let data = json!({"problem": problem, "attempt": number, "seconds_to_wait": wait.as_secs_f64()});
            events.push(self.event(EventKind::StepUpForRetry, Level::Warning, message, data));
            self.execution.scope.journal.tell(events);
            return Outcome::Retry(wait);
        }
        tracing::debug!(%problem, "the step failed");
        let data = json!({"problem": problem, "duration_ms": self.duration_ms()});
        events.push(self.event(EventKind::StepFailure, Level::Error, problem.to_string(), data));
        events.extend(self.execution.not_made(self.step, self.key, &problem.what));
        match self.execution.scope.journal.write(events).await {
            Ok(()) => Outcome::Failed(problem),
            Err(unwritten) => Outcome::Failed(unwritten),
        }
    }

    /// How long to wait before the next try, if there is one: what user code asked for goes before the step's policy.
    fn wait_for_retry(&self, problem: &Problem, asked: Option<RetryRequested>, retries: u32) -> Option<Duration> {
        if problem.code == Code::Canceled || self.execution.scope.halt.token.is_cancelled() {
            return None;
        }
        match (asked, &self.step.definition.retry) {
            (Some(asked), _) => (retries < asked.max_retries).then(|| {
                let longest = catchment_core::retry::MAX_DELAY;
                Duration::try_from_secs_f64(asked.seconds_to_wait.max(0.0)).unwrap_or(longest).min(longest)
            }),
            (None, Some(policy)) => policy.delay(retries + 1, fastrand::f64()),
            (None, None) => None,
        }
    }

    fn event(&self, kind: EventKind, level: Level, message: String, data: Json) -> NewEvent {
        self.execution.event(kind, self.key, level, message, data)
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
