//! Resources: what user code works with that outlives a step (an engine, a store), found by name and type and
//! built when it is first needed, once a process.

use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use catchment_core::definitions::ResourceSpec;
use catchment_core::{EventKind, Level};
use catchment_instance::SharedInstance;
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, Home};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::config;
use crate::definitions::Definitions;
use crate::executor::journal::Journal;
use crate::extract::{Config, FromContext, Need, Res};
use crate::io_manager::IoManager;
use crate::op::{config_schema, requires_config};
use crate::waits::Waits;

type Build =
    Arc<dyn Fn(ResourceContext) -> BoxFuture<'static, Result<Arc<dyn Any + Send + Sync>, Problem>> + Send + Sync>;

/// How a resource is built, and of which type it is.
#[derive(Clone)]
pub struct ResourceDefinition {
    pub(crate) name: String,
    pub(crate) type_id: TypeId,
    pub(crate) type_name: &'static str,
    pub(crate) description: String,
    pub(crate) needs: Vec<Need>,
    /// Its config, where a run does not say otherwise.
    pub(crate) default_config: Option<Value>,
    build: Build,
}

impl ResourceDefinition {
    /// What it is, for people.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// What an argument needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Its config, where a run does not say otherwise (`resources.<name>.config` of the run config).
    pub fn configured(mut self, config: Value) -> Self {
        self.default_config = Some(config);
        self
    }

    /// What it is called, where that is not as its function is.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Whether it is an IO manager.
    pub(crate) fn is_io_manager(&self) -> bool {
        self.type_id == TypeId::of::<dyn IoManager>()
    }

    /// Whether a run has to give it config.
    pub(crate) fn requires_config(&self) -> bool {
        self.default_config.is_none() && requires_config(&self.needs)
    }

    /// As the control plane sees it.
    pub(crate) fn spec(&self) -> ResourceSpec {
        ResourceSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            type_name: self.type_name.to_owned(),
            config_schema: config_schema(&self.needs),
            is_io_manager: self.is_io_manager(),
        }
    }

    /// A resource that `build` makes. `T` may be a trait object: `Ok(Arc::new(x) as Arc<dyn Engine>)`.
    pub fn new<T, F, Fut>(name: impl Into<String>, build: F) -> Self
    where
        T: ?Sized + Send + Sync + 'static,
        F: Fn(ResourceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<T>, Problem>> + Send + 'static,
    {
        Self {
            name: name.into(),
            type_id: TypeId::of::<T>(),
            type_name: type_name::<T>(),
            description: String::new(),
            needs: Vec::new(),
            default_config: None,
            build: Arc::new(move |context| {
                build(context).map(|built| built.map(|value| Arc::new(value) as Arc<dyn Any + Send + Sync>)).boxed()
            }),
        }
    }

    /// A resource that is there already: a fake in a test.
    pub fn ready<T: ?Sized + Send + Sync + 'static>(name: impl Into<String>, value: Arc<T>) -> Self {
        Self::new(name, move |_| std::future::ready(Ok(value.clone())))
    }
}

/// What a resource is built from: its config, the environment, the home folder, other resources.
#[derive(Clone)]
pub struct ResourceContext {
    resources: Resources,
    chain: Vec<String>,
    config: Value,
}

impl FromContext<ResourceContext> for ResourceContext {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &ResourceContext, _: &str) -> Result<Self, Problem> {
        Ok(context.clone())
    }
}

impl<T: serde::de::DeserializeOwned + schemars::JsonSchema + Send> FromContext<ResourceContext> for Config<T> {
    fn needs(_: &str) -> Vec<Need> {
        vec![Self::need()]
    }

    async fn from_context(context: &ResourceContext, _: &str) -> Result<Self, Problem> {
        let name = context.chain.last().cloned().unwrap_or_default();
        Self::from_config(&context.config, &config::place_of_resource(&name))
    }
}

