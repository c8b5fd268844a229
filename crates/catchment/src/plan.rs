//! Which steps a run has, in which order, and where each takes its values from. Pure.
//!
//! [`select`] chooses the steps, here they are put in order, and [`wire`] finds out what each of them waits for.

mod past;
mod select;
mod wire;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a helper of tests may fail the test")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::definitions::{CheckSpec, StepSpec};
use catchment_core::run::Selection;
use catchment_core::tags;
use catchment_model::{Code, Problem};

use crate::definitions::Definitions;
use crate::executor::schedule::Node;
use crate::job::{JobDefinition, JobOf};
use crate::lower::StepDefinition;
use crate::output::PortKind;

pub(crate) use past::{Kept, Past};

/// The steps of a run in topological order; among those that could go first, in the order of their definition.
pub(crate) struct Plan {
    pub(crate) steps: Vec<PlannedStep>,
}

/// A step, as this run has it.
pub(crate) struct PlannedStep {
    pub(crate) definition: StepDefinition,
    /// The assets that this run wants of it.
    pub(crate) assets: Vec<String>,
    /// The checks that this run wants of it, as far as they are known before.
    pub(crate) checks: Vec<CheckSpec>,
    /// Where each of its inputs comes from.
    pub(crate) inputs: Vec<(String, Source)>,
    /// What the schedule has to know. Nodes are places in [`Plan::steps`], all before this one.
    pub(crate) node: Node,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An output of a step of the plan: of the instance with the same mapping key, where that step is mapped.
    Output(OutputRef),
    /// An output of all instances of a step, or all values of an output that fans out.
    Collected(OutputRef),
    /// Outputs of several steps, in this order.
    Many(Vec<OutputRef>),
    /// An asset that this run does not make: through its IO manager.
    Asset(String),
    /// Run config.
    Config,
}

/// An output of a step of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputRef {
    /// The place in [`Plan::steps`].
    pub(crate) step: usize,
    /// The place in the outputs of its op.
    pub(crate) output: usize,
}

impl PlannedStep {
    /// The concurrency pool that it needs a slot of: its own, or that of the older tag.
    pub(crate) fn pool(&self) -> Option<&str> {
        let tag = || self.definition.tags.get(tags::CONCURRENCY_KEY);
        self.definition.op.settings.pool.as_ref().or_else(tag).map(String::as_str)
    }
}

impl Source {
    /// The outputs that it names.
    pub(crate) fn outputs(&self) -> &[OutputRef] {
        match self {
            Self::Output(one) | Self::Collected(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::Asset(_) | Self::Config => &[],
        }
    }
}

impl Plan {
    /// The plan of a job, or of what is selected of it. An edge to an asset outside the selection orders nothing.
    ///
    /// # Errors
    /// Where the selection names what the job does not have, steps need each other in a circle, or a fan is inside
    /// another one.
    pub(crate) fn of(definitions: &Definitions, job: &JobDefinition, selection: &Selection) -> Result<Self, Problem> {
        Self::after(definitions, job, selection, &Past::default())
    }

    /// The plan of a run that re-executes others; `past` is what they gave.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub(crate) fn after(
        definitions: &Definitions,
        job: &JobDefinition,
        selection: &Selection,
        past: &Past,
    ) -> Result<Self, Problem> {
        if let JobOf::Assets(items) = &job.of
            && let Some(problem) = definitions.selection_fault(items)
        {
            return Err(problem);
        }
        let chosen = in_order(select::choose(definitions, job, selection)?)?;
        let index = wire::Index::of(&chosen);
        let wiring: Vec<_> = chosen.iter().map(|step| index.wire(step)).collect();
        let mut steps: Vec<PlannedStep> = Vec::new();
        for (chosen, wiring) in chosen.into_iter().zip(wiring) {
            steps.push(wire::plan(chosen, wiring, &steps, past)?);
        }
        Ok(Self { steps })
    }

    /// The keys of the steps that run, all of them or in part.
    pub(crate) fn step_keys(&self) -> Vec<String> {
        let working = self.steps.iter().filter(|step| !step.node.runs.is_given());
        working.map(|step| step.definition.key.clone()).collect()
    }

    /// The steps as the control plane sees them.
    pub(crate) fn specs(&self) -> Vec<StepSpec> {
        let key = |at: usize| self.steps[at].definition.key.clone();
        let spec = |step: &PlannedStep| {
            let needs: BTreeSet<usize> = step.node.after.iter().map(|edge| edge.node).collect();
            StepSpec {
                assets: step.assets.clone(),
                mapped_over: step.node.mapped_over.map(key),
                ..step.definition.spec(needs.into_iter().map(key).collect())
            }
        };
        self.steps.iter().map(spec).collect()
    }

    /// The assets that are committed to the lake.
    pub(crate) fn staged(&self) -> Vec<String> {
        let working = self.steps.iter().filter(|step| !step.node.runs.is_given());
        let outputs = working.flat_map(|step| {
            let outputs = step.definition.assets.iter().zip(&step.definition.op.outputs);
            outputs.filter(|(asset, port)| port.kind == PortKind::Staged && step.assets.contains(&asset.key))
        });
        outputs.map(|(asset, _)| asset.key.clone()).collect()
    }

    /// The assets that some step needs and this run does not make.
    pub(crate) fn outside_assets(&self) -> BTreeSet<String> {
        let made: BTreeSet<&str> = self.steps.iter().flat_map(|step| &step.assets).map(String::as_str).collect();
        let needed = self.steps.iter().flat_map(|step| step.definition.upstream_assets());
        needed.filter(|key| !made.contains(key)).map(str::to_owned).collect()
    }
}

/// Puts steps into topological order (Kahn's algorithm, the first in the order of definition first).
fn in_order(chosen: Vec<select::Chosen>) -> Result<Vec<select::Chosen>, Problem> {
    let index = wire::Index::of(&chosen);
    let mut missing: Vec<usize> = vec![0; chosen.len()];
    let mut downstream: Vec<Vec<usize>> = vec![Vec::new(); chosen.len()];
    for (at, step) in chosen.iter().enumerate() {
        let before: BTreeSet<usize> = index.wire(step).edges.iter().map(|edge| edge.node).collect();
        missing[at] = before.len();
        before.into_iter().for_each(|up| downstream[up].push(at));
    }
    let mut ready: BTreeSet<usize> = (0..chosen.len()).filter(|at| missing[*at] == 0).collect();
    let mut left: BTreeMap<usize, select::Chosen> = chosen.into_iter().enumerate().collect();
    let mut sorted = Vec::new();
    while let Some(at) = ready.pop_first() {
        sorted.extend(left.remove(&at));
        for down in &downstream[at] {
            missing[*down] -= 1;
            if missing[*down] == 0 {
                ready.insert(*down);
            }
        }
    }
    if left.is_empty() {
        return Ok(sorted);
    }
    let circle: Vec<_> = left.into_values().map(|step| step.definition.key).collect();
    Err(Problem::new(Code::InvalidConfig, "steps need each other in a circle")
        .place(circle.join(", "))
        .remedy("take one of the edges between them away"))
}
