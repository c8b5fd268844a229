//! Jobs: what is run together.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::graph::GraphDefinition;
use crate::hook::HookDefinition;
use crate::partitions::PartitionsDefinition;

/// A job: assets that are made together, or a graph of ops.
#[derive(Clone)]
pub struct JobDefinition {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) of: JobOf,
    pub(crate) concurrency: Option<usize>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) hooks: Vec<HookDefinition>,
    pub(crate) partitions: Option<PartitionsDefinition>,
    /// Run config under whatever a run is launched with.
    pub(crate) default_config: Value,
}

/// What a job runs.
#[derive(Clone)]
pub(crate) enum JobOf {
    /// Assets, by selection.
    Assets(Vec<String>),
    /// Ops.
    Graph(Box<GraphDefinition>),
}

/// A job that makes these assets, each once those before it are made. Each item is a key, or a selection as the API
/// and the command line take it ([`catchment_core::selection`]): `*` (all), `group:name`, `kind:name`,
/// `tag:key=value`, `+a` and `a+` (with everything upstream, downstream), `1+a` (with one level), `a and not b`.
pub fn asset_job<const N: usize>(name: &str, assets: [&str; N]) -> JobDefinition {
    JobDefinition::of(name, JobOf::Assets(assets.map(str::to_owned).to_vec()))
}

impl GraphDefinition {
    /// A job that runs this graph. `#[job]` does both at once.
    pub fn to_job(self, name: &str) -> JobDefinition {
        let description = self.description.clone();
        JobDefinition::of(name, JobOf::Graph(Box::new(self))).description(&description)
    }
}

impl JobDefinition {
    fn of(name: &str, of: JobOf) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            of,
            concurrency: None,
            tags: BTreeMap::new(),
            hooks: Vec::new(),
            partitions: None,
            default_config: json!({}),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// How many steps of one run may work at once (default: the number of cores); run config may say otherwise in
    /// `execution.config.max_concurrent`.
    pub fn concurrency(mut self, steps: usize) -> Self {
        self.concurrency = Some(steps.max(1));
        self
    }

    /// A tag of each of its runs.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// A hook of each of its steps.
    pub fn hook(mut self, hook: HookDefinition) -> Self {
        self.hooks.push(hook);
        self
    }

    /// The partitions of a job of ops; a job of assets has theirs.
    pub fn partitions(mut self, partitions: &PartitionsDefinition) -> Self {
        self.partitions = Some(partitions.clone());
        self
    }

    /// Run config that holds wherever a run is launched without its own.
    pub fn config(mut self, run_config: Value) -> Self {
        self.default_config = run_config;
        self
    }
}