impl<T: ?Sized + Send + Sync + 'static> FromContext<ResourceContext> for Res<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![Self::need(argument)]
    }

    async fn from_context(context: &ResourceContext, argument: &str) -> Result<Self, Problem> {
        context.resource(argument).await.map(Self)
    }
}

impl ResourceContext {
    /// What the environment says.
    pub fn environment(&self) -> &Environment {
        &self.resources.0.surroundings.environment
    }

    /// The home folder.
    pub fn home(&self) -> &Home {
        &self.resources.0.surroundings.home
    }

    /// Another resource, built first where it is not there yet.
    ///
    /// # Errors
    /// Where there is none of that name and type, it cannot be built, or it needs this one itself.
    pub async fn resource<T: ?Sized + Send + Sync + 'static>(&self, name: &str) -> Result<Arc<T>, Problem> {
        self.resources.get_along(name, self.chain.clone()).await
    }
}

/// Where a process of a code location lives.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What the environment says.
    pub environment: Environment,
    /// The home folder.
    pub home: Home,
}

struct Slot {
    definition: ResourceDefinition,
    built: OnceCell<Arc<dyn Any + Send + Sync>>,
}

struct Inner {
    slots: BTreeMap<String, Slot>,
    /// `resources` of the run config.
    run_config: Value,
    surroundings: Surroundings,
    instance: Arc<OnceCell<SharedInstance>>,
    /// Where the making of a resource is told, in a run.
    journal: Option<Journal>,
    /// Which resource waits for which while it is made.
    waits: Waits,
}

/// The resources of a process, each built when it is first asked for.
#[derive(Clone)]
pub struct Resources(Arc<Inner>);

impl Resources {
    /// The resources of a code location; none of them is built yet.
    pub fn of(definitions: &Definitions, surroundings: Surroundings) -> Self {
        Self::new(definitions.resources.iter().cloned(), surroundings)
    }

    /// None of them is built yet. A later definition takes the place of an earlier one of the same name.
    pub fn new(definitions: impl IntoIterator<Item = ResourceDefinition>, surroundings: Surroundings) -> Self {
        let slot =
            |definition: ResourceDefinition| (definition.name.clone(), Slot { definition, built: OnceCell::new() });
        let slots = definitions.into_iter().map(slot).collect();
        Self(Arc::new(Inner {
            slots,
            run_config: Value::Null,
            surroundings,
            instance: Arc::default(),
            journal: None,
            waits: Waits::default(),
        }))
    }

    /// The same for one run, none of them built: its run config may override theirs, and its log tells of them. They go
    /// when the run has ended.
    pub(crate) fn configured(&self, run_config: &Value, journal: Option<Journal>) -> Self {
        let slots =
            self.0.slots.iter().map(|(name, slot)| {
                (name.clone(), Slot { definition: slot.definition.clone(), built: OnceCell::new() })
            });
        Self(Arc::new(Inner {
            slots: slots.collect(),
            run_config: run_config.get("resources").cloned().unwrap_or_default(),
            surroundings: self.0.surroundings.clone(),
            instance: self.0.instance.clone(),
            journal,
            waits: Waits::default(),
        }))
    }

