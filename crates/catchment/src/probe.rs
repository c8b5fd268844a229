//! What a type that user code gives or takes can do, found out where the type is written.
//!
//! A value only needs `Serialize` and `DeserializeOwned` where it is kept outside the run's process, so no argument
//! or result can demand them. The attributes ask instead: `(&&&&&&Probe::<T>::NEW).port("result")` finds the first of
//! the traits in [`levels`] that holds for `T` (method lookup takes the receiver with the most references first), and
//! so learns whether `T` can be stored, and whether it is one of the SDK's own wrappers ([`Staged`], [`Optional`],
//! a list of [`DynamicOutput`]…).

use std::any::{Any, TypeId, type_name};
use std::marker::PhantomData;
use std::sync::Arc;

use catchment_model::Fault;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::check::CheckResult;
use crate::config;
use crate::extract::{Input, Inputs};
use crate::materialization::{Materialization, Observation};
use crate::output::{Committed, DynamicOutput, Optional, OutputPort, PortKind, Produced, SharedValue, Staged};

/// How values of one type are written as JSON and read again.
#[derive(Clone, Copy)]
pub struct Codec {
    encode: fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>, String>,
    decode: fn(&[u8]) -> Result<SharedValue, String>,
    read: fn(&Value, &str) -> Result<SharedValue, Fault>,
}

impl Codec {
    /// The codec of `T`.
    pub fn of<T: Serialize + DeserializeOwned + Send + Sync + 'static>() -> Self {
        Self {
            encode: |value| {
                let value = value.downcast_ref::<T>().ok_or_else(|| format!("it is no {}", type_name::<T>()))?;
                serde_json::to_vec(value).map_err(|error| error.to_string())
            },
            decode: |bytes| {
                let value: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                Ok(Arc::new(value))
            },
            read: |value, root| config::read::<T>(value, root).map(|value| Arc::new(value) as SharedValue),
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// Where it is of another type, or has no JSON form.
    pub fn encode(&self, value: &SharedValue) -> Result<Vec<u8>, String> {
        (self.encode)(value.as_ref())
    }

    /// The value that JSON stands for.
    ///
    /// # Errors
    /// Where the bytes are not of this type.
    pub fn decode(&self, bytes: &[u8]) -> Result<SharedValue, String> {
        (self.decode)(bytes)
    }

    /// The value in a run config; the path of a fault begins with `root`.
    ///
    /// # Errors
    /// The fault.
    pub fn read(&self, value: &Value, root: &str) -> Result<SharedValue, Fault> {
        (self.read)(value, root)
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec")
    }
}

/// Asks about `T`.
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// The question.
    pub const NEW: Self = Self(PhantomData);
}

/// A type of the SDK that an op may return around (or instead of) a plain value.
pub trait Wrapper: Send + 'static {
    /// The value that steps downstream see.
    type Inner: Any + Send + Sync;
    /// Whether the output may be left out.
    const OPTIONAL: bool = false;
    /// What it stands for.
    fn kind() -> PortKind {
        PortKind::Value
    }
    /// Unwraps it.
    fn give(self) -> Produced;
}

impl Wrapper for Staged {
    type Inner = Committed;
    fn kind() -> PortKind {
        PortKind::Staged
    }
    fn give(self) -> Produced {
        Produced::Staged { staged: Box::new(self), materialization: Materialization::new() }
    }
}

impl<T: Any + Send + Sync> Wrapper for Optional<T> {
    type Inner = T;
    const OPTIONAL: bool = true;
    fn give(self) -> Produced {
        self.0.map_or(Produced::Nothing, plain)
    }
}

/// An [`Optional`] around another wrapper: it stands for what that one stands for.
pub trait OptionalWrapper: Send + 'static {
    /// The wrapper inside.
    type Wrapper: Wrapper;
    /// Unwraps both.
    fn give(self) -> Produced;
}

impl<W: Wrapper> OptionalWrapper for Optional<W> {
    type Wrapper = W;
    fn give(self) -> Produced {
        self.0.map_or(Produced::Nothing, W::give)
    }
}

impl<T: Any + Send + Sync> Wrapper for (T, Materialization) {
    type Inner = T;
    fn kind() -> PortKind {
        if TypeId::of::<T>() == TypeId::of::<Staged>() { PortKind::Staged } else { PortKind::Value }
    }
    fn give(self) -> Produced {
        let materialization = self.1;
        let value: Box<dyn Any + Send + Sync> = Box::new(self.0);
        match value.downcast::<Staged>() {
            Ok(staged) => Produced::Staged { staged, materialization },
            Err(value) => Produced::Value { value: Arc::from(value), materialization },
        }
    }
}

impl<T: Any + Send + Sync> Wrapper for Vec<DynamicOutput<T>> {
    type Inner = T;
    fn kind() -> PortKind {
        PortKind::Dynamic
    }
    fn give(self) -> Produced {
        Produced::Dynamic(self.into_iter().map(|output| (output.key, Arc::new(output.value) as SharedValue)).collect())
    }
}

