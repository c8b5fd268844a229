//! Drives the steps of a run: starts what the schedule says, and tells it how each ended.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use catchment_core::reexecution::mapped_key;
use catchment_core::{EventKind, Level};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::attempt::{self, Outcome, Work};
use super::execution::Execution;
use super::hooks;
use super::inputs::{Value, Values};
use super::logs;
use super::schedule::{Id, Schedule, Skipped};
use super::threads;
use crate::lower::StepOutputRef;
use crate::output::SharedValue;

/// How the steps ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// What the steps that ended well gave, by output. A step that ran for a mapping key has it in its key.
    pub(crate) values: HashMap<StepOutputRef, SharedValue>,
    /// Steps that failed, in the order of their failure.
    pub(crate) failures: Vec<(String, Problem)>,
}

/// Runs the plan to its end, or until the run is halted: then what runs is given up and `Err` says why.
pub(crate) async fn run(execution: Arc<Execution>) -> Result<Ended, Problem> {
    Driver::new(execution).run().await
}

struct Driver {
    schedule: Schedule,
    values: Values,
    tries: HashMap<Id, Tries>,
    running: FuturesUnordered<BoxFuture<'static, (Id, Result<Outcome, Problem>)>>,
    hooks: FuturesUnordered<BoxFuture<'static, ()>>,
    /// What runs must not outlive the run.
    gone: CancellationToken,
    _on_drop: DropGuard,
    /// Who waits for a slot, by pool.
    waiting: HashMap<String, BTreeSet<Id>>,
    ended: Ended,
    execution: Arc<Execution>,
}

/// How often a step was tried, and how often it asked for a slot in vain.
#[derive(Debug, Default, Clone, Copy)]
struct Tries {
    retries: u32,
    slot: u32,
}

impl Driver {
    fn new(execution: Arc<Execution>) -> Self {
        let nodes = execution.plan.steps.iter().map(|step| step.node.clone()).collect();
        let gone = CancellationToken::new();
        Self {
            schedule: Schedule::new(nodes, execution.limits.clone()),
            values: Values::default(),
            tries: HashMap::new(),
            running: FuturesUnordered::new(),
            hooks: FuturesUnordered::new(),
            _on_drop: gone.clone().drop_guard(),
            gone,
            waiting: HashMap::new(),
            ended: Ended::default(),
            execution,
        }
    }

    async fn run(mut self) -> Result<Ended, Problem> {
        let halt = self.execution.scope.halt.clone();
        self.skip(self.schedule.skipped_at_first());
        loop {
            while let Some(id) = self.schedule.next(clock::monotonic()) {
                self.start(id);
            }
            if self.running.is_empty() && self.hooks.is_empty() {
                if self.schedule.is_over() {
                    return Ok(self.ended);
                }
                if self.schedule.wake_at().is_none() {
                    return Err(Problem::new(Code::Bug, "steps wait that nothing can start"));
                }
            }
            let wake = self.schedule.wake_at();
            tokio::select! {
                biased;
                () = halt.token.cancelled() => return Err(halt.reason()),
                Some((id, outcome)) = self.running.next() => self.heed(id, outcome)?,
                Some(()) = self.hooks.next() => {}
                () = until(wake) => {}
            }
        }
    }

    fn start(&self, id: Id) {
        let place = self.schedule.node(id);
        let step = &self.execution.plan.steps[place];
        let tries = self.tries.get(&id).copied().unwrap_or_default();
        let mapping_key = self.schedule.mapping_key(id).map(str::to_owned);
        let Execution { plan, past, .. } = &*self.execution;
        let taken = |source| self.values.taken(plan, past, &self.schedule, id, source);
        let inputs = step.inputs.iter().map(|(name, source)| (name.clone(), taken(source))).collect();
        let key = self.key(id);
        let span = logs::span(self.execution.scope.run_id, &key);
        let work = Work { place, key, mapping_key, inputs, retry_number: tries.retries };
        let attempt = attempt::attempt(self.execution.clone(), work);
        let driven = span.in_scope(|| threads::drive("step", self.gone.clone(), attempt));
        self.running.push(Box::pin(async move { (id, driven.await) }));
    }

    /// The key of an instance: that of its step, with its mapping key where it has one.
    fn key(&self, id: Id) -> String {
        let key = &self.execution.plan.steps[self.schedule.node(id)].definition.key;
        self.schedule.mapping_key(id).map_or_else(|| key.clone(), |mapping_key| mapped_key(key, mapping_key))
    }

