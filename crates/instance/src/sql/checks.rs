//! Evaluations of checks: planned, done, or left undone by their run.

use std::collections::HashMap;

use catchment_core::{EventKind, NewEvent, Run, RunId, RunStatus};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::query::CHUNK;
use super::{Sql, WriteTx, events, projection, rows};
use crate::{CheckExecution, CheckStatus, Result};

const SELECT: &str = "SELECT e.id, e.asset_key, e.check_name, e.partition_key, e.run_id, e.status, e.timestamp, \
     e.evaluation_id FROM check_executions e";
/// What a step says of itself: by the newest of these it is known whether it came to evaluate its checks.
const STEP_KINDS: [EventKind; 6] = [
    EventKind::StepStart,
    EventKind::StepSuccess,
    EventKind::StepFailure,
    EventKind::StepSkipped,
    EventKind::StepUpForRetry,
    EventKind::StepRestarted,
];

/// A run is about to evaluate a check.
pub(super) async fn planned(tx: &mut WriteTx, asset: &str, event: &NewEvent) -> Result<()> {
    match check_name(event) {
        Some(check) if projection::is_live(tx, event.run_id).await? => {
            insert(tx, asset, check, event, CheckStatus::InProgress, None).await
        }
        _ => Ok(()),
    }
}

/// A check was evaluated: as its run had planned, once more in the same run, or without a run.
pub(super) async fn evaluated(tx: &mut WriteTx, asset: &str, event: &NewEvent, id: i64) -> Result<()> {
    let Some(check) = check_name(event) else { return Ok(()) };
    let passed = event.data.get("passed").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let status = if passed { CheckStatus::Succeeded } else { CheckStatus::Failed };
    let known = if event.run_id == RunId::NONE { None } else { known(tx, asset, check, event).await? };
    let Some(known) = known else { return insert(tx, asset, check, event, status, Some(id)).await };
    let mut sql = Sql::new("UPDATE check_executions SET status = ");
    sql.bind(text(status)).push(", evaluation_id = ").bind(id);
    sql.push(", timestamp = ").bind(event.timestamp.as_microsecond());
    sql.push(", partition_key = ").bind(event.partition().unwrap_or_default());
    sql.push(" WHERE id = ").bind(known);
    sql.execute(&mut **tx).await?;
    Ok(())
}