impl Wrapper for Materialization {
    type Inner = ();
    fn give(self) -> Produced {
        Produced::Value { value: Arc::new(()), materialization: self }
    }
}

impl Wrapper for Observation {
    type Inner = ();
    fn kind() -> PortKind {
        PortKind::Observation
    }
    fn give(self) -> Produced {
        Produced::Observation(self)
    }
}

impl Wrapper for CheckResult {
    type Inner = ();
    fn kind() -> PortKind {
        PortKind::Check
    }
    fn give(self) -> Produced {
        Produced::Check(Box::new(self))
    }
}

fn plain<T: Any + Send + Sync>(value: T) -> Produced {
    Produced::Value { value: Arc::new(value), materialization: Materialization::new() }
}

fn port<T: Any>(name: &str, kind: PortKind, is_optional: bool, codec: Option<Codec>) -> OutputPort {
    let (type_id, type_name) = match kind {
        PortKind::Staged => (TypeId::of::<Committed>(), type_name::<Committed>()),
        _ => (TypeId::of::<T>(), type_name::<T>()),
    };
    OutputPort { name: name.to_owned(), kind, type_id, type_name, is_optional, codec, io_manager: None }
}

/// The traits that a [`Probe`] is asked through, from the narrowest to the widest.
pub mod levels {
    use super::{
        Any, Codec, DeserializeOwned, Input, Inputs, OptionalWrapper, OutputPort, PortKind, Probe, Produced, Serialize,
        Wrapper,
    };

    macro_rules! level {
        ($(#[$doc:meta])* $name:ident: [$($bounds:tt)*] for $receiver:ty, $port:expr, $give:expr) => {
            $(#[$doc])*
            pub trait $name {
                /// What is returned.
                type Given;
                /// The output of that name.
                fn port(&self, name: &str) -> OutputPort;
                /// What was returned, sorted.
                fn give(&self, given: Self::Given) -> Produced;
            }

            level!(@impl $name [$($bounds)*] $receiver, $port, $give);
        };
        (@impl $name:ident [$($bounds:tt)*] $receiver:ty, $port:expr, $give:expr) => {
            impl<$($bounds)*> $name for $receiver {
                type Given = T;
                fn port(&self, name: &str) -> OutputPort {
                    $port(name)
                }
                fn give(&self, given: T) -> Produced {
                    $give(given)
                }
            }
        };
    }

    type Inner<T> = <<T as OptionalWrapper>::Wrapper as Wrapper>::Inner;

    level! {
        /// A wrapper that may be left out, around a value that can be stored.
        StoredOptional: [T: OptionalWrapper<Wrapper: Wrapper<Inner: Serialize + DeserializeOwned>>] for &&&&&Probe<T>,
        |name| super::port::<Inner<T>>(name, T::Wrapper::kind(), true, Some(Codec::of::<Inner<T>>())),
        T::give
    }
    level! {
        /// A wrapper around a value that can be stored.
        StoredWrapper: [T: Wrapper<Inner: Serialize + DeserializeOwned>] for &&&&Probe<T>,
        |name| super::port::<T::Inner>(name, T::kind(), T::OPTIONAL, Some(Codec::of::<T::Inner>())),
        T::give
    }
    level! {
        /// A value that can be stored.
        StoredValue: [T: Serialize + DeserializeOwned + Any + Send + Sync] for &&&Probe<T>,
        |name| super::port::<T>(name, PortKind::Value, false, Some(Codec::of::<T>())),
        super::plain
    }
    level! {
        /// A wrapper that may be left out, around any value.
        PlainOptional: [T: OptionalWrapper] for &&Probe<T>,
        |name| super::port::<Inner<T>>(name, T::Wrapper::kind(), true, None),
        T::give
    }
    level! {
        /// A wrapper around any value.
        PlainWrapper: [T: Wrapper] for &Probe<T>,
        |name| super::port::<T::Inner>(name, T::kind(), T::OPTIONAL, None),
        T::give
    }
    level! {
        /// Any value.
        PlainValue: [T: Any + Send + Sync] for Probe<T>,
        |name| super::port::<T>(name, PortKind::Value, false, None),
        super::plain
    }

    /// An argument whose value can be stored.
    pub trait StoredArgument {
        /// How.
        fn codec(&self) -> Option<Codec>;
    }

    impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> StoredArgument for &&Probe<Input<T>> {
        fn codec(&self) -> Option<Codec> {
            Some(Codec::of::<T>())
        }
    }

    impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> StoredArgument for &&Probe<Inputs<T>> {
        fn codec(&self) -> Option<Codec> {
            Some(Codec::of::<T>())
        }
    }

    /// Any other argument.
    pub trait PlainArgument {
        /// None.
        fn codec(&self) -> Option<Codec>;
    }

    impl<T> PlainArgument for Probe<T> {
        fn codec(&self) -> Option<Codec> {
            None
        }
    }
}