    /// The state of the orchestrator, opened when it is first asked for.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn instance(&self) -> Result<SharedInstance, Problem> {
        let open = || async { catchment_instance::open(&self.0.surroundings.home).await.map_err(Problem::from) };
        self.0.instance.get_or_try_init(open).await.cloned()
    }

    /// Gives user code the state that is open already.
    pub(crate) fn share_instance(&self, instance: &SharedInstance) {
        // Where it was opened before, both are the same state.
        self.0.instance.set(instance.clone()).ok();
    }

    /// The IO manager of that name.
    pub(crate) async fn io_manager(&self, name: &str) -> Result<Arc<dyn IoManager>, Problem> {
        self.get::<dyn IoManager>(name).await
    }

    /// Whether there is a resource of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.slots.contains_key(name)
    }

    /// The resource of that name and type.
    ///
    /// # Errors
    /// Where there is none, or it cannot be built.
    pub async fn get<T: ?Sized + Send + Sync + 'static>(&self, name: &str) -> Result<Arc<T>, Problem> {
        self.get_along(name, Vec::new()).await
    }

    /// Where the process lives.
    pub fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    async fn get_along<T: ?Sized + Send + Sync + 'static>(
        &self,
        name: &str,
        mut chain: Vec<String>,
    ) -> Result<Arc<T>, Problem> {
        let slot = self.0.slots.get(name).ok_or_else(|| self.missing(name, type_name::<T>()))?;
        if slot.definition.type_id != TypeId::of::<T>() {
            return Err(wrong_type(name, slot.definition.type_name, type_name::<T>()));
        }
        // A chain that meets itself is a way back too.
        let _waits = match chain.last().filter(|_| !slot.built.initialized()) {
            None => None,
            Some(last) => Some(self.0.waits.begin(last, name).map_err(|way| {
                let circle: Vec<&str> = match chain.iter().position(|earlier| earlier == name) {
                    Some(at) => chain[at..].iter().map(String::as_str).chain([name]).collect(),
                    None => [last].into_iter().chain(&way).map(String::as_str).collect(),
                };
                in_a_circle(&circle)
            })?),
        };
        chain.push(name.to_owned());
        let given = self.0.run_config.get(name).and_then(|resource| resource.get("config")).cloned();
        let config = given.or_else(|| slot.definition.default_config.clone()).unwrap_or_else(|| json!({}));
        let context = ResourceContext { resources: self.clone(), chain, config };
        let built = slot.built.get_or_try_init(|| self.build(&slot.definition, context)).await?;
        built
            .downcast_ref::<Arc<T>>()
            .cloned()
            .ok_or_else(|| wrong_type(name, slot.definition.type_name, type_name::<T>()))
    }

    async fn build(
        &self,
        definition: &ResourceDefinition,
        context: ResourceContext,
    ) -> Result<Arc<dyn Any + Send + Sync>, Problem> {
        let name = &definition.name;
        let tell = |kind, level, message: String, more: Value| {
            if let Some(journal) = &self.0.journal {
                let data = json!({"resource": name, "problem": more});
                journal.tell(vec![journal.event(kind, None, level, message, data)]);
            }
        };
        tell(EventKind::ResourceInitStarted, Level::Debug, format!("the resource `{name}` is being made"), Value::Null);
        match (definition.build)(context).await {
            Ok(built) => {
                tell(
                    EventKind::ResourceInitSuccess,
                    Level::Debug,
                    format!("the resource `{name}` is made"),
                    Value::Null,
                );
                Ok(built)
            }
            Err(problem) => {
                let what = format!("the resource `{name}` cannot be made: {}", problem.what);
                let problem = Problem { what, ..problem };
                tell(EventKind::ResourceInitFailure, Level::Error, problem.to_string(), json!(problem));
                Err(problem)
            }
        }
    }

    fn missing(&self, name: &str, wanted: &str) -> Problem {
        let there: Vec<_> = self.0.slots.keys().map(String::as_str).collect();
        missing_resource(name, wanted, &there)
    }
}

pub(crate) fn in_a_circle(circle: &[&str]) -> Problem {
    Problem::new(Code::InvalidConfig, "resources need each other in a circle")
        .place(circle.join(" → "))
        .remedy("build one of them without the other")
}

pub(crate) fn missing_resource(name: &str, wanted: &str, there: &[&str]) -> Problem {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Problem::new(Code::InvalidConfig, format!("there is no resource `{name}` of the type {wanted}"))
        .cause(format!("defined are: {there}"))
        .remedy(format!(
            "add `.resource(\"{name}\", …)` to the definitions, or name the argument as the resource is named"
        ))
}

pub(crate) fn wrong_type(name: &str, is: &str, wanted: &str) -> Problem {
    Problem::new(Code::InvalidConfig, format!("the resource `{name}` is a {is}, not a {wanted}"))
        .remedy("give the argument the type that the resource is built as")
}