    fn heed(&mut self, id: Id, outcome: Result<Outcome, Problem>) -> Result<(), Problem> {
        let outcome = outcome.unwrap_or_else(|problem| {
            // Nobody but the driver is there to say so.
            self.tell_failure(id, &problem);
            Outcome::Failed(problem)
        });
        if !matches!(outcome, Outcome::NoSlot(_)) {
            self.waiting.values_mut().for_each(|ids| ids.retain(|waiting| *waiting != id));
        }
        let tries = self.tries.entry(id).or_default();
        match outcome {
            Outcome::NoSlot(pool) => {
                let wait = super::slots::wait(tries.slot, fastrand::f64());
                tries.slot += 1;
                self.schedule.again_at(id, clock::monotonic() + wait);
                self.waiting.entry(pool).or_default().insert(id);
                return Ok(());
            }
            Outcome::Retry(wait) => {
                *tries = Tries { retries: tries.retries + 1, slot: 0 };
                self.schedule.again_at(id, clock::monotonic() + wait);
            }
            Outcome::Done(values) => self.done(id, values),
            Outcome::Failed(problem) if problem.code == Code::LeaseLost => return Err(problem),
            Outcome::Failed(problem) => self.failed(id, problem),
        }
        self.freed(id);
        Ok(())
    }

    fn done(&mut self, id: Id, values: Vec<Value>) {
        let step_key = self.key(id);
        let outputs = &self.execution.plan.steps[self.schedule.node(id)].definition.op.outputs;
        let (mut missing, mut mapping_keys) = (Vec::new(), Vec::new());
        for (at, value) in values.iter().enumerate() {
            match value {
                Value::Nothing => missing.push(at),
                Value::Fan(values) => mapping_keys = values.iter().map(|(key, _)| key.clone()).collect(),
                Value::One(value) => {
                    let output = outputs.get(at).map(|port| port.name.clone()).unwrap_or_default();
                    self.ended.values.insert(StepOutputRef { step: step_key.clone(), output }, value.clone());
                }
            }
        }
        self.values.insert(id, values);
        let skipped = self.schedule.succeeded(id, missing, &mapping_keys);
        self.skip(&skipped);
        self.call_hooks(id, None);
    }

    fn failed(&mut self, id: Id, problem: Problem) {
        self.ended.failures.push((self.key(id), problem.clone()));
        let skipped = self.schedule.failed(id);
        self.skip(&skipped);
        self.call_hooks(id, Some(problem));
    }

    fn tell_failure(&self, id: Id, problem: &Problem) {
        let (key, step) = (self.key(id), &self.execution.plan.steps[self.schedule.node(id)]);
        let data = json!({"problem": problem});
        let mut events = self.execution.not_made(step, &key, &problem.what);
        events.insert(0, self.execution.event(EventKind::StepFailure, &key, Level::Error, problem.to_string(), data));
        self.execution.scope.journal.tell(events);
    }

    /// Says what will not run.
    fn skip(&self, skipped: &[Skipped]) {
        let mut events = Vec::new();
        for Skipped { id, because_of, failed } in skipped {
            let (key, upstream) = (self.key(*id), self.key(*because_of));
            let why = match failed {
                true => format!("`{upstream}`, which it needs, did not end well"),
                false => format!("`{upstream}` left out what it needs"),
            };
            let level = if *failed { Level::Warning } else { Level::Info };
            let data = json!({"upstream": upstream, "failed": failed});
            let step = &self.execution.plan.steps[self.schedule.node(*id)];
            events.push(self.execution.event(EventKind::StepSkipped, &key, level, format!("skipped: {why}"), data));
            if *failed {
                events.extend(self.execution.not_made(step, &key, &why));
            }
        }
        self.execution.scope.journal.tell(events);
    }

    fn call_hooks(&self, id: Id, problem: Option<Problem>) {
        let (place, key) = (self.schedule.node(id), self.key(id));
        if self.execution.plan.steps[place].definition.hooks.is_empty() {
            return;
        }
        let span = logs::span(self.execution.scope.run_id, &key);
        let calls = hooks::call(self.execution.clone(), place, key, problem);
        let driven = span.in_scope(|| threads::drive("hooks", self.gone.clone(), calls));
        self.hooks.push(Box::pin(async move { drop(driven.await) }));
    }

    /// A step that gave its slot back lets those of this run ask again at once.
    fn freed(&mut self, id: Id) {
        let Some(pool) = self.execution.plan.steps[self.schedule.node(id)].pool() else { return };
        for waiting in self.waiting.remove(pool).unwrap_or_default() {
            self.schedule.hurry(waiting);
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
