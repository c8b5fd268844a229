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
use crate::context::{InputValue, RunScope, StepContext, StepScope};
use crate::lower::{InputSource, StepOutputRef};
use crate::output::SharedValue;
use crate::plan::{Plan, PlannedStep};

/// How the steps ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// What the steps that ended well gave, by output.
    pub(crate) values: HashMap<StepOutputRef, SharedValue>,
    /// Steps that failed, in the order of their failure.
    pub(crate) failures: Vec<(String, Problem)>,
}

enum State {
    Waiting,
    Running,
    Done,
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
            let handle = start(&plan.steps[place], plan, &ended.values, scope);
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
        let key = &plan.steps[place].step.key;
        let result = result.unwrap_or_else(|error| {
            Err(Problem::new(Code::Bug, "a step ended without an answer").cause(error.to_string()))
        });
        states[place] = match result {
            Ok(values) => {
                for (output, value) in values {
                    ended.values.insert(StepOutputRef { step: key.clone(), output }, value);
                }
                State::Done
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
    let ready = waiting.filter(|(_, step)| step.after.iter().all(|at| matches!(states[*at], State::Done)));
    ready.map(|(place, _)| place).take(room).collect()
}

/// Marks each step whose upstream failed, and says so.
async fn skip_hopeless(plan: &Plan, states: &mut [State], scope: &RunScope) -> Result<(), Problem> {
    let mut events = Vec::new();
    for (place, step) in plan.steps.iter().enumerate() {
        let failed = step.after.iter().find(|at| matches!(states[**at], State::Failed));
        if let (State::Waiting, Some(at)) = (&states[place], failed) {
            let upstream = &plan.steps[*at].step.key;
            let message = format!("skipped: `{upstream}`, which it needs, was not made");
            let data = json!({"upstream": upstream});
            let key = Some(step.step.key.as_str());
            events.push(scope.journal.event(EventKind::StepSkipped, key, Level::Warning, message, data));
            states[place] = State::Failed;
        }
    }
    if events.is_empty() { Ok(()) } else { scope.journal.write(events).await }
}

fn start(
    planned: &PlannedStep,
    plan: &Plan,
    values: &HashMap<StepOutputRef, SharedValue>,
    scope: &Arc<RunScope>,
) -> tokio::task::JoinHandle<Result<Vec<(String, SharedValue)>, Problem>> {
    let step = &planned.step;
    let of_asset = |key: &str| {
        let maker = plan.steps.iter().map(|planned| &planned.step).find(|s| s.assets.iter().any(|a| a.key == key))?;
        let at = maker.assets.iter().position(|asset| asset.key == key)?;
        values.get(&StepOutputRef { step: maker.key.clone(), output: maker.op.outputs.get(at)?.name.clone() })
    };
    let value = |source: &InputSource| match source {
        InputSource::Step(output) => values.get(output).cloned().map(InputValue::One),
        InputSource::Many(outputs) => {
            Some(InputValue::Many(outputs.iter().filter_map(|output| values.get(output).cloned()).collect()))
        }
        InputSource::Asset(key) => of_asset(key).cloned().map(InputValue::One),
        InputSource::Collected(_) | InputSource::Config => None,
    };
    let inputs = step.inputs.iter().filter_map(|input| Some((input.name.clone(), value(&input.source)?)));
    let context = StepContext::new(
        scope.clone(),
        StepScope {
            key: step.key.clone(),
            config_path: step.config_path.clone(),
            inputs: inputs.collect(),
            assets: step.assets.iter().map(|asset| asset.key.clone()).collect(),
            ..StepScope::default()
        },
    );
    let span = logs::span(scope.run_id, &step.key);
    task::spawn("step", step::run(step.clone(), scope.clone(), context).instrument(span))
}
