//! What a job comes down to: flat steps, with what each takes and makes.
//!
//! Assets, checks, ops and graphs of graphs end here; the plan of a run selects and orders these steps, and the
//! executor knows nothing else.

use std::collections::BTreeMap;

use catchment_core::definitions::{AssetSpec, CheckSpec, StepSpec};
use catchment_core::retry::RetryPolicy;
use catchment_core::tags;

use crate::asset::{AssetDefinition, StagedCheck};
use crate::check::CheckDefinition;
use crate::definitions::Definitions;
use crate::extract::Need;
use crate::graph::{Binding, GraphDefinition, NodeOf, Origin};
use crate::hook::HookDefinition;
use crate::job::{JobDefinition, JobOf};
use crate::op::OpDefinition;

/// A step as it is defined.
#[derive(Clone)]
pub(crate) struct StepDefinition {
    /// Its key: see [`StepSpec::key`].
    pub(crate) key: String,
    /// The function, with its outputs.
    pub(crate) op: OpDefinition,
    /// Where its part of the run config lies: `ops.<a>.ops.<b>` is `[a, b]`.
    pub(crate) config_path: Vec<String>,
    /// What each input takes, in the order of the arguments.
    pub(crate) inputs: Vec<StepInput>,
    /// Steps that it waits for without taking a value; those that a run leaves out order nothing.
    pub(crate) after: Vec<String>,
    /// The asset of each output, in the order of `op.outputs`; none for an op.
    pub(crate) assets: Vec<AssetSpec>,
    /// The checks that it is known to evaluate.
    pub(crate) checks: Vec<CheckSpec>,
    /// Checks of what it stages, evaluated before the commit.
    pub(crate) staged_checks: Vec<StagedCheck>,
    /// Whether it looks at its assets instead of making them.
    pub(crate) observes: bool,
    /// Whether a run may make some of its assets without the others.
    pub(crate) can_subset: bool,
    /// Whether it is a check on its own.
    pub(crate) is_check: bool,
    /// Tags, those of the nodes around it among them.
    pub(crate) tags: BTreeMap<String, String>,
    /// When it is tried again.
    pub(crate) retry: Option<RetryPolicy>,
    /// What is called at its end: its own, its nodes', its job's.
    pub(crate) hooks: Vec<HookDefinition>,
}

/// An input of a step.
#[derive(Debug, Clone)]
pub(crate) struct StepInput {
    /// Its name: the argument's.
    pub(crate) name: String,
    /// Where its value comes from.
    pub(crate) source: InputSource,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputSource {
    /// An output of a step of the same job. Where that step fans out, or runs once for each mapping key, so does
    /// this one.
    Step(StepOutputRef),
    /// All values of an output of a step that fans out or runs once for each mapping key.
    Collected(StepOutputRef),
    /// Outputs of several steps, in this order.
    Many(Vec<StepOutputRef>),
    /// An asset: from the step that makes it where the run makes it, else through its IO manager.
    Asset(String),
    /// Run config: `ops.<step>.inputs.<name>.value`.
    Config,
}

/// An output of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StepOutputRef {
    pub(crate) step: String,
    pub(crate) output: String,
}

impl InputSource {
    /// The outputs of steps of the same job that it names.
    pub(crate) fn steps(&self) -> &[StepOutputRef] {
        match self {
            Self::Step(one) | Self::Collected(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::Asset(_) | Self::Config => &[],
        }
    }
}

impl StepDefinition {
    /// The keys of the assets upstream, with and without value.
    pub(crate) fn upstream_assets(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        let inputs = self.inputs.iter().filter_map(|input| match &input.source {
            InputSource::Asset(key) => Some(key.as_str()),
            _ => None,
        });
        let deps = self.assets.iter().flat_map(|asset| asset.deps.iter().map(String::as_str));
        let own = |key: &str| self.assets.iter().any(|asset| asset.key == key);
        for key in inputs.chain(deps).chain(self.check_deps()) {
            if !keys.contains(&key) && !own(key) {
                keys.push(key);
            }
        }
        keys
    }

    fn check_deps(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter(|_| self.is_check).map(|check| check.asset_key.as_str())
    }

    /// The inputs that take their value from run config.
    pub(crate) fn open_inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter(|input| input.source == InputSource::Config).map(|input| input.name.as_str())
    }

