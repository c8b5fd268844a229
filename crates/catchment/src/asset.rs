//! The definition of an asset.

use std::any::TypeId;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use catchment_model::Problem;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::check::CheckResult;
use crate::context::AssetContext;
use crate::extract::Need;
use crate::output::{Output, Returned, Staged, StepOutput};
use crate::partitions::PartitionsDefinition;

pub(crate) type Body = Arc<dyn Fn(AssetContext) -> BoxFuture<'static, Result<StepOutput, Problem>> + Send + Sync>;
pub(crate) type Check = Arc<dyn Fn(&Staged) -> CheckResult + Send + Sync>;

/// An asset: its key, what it needs, and the function that makes it. `#[asset]` writes this for a function;
/// by hand it is `AssetDefinition::new::<Result<T, Problem>>("key").body(|ctx| async move { … })`.
#[derive(Clone)]
pub struct AssetDefinition {
    pub(crate) key: String,
    pub(crate) group: String,
    pub(crate) kinds: Vec<String>,
    pub(crate) description: String,
    pub(crate) deps: Vec<String>,
    pub(crate) partitions: Option<String>,
    pub(crate) needs: Vec<Need>,
    pub(crate) seen_as: (TypeId, &'static str),
    pub(crate) staged: bool,
    pub(crate) checks: Vec<Check>,
    pub(crate) body: Body,
}

impl AssetDefinition {
    /// Begins an asset whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "an asset without its body is no asset yet")]
    pub fn new<R: Returned>(key: &str) -> AssetBuilder<R::Value> {
        AssetBuilder {
            key: key.to_owned(),
            group: "default".to_owned(),
            kinds: Vec::new(),
            description: String::new(),
            deps: Vec::new(),
            partitions: None,
            needs: Vec::new(),
            value: PhantomData,
        }
    }

    /// The asset's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Adds a check of what the asset staged; it is evaluated before the commit.
    pub fn check(mut self, check: impl Fn(&Staged) -> CheckResult + Send + Sync + 'static) -> Self {
        self.checks.push(Arc::new(check));
        self
    }

    /// The keys of the assets that it needs, with and without their value, in the order of the arguments.
    pub fn upstream(&self) -> Vec<&str> {
        let inputs = self.needs.iter().filter_map(|need| match need {
            Need::Input { asset, .. } => Some(asset.as_str()),
            _ => None,
        });
        let mut keys: Vec<&str> = Vec::new();
        for key in inputs.chain(self.deps.iter().map(String::as_str)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// JSON Schema of its config, where it takes one.
    pub(crate) fn config_schema(&self) -> Option<Value> {
        self.needs.iter().find_map(|need| match need {
            Need::Config { schema, .. } => Some(schema()),
            _ => None,
        })
    }

    /// Whether its config may not be left out.
    pub(crate) fn requires_config(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::Config { check, .. } if check(&json!({})).is_err()))
    }
}

/// An asset without its function.
pub struct AssetBuilder<T> {
    key: String,
    group: String,
    kinds: Vec<String>,
    description: String,
    deps: Vec<String>,
    partitions: Option<String>,
    needs: Vec<Need>,
    value: PhantomData<fn() -> T>,
}

impl<T: Output> AssetBuilder<T> {
    /// The group that it is shown in.
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// What it is made with or of.
    pub fn kinds<const N: usize>(mut self, kinds: [&str; N]) -> Self {
        self.kinds = kinds.map(str::to_owned).to_vec();
        self
    }

    /// Assets that it needs without taking their value.
    pub fn deps<const N: usize>(mut self, deps: [&str; N]) -> Self {
        self.deps = deps.map(str::to_owned).to_vec();
        self
    }

    /// The partitions definition.
    pub fn partitions(mut self, partitions: &PartitionsDefinition) -> Self {
        self.partitions = Some(partitions.name().to_owned());
        self
    }

    /// What it is.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// What an argument needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The function that makes it.
    pub fn body<F, Fut>(self, body: F) -> AssetDefinition
    where
        F: Fn(AssetContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        AssetDefinition {
            key: self.key,
            group: self.group,
            kinds: self.kinds,
            description: self.description,
            deps: self.deps,
            partitions: self.partitions,
            needs: self.needs,
            seen_as: T::seen_as(),
            staged: T::is_staged(),
            checks: Vec::new(),
            body: Arc::new(move |context| body(context).map(|made| made.map(Output::into_output)).boxed()),
        }
    }
}
