//! Resources: what user code works with that outlives a step (an engine, a store), found by name and type and
//! built when it is first needed, once a process.

use std::any::{Any, TypeId, type_name};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use catchment_model::{Code, Problem};
use catchment_settings::{Environment, Home};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::definitions::Definitions;

type Build =
    Arc<dyn Fn(ResourceContext) -> BoxFuture<'static, Result<Arc<dyn Any + Send + Sync>, Problem>> + Send + Sync>;

/// How a resource is built, and of which type it is.
#[derive(Clone)]
pub struct ResourceDefinition {
    pub(crate) name: String,
    pub(crate) type_id: TypeId,
    pub(crate) type_name: &'static str,
    build: Build,
}

impl ResourceDefinition {
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

/// What a resource is built from: the environment, the home folder, other resources.
#[derive(Clone)]
pub struct ResourceContext {
    resources: Resources,
    chain: Vec<String>,
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
    surroundings: Surroundings,
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
        Self(Arc::new(Inner { slots: definitions.into_iter().map(slot).collect(), surroundings }))
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
        if chain.iter().any(|earlier| earlier == name) {
            chain.push(name.to_owned());
            return Err(Problem::new(Code::InvalidConfig, "resources need each other in a circle")
                .place(chain.join(" → "))
                .remedy("build one of them without the other"));
        }
        chain.push(name.to_owned());
        let context = ResourceContext { resources: self.clone(), chain };
        let built = slot.built.get_or_try_init(|| (slot.definition.build)(context)).await?;
        built
            .downcast_ref::<Arc<T>>()
            .cloned()
            .ok_or_else(|| wrong_type(name, slot.definition.type_name, type_name::<T>()))
    }

    fn missing(&self, name: &str, wanted: &str) -> Problem {
        let there: Vec<_> = self.0.slots.keys().map(String::as_str).collect();
        missing_resource(name, wanted, &there)
    }
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
