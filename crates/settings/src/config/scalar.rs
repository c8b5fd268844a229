//! Scalars that may come from a variable, and so as text: `"10"` is as good as `10`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserializer, Error, Unexpected, Visitor};

struct Number<T>(PhantomData<T>);

impl<T: TryFrom<i64> + FromStr> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if T::try_from(-1).is_ok() { "a whole number" } else { "a whole number, 0 or more" })
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<T, E> {
        T::try_from(v).map_err(|_| E::invalid_value(Unexpected::Signed(v), &self))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<T, E> {
        i64::try_from(v)
            .ok()
            .and_then(|v| T::try_from(v).ok())
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(v), &self))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<T, E> {
        v.trim().parse().map_err(|_| E::invalid_value(Unexpected::Str(v), &self))
    }
}

/// A whole number.
pub(super) fn number<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: TryFrom<i64> + FromStr,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Number(PhantomData))
}

/// A whole number, or nothing.
pub(super) fn some_number<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<i64> + FromStr,
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(Maybe(Number(PhantomData)))
}

/// The same, or nothing: a key without a value, or `null`.
struct Maybe<V>(V);

impl<T: TryFrom<i64> + FromStr> Visitor<'_> for Maybe<Number<T>> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Option<T>, E> {
        self.0.visit_i64(v).map(Some)
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Option<T>, E> {
        self.0.visit_u64(v).map(Some)
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Option<T>, E> {
        self.0.visit_str(v).map(Some)
    }
}

struct Flag;

impl Visitor<'_> for Flag {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<bool, E> {
        Ok(v)
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<bool, E> {
        v.trim().to_ascii_lowercase().parse().map_err(|_| E::invalid_value(Unexpected::Str(v), &self))
    }
}

/// `true` or `false`.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Flag)
}
