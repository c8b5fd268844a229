//! Which steps a run has, in which order.

use catchment_core::definitions::StepSpec;
use catchment_core::run::Selection;
use catchment_model::{Code, Problem};

use crate::definitions::{Definitions, not_found};
use crate::job::{JobDefinition, JobOf};
use crate::lower::StepDefinition;
use crate::output::PortKind;

/// The steps of a run in topological order; among those that could go first, in the order of their definition.
pub(crate) struct Plan {
    pub(crate) steps: Vec<PlannedStep>,
}

/// A step and the steps that it waits for.
pub(crate) struct PlannedStep {
    pub(crate) step: StepDefinition,
    /// Places in [`Plan::steps`], all before this one.
    pub(crate) after: Vec<usize>,
}

impl Plan {
    /// The plan of a job, or of what is selected of it. An edge to a step outside the selection orders nothing.
    pub(crate) fn of(definitions: &Definitions, job: &JobDefinition, selection: &Selection) -> Result<Self, Problem> {
        if let JobOf::Assets(items) = &job.of
            && let Some(unknown) = definitions.names_nothing(items).first()
        {
            return Err(not_found("asset", unknown, &definitions.asset_keys(), &definitions.location));
        }
        let all = definitions.steps_of(job);
        Self::ordered(chosen(all, selection, job)?)
    }

    fn ordered(mut waiting: Vec<StepDefinition>) -> Result<Self, Problem> {
        let mut steps: Vec<PlannedStep> = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|step| !waiting.iter().any(|other| waits_for(step, other)));
            let Some(ready) = ready else {
                let circle: Vec<_> = waiting.iter().map(|step| step.key.as_str()).collect();
                return Err(Problem::new(Code::InvalidConfig, "steps need each other in a circle")
                    .place(circle.join(", "))
                    .remedy("take one of the edges between them away"));
            };
            let step = waiting.remove(ready);
            let after = steps.iter().enumerate().filter(|(_, earlier)| waits_for(&step, &earlier.step));
            let after = after.map(|(place, _)| place).collect();
            steps.push(PlannedStep { step, after });
        }
        Ok(Self { steps })
    }

    /// The keys of the steps.
    pub(crate) fn step_keys(&self) -> Vec<String> {
        self.steps.iter().map(|planned| planned.step.key.clone()).collect()
    }

    /// The steps as the control plane sees them.
    pub(crate) fn specs(&self) -> Vec<StepSpec> {
        let needs = |step: &PlannedStep| step.after.iter().map(|at| self.steps[*at].step.key.clone()).collect();
        self.steps.iter().map(|planned| planned.step.spec(needs(planned))).collect()
    }

    /// The assets that are committed to the lake.
    pub(crate) fn staged(&self) -> Vec<String> {
        let outputs = self.steps.iter().flat_map(|planned| planned.step.assets.iter().zip(&planned.step.op.outputs));
        outputs.filter(|(_, output)| output.kind == PortKind::Staged).map(|(asset, _)| asset.key.clone()).collect()
    }
}

/// Whether a step needs another to be done first: its value, its asset, or a blocking check of an asset that it needs.
fn waits_for(step: &StepDefinition, other: &StepDefinition) -> bool {
    if step.key == other.key {
        return false;
    }
    let upstream = step.upstream_assets();
    let needs = |asset: &str| upstream.contains(&asset);
    let checks_of_own = |asset: &str| step.is_check && step.checks.iter().any(|check| check.asset_key == asset);
    step.inputs.iter().any(|input| input.source.steps().iter().any(|output| output.step == other.key))
        || step.after.contains(&other.key)
        || other.assets.iter().any(|asset| needs(&asset.key))
        || (other.is_check
            && other.checks.iter().any(|c| c.blocking && needs(&c.asset_key) && !checks_of_own(&c.asset_key)))
}

fn chosen(
    all: Vec<StepDefinition>,
    selection: &Selection,
    job: &JobDefinition,
) -> Result<Vec<StepDefinition>, Problem> {
    if selection.is_everything() {
        return Ok(all);
    }
    let unknown = |what: &str, name: &String, there: Vec<String>| {
        Problem::new(Code::NotFound, format!("the job `{}` has no {what} `{name}`", job.name))
            .cause(format!("it has: {}", there.join(", ")))
            .remedy("choose one of these")
    };
    for key in &selection.assets {
        if !all.iter().any(|step| step.assets.iter().any(|asset| asset.key == *key)) {
            let there = all.iter().flat_map(|step| &step.assets).map(|asset| asset.key.clone()).collect();
            return Err(unknown("asset", key, there));
        }
    }
    for key in &selection.checks {
        if !all.iter().any(|step| step.checks.iter().any(|check| check.key() == *key)) {
            let there = all.iter().flat_map(|step| &step.checks).map(|check| check.key()).collect();
            return Err(unknown("check", key, there));
        }
    }
    let is_chosen = |step: &StepDefinition| {
        let assets = step.assets.iter().any(|asset| selection.assets.contains(&asset.key));
        let checks = step.checks.iter().any(|check| selection.checks.contains(&check.key()));
        // The checks of an asset run with it, unless single checks are named.
        let beside = step.is_check
            && selection.checks.is_empty()
            && step.checks.iter().any(|check| selection.assets.contains(&check.asset_key));
        assets || checks || beside || selection.steps.contains(&step.key)
    };
    Ok(all.into_iter().filter(is_chosen).collect())
}
