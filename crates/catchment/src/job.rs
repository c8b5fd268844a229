//! Jobs: which assets are made together in one run.

/// A job over assets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDefinition {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) assets: Vec<String>,
    pub(crate) concurrency: Option<usize>,
}

/// A job that makes these assets, each once those before it are made.
pub fn asset_job<const N: usize>(name: &str, assets: [&str; N]) -> JobDefinition {
    JobDefinition {
        name: name.to_owned(),
        description: String::new(),
        assets: assets.map(str::to_owned).to_vec(),
        concurrency: None,
    }
}

impl JobDefinition {
    /// What it does.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// How many steps of one run may work at once (default: the number of cores).
    pub fn concurrency(mut self, steps: usize) -> Self {
        self.concurrency = Some(steps.max(1));
        self
    }
}