    /// How the value of an input is stored, where it can be.
    pub(crate) fn codec_of(&self, input: &str) -> Option<crate::probe::Codec> {
        self.op.inputs().find_map(|need| match need {
            Need::Input { name, codec, .. } if name == input => *codec,
            _ => None,
        })
    }

    /// The versions of the code of its assets, where they have one.
    pub(crate) fn code_versions(&self) -> BTreeMap<String, String> {
        let own = &self.op.settings.code_version;
        let version =
            |asset: &AssetSpec| Some((asset.key.clone(), asset.code_version.as_ref().or(own.as_ref())?.clone()));
        self.assets.iter().filter_map(version).collect()
    }

    /// As the control plane sees it; `needs` are the steps that it waits for.
    pub(crate) fn spec(&self, needs: Vec<String>) -> StepSpec {
        let settings = &self.op.settings;
        StepSpec {
            key: self.key.clone(),
            needs,
            assets: self.assets.iter().map(|asset| asset.key.clone()).collect(),
            checks: self.checks.iter().map(CheckSpec::key).collect(),
            // The older tag names a pool too.
            pool: settings.pool.clone().or_else(|| self.tags.get(tags::CONCURRENCY_KEY).cloned()),
            retry: self.retry.clone(),
            tags: self.tags.clone(),
            kinds: settings.kinds.clone(),
            description: settings.description.clone(),
            is_dynamic: self.op.is_dynamic(),
            mapped_over: None,
        }
    }
}

impl Definitions {
    /// The steps of a job, in the order of their definition. Assets that are not defined are left out: `check` says so.
    pub(crate) fn steps_of(&self, job: &JobDefinition) -> Vec<StepDefinition> {
        let mut steps = match &job.of {
            JobOf::Assets(selection) => {
                let keys = self.select(selection);
                let made = self.assets.iter().filter(|asset| asset.specs.iter().any(|spec| keys.contains(&spec.key)));
                let mut steps: Vec<_> = made.map(|asset| self.asset_step(asset)).collect();
                steps.extend(
                    self.checks.iter().filter(|c| keys.contains(&c.spec.asset_key)).map(|c| self.check_step(c)),
                );
                steps
            }
            JobOf::Graph(graph) => graph_steps(graph),
        };
        for step in &mut steps {
            step.hooks.extend(job.hooks.iter().cloned());
        }
        steps
    }

    /// The hidden job that holds all assets and checks.
    pub(crate) fn asset_job(&self) -> JobDefinition {
        crate::job::asset_job(catchment_core::definitions::ASSET_JOB, ["*"])
    }

    fn asset_step(&self, asset: &AssetDefinition) -> StepDefinition {
        StepDefinition {
            assets: asset.specs.clone(),
            checks: asset.checks.clone(),
            staged_checks: asset.staged_checks.clone(),
            observes: asset.observes,
            can_subset: asset.can_subset,
            ..plain(&asset.op)
        }
    }

    fn check_step(&self, check: &CheckDefinition) -> StepDefinition {
        let mut step = plain(&check.op);
        for dep in &check.deps {
            step.after.extend(self.asset(dep).map(|(asset, _)| asset.op.name.clone()));
        }
        StepDefinition { checks: vec![check.spec.clone()], is_check: true, ..step }
    }
}

/// A step outside any graph: what it takes are assets.
fn plain(op: &OpDefinition) -> StepDefinition {
    let inputs = op.inputs().filter_map(|need| match need {
        Need::Input { name, .. } => Some(StepInput { name: name.clone(), source: InputSource::Asset(name.clone()) }),
        _ => None,
    });
    StepDefinition {
        key: op.name.clone(),
        config_path: vec![op.name.clone()],
        inputs: inputs.collect(),
        after: Vec::new(),
        assets: Vec::new(),
        checks: Vec::new(),
        staged_checks: Vec::new(),
        observes: false,
        can_subset: false,
        is_check: false,
        tags: op.settings.tags.clone(),
        retry: op.settings.retry.clone(),
        hooks: op.settings.hooks.clone(),
        op: op.clone(),
    }
}

/// The steps of a graph of ops.
pub(crate) fn graph_steps(graph: &GraphDefinition) -> Vec<StepDefinition> {
    let mut steps = Vec::new();
    Flattening { path: &[], outer: &BTreeMap::new(), tags: &BTreeMap::new(), hooks: &[], after: &[] }
        .graph(graph, &mut steps);
    steps
}

