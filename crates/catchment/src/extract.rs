//! Extractors: the arguments of user code, and what each of them needs.

use std::any::{TypeId, type_name};
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use catchment_core::partitions::TimeWindow;
use catchment_model::{Code, Fault, Problem};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::context::{Context, InputValue, StepContext};
use crate::output::SharedValue;
use crate::probe::Codec;
use crate::{config, schema};

/// What an argument needs, known before anything runs.
#[derive(Debug, Clone)]
pub enum Need {
    /// A value: of the asset upstream that has this key, or what is wired to the input of an op.
    Input {
        /// The asset's key, or the input's name.
        name: String,
        /// The type of the value.
        type_id: TypeId,
        /// Its name, for messages.
        type_name: &'static str,
        /// Whether it takes several values.
        is_many: bool,
        /// How the value is stored, where it can be.
        codec: Option<Codec>,
    },
    /// A resource.
    Resource {
        /// Its name.
        name: String,
        /// Its type.
        type_id: TypeId,
        /// The type's name, for messages.
        type_name: &'static str,
    },
    /// Config.
    Config {
        /// Its JSON Schema (draft 2020-12).
        schema: fn() -> Value,
        /// Whether a value can be read as it; a path in the fault begins with `$`.
        check: fn(&Value) -> Result<(), Fault>,
    },
    /// A partition.
    Partition,
}

impl Need {
    /// The same; where it is a value, with how that is stored.
    pub(crate) fn with_codec(self, stored: Option<Codec>) -> Self {
        match self {
            Self::Input { name, type_id, type_name, is_many, codec } => {
                Self::Input { name, type_id, type_name, is_many, codec: codec.or(stored) }
            }
            other => other,
        }
    }
}

/// A type that may stand as an argument of user code whose context is `C`.
///
/// `argument` is the argument's name, or the text of `#[from("…")]` before it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument here: it is no extractor for `{C}`",
    label = "not an extractor",
    note = "assets, ops and checks take a context (AssetContext, OpContext, CheckContext), Input<T>, Inputs<T>, \
            Config<T>, Res<T>, Partition, PartitionRange and TimeWindow; sensors take SensorContext, schedules \
            ScheduleContext, hooks HookContext, resources ResourceContext and Config<T>, claim handlers ClaimContext \
            and Claim; all of them take Res<T>"
)]
pub trait FromContext<C>: Sized + Send {
    /// What this argument needs.
    fn needs(argument: &str) -> Vec<Need>;

    /// Takes the argument out of the context.
    ///
    /// # Errors
    /// Where what it needs is not there or cannot be made.
    fn from_context(context: &C, argument: &str) -> impl Future<Output = Result<Self, Problem>> + Send;
}

macro_rules! wrapper {
    ($name:ident) => {
        impl<T: ?Sized> Deref for $name<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: ?Sized> From<Arc<T>> for $name<T> {
            fn from(value: Arc<T>) -> Self {
                Self(value)
            }
        }

        impl<T: ?Sized> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }
    };
}

/// The value of the asset upstream that the argument is named after, or what is wired to this input of an op. In a
/// test: `Input::of(value)`.
#[derive(Debug)]
pub struct Input<T: ?Sized>(pub Arc<T>);

wrapper!(Input);

impl<T> Input<T> {
    /// Wraps a value, for a test.
    pub fn of(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: Send + Sync + 'static> FromContext<StepContext> for Input<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![need_of::<T>(argument, false)]
    }

    async fn from_context(context: &StepContext, argument: &str) -> Result<Self, Problem> {
        match context.input(argument) {
            Some(InputValue::One(value)) => downcast(value, context, argument).map(Self),
            Some(InputValue::Many(_)) => Err(mistyped::<T>(context, argument)),
            None => Err(no_value(context, argument)),
        }
    }
}

/// All values that are wired to an input: of several ops, or of one that fans out, collected. In a test:
/// `Inputs::of([1, 2])`.
#[derive(Debug)]
pub struct Inputs<T>(pub Vec<Arc<T>>);

impl<T> Inputs<T> {
    /// Wraps values, for a test.
    pub fn of(values: impl IntoIterator<Item = T>) -> Self {
        Self(values.into_iter().map(Arc::new).collect())
    }

    /// The values, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Send + Sync + 'static> FromContext<StepContext> for Inputs<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![need_of::<T>(argument, true)]
    }

    async fn from_context(context: &StepContext, argument: &str) -> Result<Self, Problem> {
        let values = match context.input(argument) {
            Some(InputValue::Many(values)) => values,
            Some(InputValue::One(value)) => vec![value],
            None => return Err(no_value(context, argument)),
        };
        values.into_iter().map(|value| downcast(value, context, argument)).collect::<Result<_, _>>().map(Self)
    }
}

fn need_of<T: 'static>(argument: &str, is_many: bool) -> Need {
    let (type_id, type_name) = (TypeId::of::<T>(), type_name::<T>());
    Need::Input { name: argument.to_owned(), type_id, type_name, is_many, codec: None }
}

