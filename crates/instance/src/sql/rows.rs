//! Between columns and values.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::{InstanceError, Result};

/// What a column holds is not what this version writes there.
pub(crate) fn corrupt(column: &str, error: impl Display) -> InstanceError {
    InstanceError::Corrupt(format!("column {column}: {error}"))
}

/// A value as JSON.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| InstanceError::Database(format!("a value cannot be written as JSON: {e}")))
}

/// An optional value as JSON.
pub(crate) fn to_optional_json<T: Serialize>(value: Option<&T>) -> Result<Option<String>> {
    value.map(to_json).transpose()
}

/// A time as it is stored.
pub(crate) fn micros(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_microsecond)
}

/// A column of JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get::<&str, _>(column)?).map_err(|e| corrupt(column, e))
}

/// A column of JSON or NULL.
pub(crate) fn optional_json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?
        .map(|text| serde_json::from_str(text).map_err(|e| corrupt(column, e)))
        .transpose()
}

/// A column of text that a type is read from.
pub(crate) fn parsed<T: FromStr<Err: Display>>(row: &AnyRow, column: &str) -> Result<T> {
    row.try_get::<&str, _>(column)?.parse().map_err(|e| corrupt(column, e))
}

/// A column of such text or NULL.
pub(crate) fn optional_parsed<T: FromStr<Err: Display>>(row: &AnyRow, column: &str) -> Result<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?.map(|text| text.parse().map_err(|e| corrupt(column, e))).transpose()
}

/// A column of a time.
pub(crate) fn time(row: &AnyRow, column: &str) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.try_get(column)?).map_err(|e| corrupt(column, e))
}

/// A column of a time or NULL.
pub(crate) fn optional_time(row: &AnyRow, column: &str) -> Result<Option<Timestamp>> {
    row.try_get::<Option<i64>, _>(column)?
        .map(|micros| Timestamp::from_microsecond(micros).map_err(|e| corrupt(column, e)))
        .transpose()
}

/// A column of a small number that is never negative.
pub(crate) fn number(row: &AnyRow, column: &str) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|e| corrupt(column, e))
}
