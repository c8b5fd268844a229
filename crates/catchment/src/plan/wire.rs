//! What each step of a run waits for, and where its inputs come from. Pure.

use std::collections::{BTreeSet, HashMap};

use catchment_core::reexecution::mapped_key;
use catchment_core::tags;
use catchment_model::{Code, Problem};

use super::past::Past;
use super::select::{Chosen, Which};
use super::{OutputRef, PlannedStep, Source};
use crate::executor::schedule::{Edge, Node, Runs, Share};
use crate::lower::{InputSource, StepDefinition, StepOutputRef};
use crate::output::PortKind;

/// Where the steps, outputs and assets of a run are, by name.
pub(crate) struct Index<'a> {
    steps: &'a [Chosen],
    by_step: HashMap<&'a str, usize>,
    by_asset: HashMap<&'a str, OutputRef>,
    /// The steps that evaluate a blocking check of an asset on their own.
    blocking: HashMap<&'a str, Vec<usize>>,
}

/// What a step waits for and takes.
pub(crate) struct Wiring {
    pub(crate) inputs: Vec<(String, Source)>,
    pub(crate) edges: Vec<Edge>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(steps: &'a [Chosen]) -> Self {
        let mut index = Self { steps, by_step: HashMap::new(), by_asset: HashMap::new(), blocking: HashMap::new() };
        for (at, step) in steps.iter().enumerate() {
            index.by_step.insert(&step.definition.key, at);
            for (output, asset) in step.definition.assets.iter().enumerate() {
                if step.assets.contains(&asset.key) {
                    index.by_asset.insert(&asset.key, OutputRef { step: at, output });
                }
            }
            for check in step.checks.iter().filter(|check| check.blocking && step.definition.is_check) {
                index.blocking.entry(&check.asset_key).or_default().push(at);
            }
        }
        index
    }

    /// What a step of the run waits for and takes.
    pub(crate) fn wire(&self, step: &Chosen) -> Wiring {
        let definition = &step.definition;
        let mut edges: Vec<Edge> = Vec::new();
        let mut add = |edge: Edge| {
            if !edges.contains(&edge) {
                edges.push(edge);
            }
        };
        let own = self.by_step.get(definition.key.as_str());
        let mut inputs = Vec::new();
        for input in &definition.inputs {
            let source = self.source(&input.source, own);
            source.outputs().iter().for_each(|one| add(Edge { node: one.step, output: Some(one.output) }));
            inputs.push((input.name.clone(), source));
        }
        for key in definition.upstream_assets() {
            if let Some(made) = self.by_asset.get(key) {
                add(Edge { node: made.step, output: Some(made.output) });
            }
            // A check does not wait for the other checks of the asset that it is about.
            let is_about = definition.is_check && definition.checks.iter().any(|check| check.asset_key == key);
            for check in self.blocking.get(key).into_iter().flatten().filter(|at| !is_about && Some(*at) != own) {
                add(Edge { node: *check, output: None });
            }
        }
        for at in definition.after.iter().filter_map(|key| self.by_step.get(key.as_str())) {
            add(Edge { node: *at, output: None });
        }
        Wiring { inputs, edges }
    }

    fn source(&self, source: &InputSource, own: Option<&usize>) -> Source {
        match source {
            InputSource::Step(output) => self.output(output).map_or(Source::Config, Source::Output),
            InputSource::Collected(output) => self.output(output).map_or(Source::Config, Source::Collected),
            InputSource::Many(outputs) => {
                Source::Many(outputs.iter().filter_map(|output| self.output(output)).collect())
            }
            InputSource::Asset(key) => match self.by_asset.get(key.as_str()) {
                Some(made) if Some(&made.step) != own => Source::Output(*made),
                // What the step itself made before, of earlier partitions, its IO manager has.
                _ => Source::Asset(key.clone()),
            },
            InputSource::Config => Source::Config,
        }
    }

    fn output(&self, output: &StepOutputRef) -> Option<OutputRef> {
        let step = *self.by_step.get(output.step.as_str())?;
        let outputs = &self.steps[step].definition.op.outputs;
        Some(OutputRef { step, output: outputs.iter().position(|port| port.name == output.output)? })
    }
}