/// A graph within the job's own: what is known of its surroundings.
struct Flattening<'a> {
    /// The names of the nodes around it.
    path: &'a [String],
    /// What its inputs take.
    outer: &'a BTreeMap<String, InputSource>,
    tags: &'a BTreeMap<String, String>,
    hooks: &'a [HookDefinition],
    after: &'a [String],
}

impl Flattening<'_> {
    fn graph(&self, graph: &GraphDefinition, steps: &mut Vec<StepDefinition>) {
        for node in &graph.nodes {
            let path: Vec<String> = self.path.iter().chain([&node.alias]).cloned().collect();
            let mut tags = self.tags.clone();
            tags.extend(node.settings.tags.clone());
            let mut hooks = self.hooks.to_vec();
            hooks.extend(node.settings.hooks.iter().cloned());
            let mut after = self.after.to_vec();
            for alias in &node.after {
                after.extend(self.last_steps(graph, alias));
            }
            let sources: BTreeMap<String, InputSource> =
                node.bindings.iter().map(|(input, binding)| (input.clone(), self.source(graph, binding))).collect();
            match &node.of {
                NodeOf::Graph(inner) => {
                    let flattening =
                        Flattening { path: &path, outer: &sources, tags: &tags, hooks: &hooks, after: &after };
                    flattening.graph(inner, steps);
                }
                NodeOf::Op(op) => {
                    let mut step = plain(op);
                    for input in &mut step.inputs {
                        input.source = sources.get(&input.name).cloned().unwrap_or(InputSource::Config);
                    }
                    step.key = path.join(".");
                    step.config_path = path;
                    step.after = after;
                    step.tags.extend(tags);
                    step.retry = node.settings.retry.clone().or(step.retry);
                    step.hooks.extend(hooks);
                    steps.push(step);
                }
            }
        }
    }

    fn source(&self, graph: &GraphDefinition, binding: &Binding) -> InputSource {
        match binding {
            Binding::One(origin) => self.origin(graph, origin),
            Binding::Collected(origin) => match self.origin(graph, origin) {
                InputSource::Step(output) => InputSource::Collected(output),
                other => other,
            },
            Binding::Many(origins) => {
                let all = origins.iter().flat_map(|origin| self.origin(graph, origin).steps().to_vec());
                InputSource::Many(all.collect())
            }
        }
    }

    /// What gives a value, through all graphs down to the step.
    fn origin(&self, graph: &GraphDefinition, origin: &Origin) -> InputSource {
        match origin {
            Origin::Config => InputSource::Config,
            Origin::Input(name) => self.outer.get(name).cloned().unwrap_or(InputSource::Config),
            Origin::Output { node, output } => {
                let Some(made) = graph.nodes.iter().find(|other| other.alias == *node) else {
                    return InputSource::Config;
                };
                let path: Vec<String> = self.path.iter().chain([node]).cloned().collect();
                match &made.of {
                    NodeOf::Op(_) => InputSource::Step(StepOutputRef { step: path.join("."), output: output.clone() }),
                    NodeOf::Graph(inner) => {
                        let outer = made.bindings.iter().map(|(i, b)| (i.clone(), self.source(graph, b))).collect();
                        let within = Flattening { path: &path, outer: &outer, ..*self };
                        let inside = inner.outputs.iter().find(|(name, _)| name == output);
                        inside.map_or(InputSource::Config, |(_, origin)| within.origin(inner, origin))
                    }
                }
            }
        }
    }

    /// The steps of a node: all of them have to be done for the node to be.
    fn last_steps(&self, graph: &GraphDefinition, alias: &str) -> Vec<String> {
        fn keys(node: &NodeOf, path: &str, found: &mut Vec<String>) {
            match node {
                NodeOf::Op(_) => found.push(path.to_owned()),
                NodeOf::Graph(graph) => {
                    graph.nodes.iter().for_each(|node| keys(&node.of, &format!("{path}.{}", node.alias), found));
                }
            }
        }
        let mut found = Vec::new();
        if let Some(node) = graph.nodes.iter().find(|node| node.alias == alias) {
            let path: Vec<&str> = self.path.iter().map(String::as_str).chain([alias]).collect();
            keys(&node.of, &path.join("."), &mut found);
        }
        found
    }
}
