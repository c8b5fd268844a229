//! The steps of a run: each starts as soon as what it needs is made, at most so many at once.

use std::collections::HashMap;
use std::sync::Arc;

use catchment_core::{EventKind, Level};
use catchment_model::{Code, Problem};
use catchment_settings::task;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tracing::Instrument;

use super::{logs, step};
use crate::context::{AssetContext, RunScope};
use crate::output::SharedValue;
use crate::plan::{Plan, PlannedStep};

/// How the steps ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// What each step that ended well gave.
    pub(crate) values: HashMap<String, SharedValue>,
    /// Steps that failed, in the order of their failure.
    pub(crate) failures: Vec<(String, Problem)>,
}

enum State {
    Waiting,
    Running,
    Done(SharedValue),
    Failed,
}

/// Runs the plan to its end, or until the run is halted: then what runs is given up and `Err` says why.
pub(crate) async fn run(plan: &Plan, scope: &Arc<RunScope>, concurrency: usize) -> Result<Ended, Problem> {
    let mut states: Vec<State> = plan.steps.iter().map(|_| State::Waiting).collect();
    let mut running = FuturesUnordered::new();
    let mut aborts = Aborts::default();
    let mut ended = Ended::default();
    loop {
        skip_hopeless(plan, &mut states, scope).await?;
        for place in ready(plan, &states, concurrency.saturating_sub(running.len())) {
            let handle = start(&plan.steps[place], plan, &states, scope);
            aborts.0.push(handle.abort_handle());
            states[place] = State::Running;
            running.push(async move { (place, handle.await) });
        }
        let next = tokio::select! {
            biased;
            () = scope.halt.token.cancelled() => return Err(scope.halt.reason()),
            next = running.next() => next,
        };
        let Some((place, result)) = next else { return Ok(ended) };
        let key = &plan.steps[place].asset.key;
        let result = result.unwrap_or_else(|error| {
            Err(Problem::new(Code::Bug, "a step ended without an answer").cause(error.to_string()))
        });
        states[place] = match result {
            Ok(value) => {
                ended.values.insert(key.clone(), value.clone());
                State::Done(value)
            }
            Err(problem) if problem.code == Code::LeaseLost => return Err(problem),
            Err(problem) => {
                ended.failures.push((key.clone(), problem));
                State::Failed
            }
        };
    }
}

/// Gives the tasks up when the run is halted: they must not outlive it.
#[derive(Default)]
struct Aborts(Vec<tokio::task::AbortHandle>);

impl Drop for Aborts {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

fn ready(plan: &Plan, states: &[State], room: usize) -> Vec<usize> {
    let waiting = plan.steps.iter().enumerate().filter(|(place, _)| matches!(states[*place], State::Waiting));
    let ready = waiting.filter(|(_, step)| step.after.iter().all(|at| matches!(states[*at], State::Done(_))));
    ready.map(|(place, _)| place).take(room).collect()
}

/// Marks each step whose upstream failed, and says so.
async fn skip_hopeless(plan: &Plan, states: &mut [State], scope: &RunScope) -> Result<(), Problem> {
    let mut events = Vec::new();
    for (place, step) in plan.steps.iter().enumerate() {
        let failed = step.after.iter().find(|at| matches!(states[**at], State::Failed));
        if let (State::Waiting, Some(at)) = (&states[place], failed) {
            let upstream = &plan.steps[*at].asset.key;
            let message = format!("skipped: `{upstream}`, which it needs, was not made");
            let data = json!({"upstream": upstream});
            let key = Some(step.asset.key.as_str());
            events.push(scope.journal.event(EventKind::StepSkipped, key, Level::Warning, message, data));
            states[place] = State::Failed;
        }
    }
    if events.is_empty() { Ok(()) } else { scope.journal.write(events).await }
}

fn start(
    step: &PlannedStep,
    plan: &Plan,
    states: &[State],
    scope: &Arc<RunScope>,
) -> tokio::task::JoinHandle<Result<SharedValue, Problem>> {
    let inputs = step.after.iter().filter_map(|at| match &states[*at] {
        State::Done(value) => Some((plan.steps[*at].asset.key.clone(), value.clone())),
        _ => None,
    });
    let context = AssetContext::new(scope.clone(), &step.asset.key, inputs.collect());
    let span = logs::span(scope.run_id, &step.asset.key);
    task::spawn("step", step::run(step.asset.clone(), scope.clone(), context).instrument(span))
}