/// The step as planned; `before` are those before it.
pub(crate) fn plan(
    chosen: Chosen,
    wiring: Wiring,
    before: &[PlannedStep],
    past: &Past,
) -> Result<PlannedStep, Problem> {
    let mapped_over = fan_of(&chosen.definition, &wiring.inputs, before)?;
    let runs = runs(&chosen, mapped_over.map(|over| &before[over]), past);
    let definition = chosen.definition;
    let priority = definition.tags.get(tags::PRIORITY).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let node = Node { after: wiring.edges, mapped_over, runs, priority, tags: definition.tags.clone() };
    Ok(PlannedStep { assets: chosen.assets, checks: chosen.checks, inputs: wiring.inputs, node, definition })
}

/// The dynamic step that a step runs for each mapping key of, if there is one.
fn fan_of(
    definition: &StepDefinition,
    inputs: &[(String, Source)],
    before: &[PlannedStep],
) -> Result<Option<usize>, Problem> {
    let refused = |what: &str| Problem::new(Code::InvalidConfig, what).place(format!("step {}", definition.key));
    let fanning: Vec<_> = definition.op.outputs.iter().filter(|port| port.kind == PortKind::Dynamic).collect();
    if fanning.len() > 1 {
        let names: Vec<_> = fanning.iter().map(|port| format!("`{}`", port.name)).collect();
        return Err(refused("a step opens one fan only")
            .cause(format!("its outputs {} are all dynamic", names.join(" and ")))
            .remedy("give one dynamic output, of values that hold what belongs together, or make a step for each"));
    }
    let mut fans = BTreeSet::new();
    for (_, source) in inputs {
        let mapped = match source {
            Source::Output(_) | Source::Many(_) => source.outputs(),
            Source::Collected(_) | Source::Asset(_) | Source::Config => &[],
        };
        fans.extend(mapped.iter().filter_map(|up| {
            let step = &before[up.step];
            let fans_out = step.definition.op.outputs[up.output].kind == PortKind::Dynamic;
            if fans_out { Some(up.step) } else { step.node.mapped_over }
        }));
    }
    if fans.len() > 1 || (!fans.is_empty() && !fanning.is_empty()) {
        let fans: Vec<_> = fans.iter().map(|at| format!("`{}`", before[*at].definition.key)).collect();
        return Err(refused("a step runs for the outputs of one fan only, and opens none itself")
            .cause(format!("it is downstream of {}", fans.join(" and ")))
            .remedy("collect the outputs before them"));
    }
    let Some(over) = fans.pop_first() else { return Ok(None) };
    for (input, source) in inputs {
        let Source::Collected(collected) = source else { continue };
        let collected = &before[collected.step];
        if collected.node.mapped_over == Some(over) {
            return Err(refused("a step cannot be a branch of a fan and collect that fan")
                .cause(format!(
                    "it runs for each output of `{}`, and its input `{input}` collects `{}`, whose branches would all \
                     have to end before any of its own begins",
                    before[over].definition.key, collected.definition.key
                ))
                .remedy("collect in a step of its own, and let this one take what that step makes of all"));
        }
    }
    Ok(Some(over))
}

/// What of a step runs; `over` is the dynamic step that it is mapped over.
fn runs(chosen: &Chosen, over: Option<&PlannedStep>, past: &Past) -> Runs {
    let definition = &chosen.definition;
    let given = |step_key: &str| past.left_out(step_key, &definition.op.outputs);
    let Some(over) = over else {
        return match chosen.which {
            Which::Given => Runs::Given(given(&definition.key)),
            Which::Whole | Which::Keys(_) => Runs::Whole,
        };
    };
    if chosen.which == Which::Whole && over.node.runs == Runs::Whole {
        return Runs::Whole;
    }
    // The dynamic step gave its mapping keys in an earlier run; further ones may be named.
    let mut keys = past.mapping_keys(&over.definition.key).to_vec();
    if let Which::Keys(named) = &chosen.which {
        let known: BTreeSet<String> = keys.iter().cloned().collect();
        keys.extend(named.difference(&known).cloned());
    }
    let share = |key: &String| {
        let runs = match &chosen.which {
            Which::Whole => true,
            Which::Given => false,
            Which::Keys(named) => named.contains(key),
        };
        if runs { Share::Runs } else { Share::Given(given(&mapped_key(&definition.key, key))) }
    };
    let shares: Vec<Share> = keys.iter().map(share).collect();
    Runs::Keys(keys.into_iter().zip(shares).collect())
}
