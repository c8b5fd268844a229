//! Extractors: the arguments of user code, and what each of them needs.

use std::any::{TypeId, type_name};
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use catchment_model::{Code, Fault, Problem};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config;
use crate::context::{AssetContext, Context};

/// What an argument needs, known before anything runs.
#[derive(Debug, Clone)]
pub enum Need {
    /// The value of an asset upstream; the edge too.
    Input {
        /// The asset's key.
        asset: String,
        /// The type of the value.
        type_id: TypeId,
        /// Its name, for messages.
        type_name: &'static str,
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

/// A type that may stand as an argument of user code whose context is `C`.
///
/// `argument` is the argument's name, or the text of `#[from("…")]` before it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument here: it is no extractor for `{C}`",
    label = "not an extractor",
    note = "assets take AssetContext, Input<T>, Config<T>, Res<T> and Partition; sensors take SensorContext and \
            Res<T>; claim handlers take ClaimContext, Claim and Res<T>"
)]
pub trait FromContext<C: Context>: Sized + Send {
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

/// The value of the asset upstream that the argument is named after. In a test: `Input::of(value)`.
#[derive(Debug)]
pub struct Input<T: ?Sized>(pub Arc<T>);

wrapper!(Input);

impl<T> Input<T> {
    /// Wraps a value, for a test.
    pub fn of(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: Send + Sync + 'static> FromContext<AssetContext> for Input<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![Need::Input { asset: argument.to_owned(), type_id: TypeId::of::<T>(), type_name: type_name::<T>() }]
    }

    async fn from_context(context: &AssetContext, argument: &str) -> Result<Self, Problem> {
        let value = context.input(argument).ok_or_else(|| {
            Problem::new(Code::InvalidInput, format!("the asset `{argument}` gave no value in this run"))
                .place(context.step_key().to_owned())
                .remedy("run it in the same job")
        })?;
        value.downcast::<T>().map(Self).map_err(|_| {
            Problem::new(Code::InvalidInput, format!("the value of `{argument}` is not a {}", type_name::<T>()))
                .place(context.step_key().to_owned())
                .remedy(
                    "give the argument the type that the asset upstream returns (Committed where it returns Staged)",
                )
        })
    }
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

impl<T: DeserializeOwned + JsonSchema + Send> FromContext<AssetContext> for Config<T> {
    fn needs(_: &str) -> Vec<Need> {
        vec![Need::Config { schema: config::schema_of::<T>, check: |value| config::read::<T>(value, "$").map(drop) }]
    }

    async fn from_context(context: &AssetContext, _: &str) -> Result<Self, Problem> {
        let place = format!("$.ops.{}.config", context.step_key());
        config::read(context.config(), &place).map(Self).map_err(|fault| config::problem(vec![fault]))
    }
}

/// The resource that the argument is named after, of this type; `T` may be a trait object. In a test:
/// `Res::from(Arc::new(fake))`.
#[derive(Debug)]
pub struct Res<T: ?Sized>(pub Arc<T>);

wrapper!(Res);

impl<T: ?Sized + Send + Sync + 'static, C: Context> FromContext<C> for Res<T> {
    fn needs(argument: &str) -> Vec<Need> {
        vec![Need::Resource { name: argument.to_owned(), type_id: TypeId::of::<T>(), type_name: type_name::<T>() }]
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

impl FromContext<AssetContext> for Partition {
    fn needs(_: &str) -> Vec<Need> {
        vec![Need::Partition]
    }

    async fn from_context(context: &AssetContext, _: &str) -> Result<Self, Problem> {
        context.partition_key().map(|key| Self(key.to_owned())).ok_or_else(|| {
            Problem::new(Code::InvalidInput, "this run has no partition")
                .place(context.step_key().to_owned())
                .remedy("launch it with a partition")
        })
    }
}
