//! Ops: the computations that all else is made of. An asset, several assets of one function, a check: each has an op.

use std::future::Future;
use std::sync::Arc;

use catchment_core::retry::RetryPolicy;
use catchment_model::Problem;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::context::StepContext;
use crate::extract::Need;
use crate::hook::HookDefinition;
use crate::output::{OutputPort, Produced, Returned};
use crate::probe::Codec;

/// The name of an op's output where it has only one.
pub(crate) const RESULT: &str = "result";

pub(crate) type Body = Arc<dyn Fn(StepContext) -> BoxFuture<'static, Result<Vec<Produced>, Problem>> + Send + Sync>;

/// How a step is run, whatever it makes.
#[derive(Clone, Default)]
pub(crate) struct StepSettings {
    pub(crate) description: String,
    pub(crate) kinds: Vec<String>,
    pub(crate) tags: std::collections::BTreeMap<String, String>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) pool: Option<String>,
    pub(crate) code_version: Option<String>,
    pub(crate) hooks: Vec<HookDefinition>,
}

/// A computation: its name, what it takes, what it gives, and the function. `#[op]` writes this for a function.
#[derive(Clone)]
pub struct OpDefinition {
    pub(crate) name: String,
    pub(crate) needs: Vec<Need>,
    pub(crate) outputs: Vec<OutputPort>,
    pub(crate) settings: StepSettings,
    pub(crate) body: Body,
}

impl OpDefinition {
    /// Begins an op whose function returns `R`.
    #[allow(clippy::new_ret_no_self, reason = "an op without its body is no op yet")]
    pub fn new<R: Returned>(name: &str) -> OpBuilder {
        OpBuilder { name: name.to_owned(), needs: Vec::new(), outputs: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The IO manager that keeps its outputs, by the name of a resource.
    pub fn io_manager(mut self, name: &str) -> Self {
        self.outputs.iter_mut().for_each(|output| output.io_manager = Some(name.to_owned()));
        self
    }

    /// The inputs that take values: argument's name and codec.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(|need| matches!(need, Need::Input { .. }))
    }

    /// JSON Schema of its config, where it takes one.
    pub(crate) fn config_schema(&self) -> Option<Value> {
        config_schema(&self.needs)
    }

    /// Whether its config may not be left out.
    pub(crate) fn requires_config(&self) -> bool {
        requires_config(&self.needs)
    }

    /// Whether one of its outputs fans out.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.outputs.iter().any(|output| output.kind == crate::output::PortKind::Dynamic)
    }
}

pub(crate) fn config_schema(needs: &[Need]) -> Option<Value> {
    needs.iter().find_map(|need| match need {
        Need::Config { schema, .. } => Some(schema()),
        _ => None,
    })
}

pub(crate) fn requires_config(needs: &[Need]) -> bool {
    needs.iter().any(|need| matches!(need, Need::Config { check, .. } if check(&json!({})).is_err()))
}

/// The settings that every kind of step has, as methods of its definition.
macro_rules! step_settings {
    ($definition:ident, $($op:ident)?) => {
        impl $definition {
            /// What it is made with or of.
            pub fn kinds<const N: usize>(mut self, kinds: [&str; N]) -> Self {
                self$(.$op)?.settings.kinds = kinds.map(str::to_owned).to_vec();
                self
            }

            /// A tag of its step.
            pub fn tag(mut self, key: &str, value: &str) -> Self {
                self$(.$op)?.settings.tags.insert(key.to_owned(), value.to_owned());
                self
            }

            /// When its step is tried again within its run.
            pub fn retry(mut self, policy: ::catchment_core::retry::RetryPolicy) -> Self {
                self$(.$op)?.settings.retry = Some(policy);
                self
            }

            /// The concurrency pool that its step needs a slot of.
            pub fn pool(mut self, pool: &str) -> Self {
                self$(.$op)?.settings.pool = Some(pool.to_owned());
                self
            }

            /// The version of its code.
            pub fn code_version(mut self, version: &str) -> Self {
                self$(.$op)?.settings.code_version = Some(version.to_owned());
                self
            }

            /// What is called when its step has ended well or has failed.
            pub fn hook(mut self, hook: $crate::hook::HookDefinition) -> Self {
                self$(.$op)?.settings.hooks.push(hook);
                self
            }

            /// What it is.
            pub fn description(mut self, description: &str) -> Self {
                description.clone_into(&mut self$(.$op)?.settings.description);
                self
            }
        }
    };
}

pub(crate) use step_settings;

step_settings!(OpDefinition,);

/// An op without its function.
pub struct OpBuilder {
    name: String,
    needs: Vec<Need>,
    outputs: Vec<OutputPort>,
}

impl OpBuilder {
    /// What an argument needs, and how the value that it takes is stored, where it takes one that can be.
    pub fn needs(mut self, needs: Vec<Need>, codec: Option<Codec>) -> Self {
        self.needs.extend(needs.into_iter().map(|need| need.with_codec(codec)));
        self
    }

    /// An output.
    pub fn output(mut self, port: OutputPort) -> Self {
        self.outputs.push(port);
        self
    }

    /// The function: it gives something for each output, in their order.
    pub fn body<F, Fut>(self, body: F) -> OpDefinition
    where
        F: Fn(StepContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<Produced>, Problem>> + Send + 'static,
    {
        OpDefinition {
            name: self.name,
            needs: self.needs,
            outputs: self.outputs,
            settings: StepSettings::default(),
            body: Arc::new(move |context| body(context).boxed()),
        }
    }
}