fn downcast<T: Send + Sync + 'static>(
    value: SharedValue,
    context: &StepContext,
    argument: &str,
) -> Result<Arc<T>, Problem> {
    value.downcast::<T>().map_err(|_| mistyped::<T>(context, argument))
}

fn mistyped<T>(context: &StepContext, argument: &str) -> Problem {
    Problem::new(Code::InvalidInput, format!("the value of `{argument}` is not a {}", type_name::<T>()))
        .place(context.step_key().to_owned())
        .remedy("give the argument the type that the asset upstream returns (Committed where it returns Staged)")
}

fn no_value(context: &StepContext, argument: &str) -> Problem {
    Problem::new(Code::InvalidInput, format!("`{argument}` gave no value in this run"))
        .place(context.step_key().to_owned())
        .remedy("run what gives it in the same job")
}

/// The step's config (`ops.<step>.config` of the run config), read by serde, with a JSON Schema that run config
/// is checked against before a run is launched. In a test: `Config(value)`.
#[derive(Debug, Clone)]
pub struct Config<T>(pub T);

impl<T> Deref for Config<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned + JsonSchema> Config<T> {
    pub(crate) fn need() -> Need {
        Need::Config { schema: schema::schema_of::<T>, check: |value| config::read::<T>(value, "$").map(drop) }
    }

    /// Reads it from what stands in the run config at `place`, with the values of environment variables.
    pub(crate) fn from_config(config: &Value, place: &str) -> Result<Self, Problem> {
        config::read_resolved(config, &schema::schema_of::<T>(), place).map(Self).map_err(|f| config::problem(vec![f]))
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> FromContext<StepContext> for Config<T> {
    fn needs(_: &str) -> Vec<Need> {
        vec![Self::need()]
    }

    async fn from_context(context: &StepContext, _: &str) -> Result<Self, Problem> {
        Self::from_config(context.config(), &context.config_place())
    }
}

/// The resource that the argument is named after, of this type; `T` may be a trait object. In a test:
/// `Res::from(Arc::new(fake))`.
#[derive(Debug)]
pub struct Res<T: ?Sized>(pub Arc<T>);

wrapper!(Res);

impl<T: ?Sized + 'static> Res<T> {
    pub(crate) fn need(argument: &str) -> Need {
        Need::Resource { name: argument.to_owned(), type_id: TypeId::of::<T>(), type_name: type_name::<T>() }
    }
}

impl<T: ?Sized + Send + Sync + 'static, C: Context> FromContext<C> for Res<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![Self::need(argument)]
    }

    async fn from_context(context: &C, argument: &str) -> Result<Self, Problem> {
        context.resources().get(argument).await.map(Self)
    }
}

/// The key of the partition that the run works on. In a test: `Partition("parcels".into())`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition(pub String);

impl Deref for Partition {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl FromContext<StepContext> for Partition {
    fn needs(_: &str) -> Vec<Need> {
        vec![Need::Partition]
    }

    async fn from_context(context: &StepContext, _: &str) -> Result<Self, Problem> {
        context.partition_key().map(|key| Self(key.to_owned())).ok_or_else(|| {
            let problem = no_partition(context);
            match context.partition_range() {
                None => problem,
                Some(_) => problem.cause("it works on a range of partitions").remedy("take a PartitionRange instead"),
            }
        })
    }
}

/// The partitions that the run works on, from `start` to `end`, both included: one, or a range where a backfill puts
/// many into one run. In a test: `PartitionRange::new("a", "c")`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRange {
    /// The first key.
    pub start: String,
    /// The last key.
    pub end: String,
}

impl PartitionRange {
    /// From `start` to `end`, both included.
    pub fn new(start: impl Into<String>, end: impl Into<String>) -> Self {
        Self { start: start.into(), end: end.into() }
    }
}

impl FromContext<StepContext> for PartitionRange {
    fn needs(_: &str) -> Vec<Need> {
        vec![Need::Partition]
    }

    async fn from_context(context: &StepContext, _: &str) -> Result<Self, Problem> {
        context.partition_range().ok_or_else(|| no_partition(context))
    }
}

impl FromContext<StepContext> for TimeWindow {
    fn needs(_: &str) -> Vec<Need> {
        vec![Need::Partition]
    }

    async fn from_context(context: &StepContext, _: &str) -> Result<Self, Problem> {
        context.time_window().ok_or_else(|| {
            let range = context.partition_range();
            range.map_or_else(
                || no_partition(context),
                |range| {
                    Problem::new(Code::InvalidInput, format!("the partition `{}` is no window of time", range.start))
                        .place(context.step_key().to_owned())
                        .remedy("give the asset time-window partitions, or take a Partition")
                },
            )
        })
    }
}

fn no_partition(context: &StepContext) -> Problem {
    Problem::new(Code::InvalidInput, "this run has no partition")
        .place(context.step_key().to_owned())
        .remedy("launch it with a partition")
}