/// Decides the evaluations that a run had planned and that it ended without.
pub(super) async fn run_ended(tx: &mut WriteTx, run: &Run) -> Result<()> {
    let mut sql = Sql::new("SELECT id, step_key FROM check_executions WHERE status = 'IN_PROGRESS' AND run_id = ");
    sql.bind(run.run_id.to_string());
    for row in sql.all(&mut **tx).await? {
        let broken = match row.try_get::<Option<&str>, _>("step_key")? {
            Some(step) => step_broke(tx, run.run_id, step).await?,
            None => run.status == RunStatus::Failure,
        };
        let status = if broken { CheckStatus::ExecutionFailed } else { CheckStatus::Skipped };
        let mut sql = Sql::new("UPDATE check_executions SET status = ");
        sql.bind(text(status)).push(" WHERE id = ").bind(row.try_get::<i64, _>("id")?);
        sql.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Evaluations of a check, newest first.
pub(super) async fn list(
    db: &mut AnyConnection,
    asset: &str,
    check: &str,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<CheckExecution>> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE e.asset_key = ").bind(asset).push(" AND e.check_name = ").bind(check);
    sql.push(" AND e.id < ").bind(before.unwrap_or(i64::MAX));
    sql.push(" ORDER BY e.id DESC LIMIT ").bind(i64::from(limit));
    let found = sql.all(&mut *db).await?;
    with_evaluations(db, &found).await
}

/// The newest evaluation of each check of these assets.
pub(super) async fn latest(db: &mut AnyConnection, assets: &[String]) -> Result<Vec<CheckExecution>> {
    let mut found = Vec::new();
    for some in assets.chunks(CHUNK) {
        let mut sql = Sql::new(SELECT);
        sql.push(" JOIN checks c ON c.execution_id = e.id WHERE c.asset_key IN ");
        sql.bind_list(some.iter().map(String::as_str)).push(" ORDER BY c.asset_key, c.check_name");
        found.extend(sql.all(&mut *db).await?);
    }
    with_evaluations(db, &found).await
}

/// The newest evaluation of a check for each partition.
pub(super) async fn latest_of_partitions(
    db: &mut AnyConnection,
    asset: &str,
    check: &str,
) -> Result<Vec<CheckExecution>> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE e.id IN (SELECT max(id) FROM check_executions WHERE asset_key = ").bind(asset);
    sql.push(" AND check_name = ").bind(check).push(" GROUP BY partition_key) ORDER BY e.id");
    let found = sql.all(&mut *db).await?;
    with_evaluations(db, &found).await
}

/// Whether a step had begun and did not end well.
async fn step_broke(tx: &mut WriteTx, run_id: RunId, step: &str) -> Result<bool> {
    let mut sql = Sql::new("SELECT kind FROM events WHERE run_id = ");
    sql.bind(run_id.to_string()).push(" AND step_key = ").bind(step);
    sql.push(" AND kind IN ").bind_list(STEP_KINDS.map(EventKind::as_str)).push(" ORDER BY id DESC LIMIT 1");
    let newest = sql.optional(&mut **tx).await?;
    let newest = newest.map(|row| rows::parsed::<EventKind>(&row, "kind")).transpose()?;
    Ok(!matches!(newest, None | Some(EventKind::StepSuccess | EventKind::StepSkipped)))
}

/// What the run has of the check: the same partition before one that was planned without saying which.
async fn known(tx: &mut WriteTx, asset: &str, check: &str, event: &NewEvent) -> Result<Option<i64>> {
    let mut sql = Sql::new("SELECT id FROM check_executions WHERE run_id = ");
    sql.bind(event.run_id.to_string()).push(" AND asset_key = ").bind(asset).push(" AND check_name = ").bind(check);
    sql.push(" AND (partition_key = ").bind(event.partition().unwrap_or_default());
    sql.push(" OR (partition_key = '' AND status = 'IN_PROGRESS')) ORDER BY partition_key DESC, id DESC LIMIT 1");
    Ok(sql.optional(&mut **tx).await?.map(|row| row.try_get(0)).transpose()?)
}

async fn insert(
    tx: &mut WriteTx,
    asset: &str,
    check: &str,
    event: &NewEvent,
    status: CheckStatus,
    evaluation: Option<i64>,
) -> Result<()> {
    let mut sql = Sql::new(
        "INSERT INTO check_executions \
         (asset_key, check_name, partition_key, run_id, step_key, status, timestamp, evaluation_id) VALUES (",
    );
    sql.bind(asset).push(", ").bind(check).push(", ").bind(event.partition().unwrap_or_default());
    sql.push(", ").bind(event.run_id.to_string()).push(", ").bind(event.step_key.as_deref());
    sql.push(", ").bind(text(status)).push(", ").bind(event.timestamp.as_microsecond());
    sql.push(", ").bind(evaluation).push(") RETURNING id");
    let id: i64 = sql.one(&mut **tx).await?.try_get(0)?;
    let mut sql = Sql::new("INSERT INTO checks (asset_key, check_name, execution_id) VALUES (");
    sql.bind(asset).push(", ").bind(check).push(", ").bind(id);
    sql.push(") ON CONFLICT (asset_key, check_name) DO UPDATE SET execution_id = excluded.execution_id");
    sql.execute(&mut **tx).await?;
    Ok(())
}

async fn with_evaluations(db: &mut AnyConnection, found: &[AnyRow]) -> Result<Vec<CheckExecution>> {
    let mut ids: Vec<i64> = Vec::new();
    for row in found {
        ids.extend(row.try_get::<Option<i64>, _>("evaluation_id")?);
    }
    let mut evaluations = HashMap::new();
    for some in ids.chunks(CHUNK) {
        let mut sql = Sql::new(format!("SELECT {} FROM events WHERE id IN ", events::COLUMNS));
        sql.bind_list(some.iter().copied());
        for row in sql.all(&mut *db).await? {
            let event = events::event(&row)?;
            evaluations.insert(event.id, event);
        }
    }
    let mut executions = Vec::new();
    for row in found {
        let evaluation: Option<i64> = row.try_get("evaluation_id")?;
        let partition: String = row.try_get("partition_key")?;
        executions.push(CheckExecution {
            id: row.try_get("id")?,
            asset_key: row.try_get("asset_key")?,
            check_name: row.try_get("check_name")?,
            partition: (!partition.is_empty()).then_some(partition),
            run_id: rows::parsed(row, "run_id")?,
            status: status(row.try_get("status")?)?,
            timestamp: rows::time(row, "timestamp")?,
            evaluation: evaluation.and_then(|id| evaluations.remove(&id)),
        });
    }
    Ok(executions)
}

fn check_name(event: &NewEvent) -> Option<&str> {
    event.data.get("check_name")?.as_str()
}

fn text(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::InProgress => "IN_PROGRESS",
        CheckStatus::Succeeded => "SUCCEEDED",
        CheckStatus::Failed => "FAILED",
        CheckStatus::ExecutionFailed => "EXECUTION_FAILED",
        CheckStatus::Skipped => "SKIPPED",
    }
}

fn status(stored: &str) -> Result<CheckStatus> {
    use CheckStatus as S;
    [S::InProgress, S::Succeeded, S::Failed, S::ExecutionFailed, S::Skipped]
        .into_iter()
        .find(|status| text(*status) == stored)
        .ok_or_else(|| rows::corrupt("status", format!("`{stored}` is no status of a check")))
}
