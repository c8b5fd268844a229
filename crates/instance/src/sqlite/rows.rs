//! Between rows and the types of `catchment-core`.

use std::str::FromStr;

use catchment_core::sensor::{Claim, ClaimKey};
use catchment_core::{Event, EventKind, Level, NewEvent, Run};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::{InstanceError, Result, Tick, TickStatus};

pub(super) const RUN_COLUMNS: &str = "run_id, job_name, location, status, run_config, tags, partition_key, \
     created_at, launched_at, started_at, ended_at, lease_epoch, lease_until, pid, problem";

/// What a column holds is not what this version writes there.
fn corrupt(column: &str, error: impl std::fmt::Display) -> InstanceError {
    InstanceError::Corrupt(format!("column {column}: {error}"))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| InstanceError::Database(format!("a value cannot be written as JSON: {e}")))
}

fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    serde_json::from_str(row.try_get::<&str, _>(column)?).map_err(|e| corrupt(column, e))
}

fn optional_json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<Option<T>> {
    row.try_get::<Option<&str>, _>(column)?
        .map(|text| serde_json::from_str(text).map_err(|e| corrupt(column, e)))
        .transpose()
}

fn parsed<T: FromStr<Err: std::fmt::Display>>(row: &SqliteRow, column: &str) -> Result<T> {
    row.try_get::<&str, _>(column)?.parse().map_err(|e| corrupt(column, e))
}

fn from_micros(column: &str, micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|e| corrupt(column, e))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    from_micros(column, row.try_get(column)?)
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    row.try_get::<Option<i64>, _>(column)?.map(|micros| from_micros(column, micros)).transpose()
}

pub(super) fn run(row: &SqliteRow) -> Result<Run> {
    Ok(Run {
        run_id: parsed(row, "run_id")?,
        job_name: row.try_get("job_name")?,
        location: row.try_get("location")?,
        status: parsed(row, "status")?,
        run_config: json(row, "run_config")?,
        tags: json(row, "tags")?,
        partition_key: row.try_get("partition_key")?,
        created_at: time(row, "created_at")?,
        launched_at: optional_time(row, "launched_at")?,
        started_at: optional_time(row, "started_at")?,
        ended_at: optional_time(row, "ended_at")?,
        lease_epoch: row.try_get("lease_epoch")?,
        lease_until: optional_time(row, "lease_until")?,
        pid: row.try_get::<Option<u32>, _>("pid")?,
        problem: optional_json(row, "problem")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<Event> {
    Ok(Event {
        id: row.try_get("id")?,
        event: NewEvent {
            run_id: parsed(row, "run_id")?,
            timestamp: time(row, "timestamp")?,
            kind: parsed::<EventKind>(row, "kind")?,
            step_key: row.try_get("step_key")?,
            level: level(row.try_get("level")?)?,
            message: row.try_get("message")?,
            data: optional_json(row, "data")?.unwrap_or_default(),
        },
    })
}

fn level(text: &str) -> Result<Level> {
    [Level::Debug, Level::Info, Level::Warning, Level::Error]
        .into_iter()
        .find(|l| l.as_str() == text)
        .ok_or_else(|| corrupt("level", format!("`{text}` is no level")))
}

pub(super) fn tick(row: &SqliteRow) -> Result<Tick> {
    let status = row.try_get::<&str, _>("status")?;
    Ok(Tick {
        id: row.try_get("id")?,
        sensor: row.try_get("sensor")?,
        status: TickStatus::ALL
            .into_iter()
            .find(|s| s.as_str() == status)
            .ok_or_else(|| corrupt("status", format!("`{status}` is no status of a tick")))?,
        started_at: time(row, "started_at")?,
        ended_at: optional_time(row, "ended_at")?,
        run_ids: json(row, "run_ids")?,
        duplicate_run_keys: json(row, "duplicate_run_keys")?,
        rejected: json(row, "rejected")?,
        skip_reason: row.try_get("skip_reason")?,
        problem: optional_json(row, "problem")?,
    })
}

pub(super) fn claim(row: &SqliteRow) -> Result<Claim> {
    Ok(Claim {
        claim: ClaimKey { key: row.try_get("key")?, etag: row.try_get("etag")? },
        outcome: json(row, "outcome")?,
    })
}
