//! Rows of runs, inside a transaction.

use catchment_core::state::{Command, transition};
use catchment_core::{EventKind, Level, NewEvent, NewRun, Run, RunId, RunKey, RunStatus};
use catchment_settings::wake::Hint;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, micros, to_json, to_optional_json};
use super::{Sql, WriteTx, events, texts};
use crate::{InstanceError, Lease, Result};

pub(super) const RUN_COLUMNS: &str = "run_id, job_name, location, status, run_config, tags, partition_key, selection, \
     parent_run_id, root_run_id, created_at, launched_at, started_at, ended_at, lease_epoch, lease_until, process, problem";
/// Runs that are not final: the condition of the index `runs_live`.
pub(super) const LIVE: &str = "status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')";

/// The run of a row that has [`RUN_COLUMNS`].
pub(super) fn run(row: &AnyRow) -> Result<Run> {
    Ok(Run {
        run_id: rows::parsed(row, "run_id")?,
        job_name: row.try_get("job_name")?,
        location: row.try_get("location")?,
        status: rows::parsed(row, "status")?,
        run_config: rows::json(row, "run_config")?,
        tags: rows::json(row, "tags")?,
        partition_key: row.try_get("partition_key")?,
        selection: rows::json(row, "selection")?,
        parent_run_id: rows::optional_parsed(row, "parent_run_id")?,
        root_run_id: rows::optional_parsed(row, "root_run_id")?,
        created_at: rows::time(row, "created_at")?,
        launched_at: rows::optional_time(row, "launched_at")?,
        started_at: rows::optional_time(row, "started_at")?,
        ended_at: rows::optional_time(row, "ended_at")?,
        lease_epoch: row.try_get("lease_epoch")?,
        lease_until: rows::optional_time(row, "lease_until")?,
        process: row.try_get("process")?,
        problem: rows::optional_json(row, "problem")?,
    })
}

pub(super) fn not_found(run_id: RunId) -> InstanceError {
    InstanceError::NotFound(format!("run {run_id}"))
}

/// Reads a run to change it: nobody else changes it before the transaction has ended.
pub(super) async fn select(tx: &mut WriteTx, run_id: RunId) -> Result<Option<Run>> {
    let mut sql = Sql::new(format!("SELECT {RUN_COLUMNS} FROM runs WHERE run_id = "));
    sql.bind(run_id.to_string()).push(tx.dialect().for_update());
    sql.optional(&mut **tx).await?.as_ref().map(run).transpose()
}

/// The run of a lease that must be the newest, and stays it until the transaction has ended.
pub(super) async fn hold_lease(tx: &mut WriteTx, lease: Lease) -> Result<Run> {
    let run = select(tx, lease.run_id).await?.ok_or_else(|| not_found(lease.run_id))?;
    check_lease(&run, Some(lease))?;
    Ok(run)
}

/// A caller that shows a lease must show the newest.
pub(super) fn check_lease(run: &Run, lease: Option<Lease>) -> Result<()> {
    match lease {
        Some(lease) if lease.epoch != run.lease_epoch => {
            Err(InstanceError::LeaseLost { run_id: run.run_id, epoch: lease.epoch, newest: run.lease_epoch })
        }
        _ => Ok(()),
    }
}

/// What a command does to the run's row.
pub(super) fn apply(run: &mut Run, status: RunStatus, command: &Command, until: Option<Timestamp>, now: Timestamp) {
    run.status = status;
    match command {
        Command::Launch => {
            run.lease_epoch += 1;
            run.launched_at = Some(now);
            run.lease_until = until;
            run.process = None;
        }
        Command::Start => {
            run.started_at = Some(now);
            run.lease_until = until.or(run.lease_until);
        }
        Command::Requeue => {
            run.lease_epoch += 1;
            run.launched_at = None;
            run.lease_until = None;
            run.process = None;
        }
        Command::ForceCancel => run.lease_epoch += 1,
        Command::Fail(problem) if status == RunStatus::Failure => run.problem = Some(problem.clone()),
        _ => {}
    }
    if status.is_final() {
        run.ended_at = Some(now);
        run.lease_until = None;
    }
}

/// The event that says what a command did.
pub(super) fn state_event(run_id: RunId, kind: EventKind, command: &Command, timestamp: Timestamp) -> NewEvent {
    let message = match kind {
        EventKind::RunEnqueued if matches!(command, Command::Requeue) => {
            "The run waits in the queue again: no process of it had started".to_owned()
        }
        EventKind::RunEnqueued => "The run waits in the queue".to_owned(),
        EventKind::RunStarting => "The run's process is being started".to_owned(),
        EventKind::RunStart => "The run's process works".to_owned(),
        EventKind::RunSuccess => "The run ended well".to_owned(),
        EventKind::RunCanceling => "The run was asked to end early".to_owned(),
        EventKind::RunCanceled if matches!(command, Command::ForceCancel) => {
            "The run was ended at once, whatever its process does".to_owned()
        }
        EventKind::RunCanceled => "The run ended early, as asked".to_owned(),
        _ => match command {
            Command::Fail(problem) => format!("The run failed: {problem}"),
            other => format!("The run took the command `{}`", other.name()),
        },
    };
    let (level, data) = match command {
        Command::Fail(problem) => (Level::Error, serde_json::json!({ "problem": problem })),
        Command::ForceCancel => (Level::Info, serde_json::json!({ "forced": true })),
        _ => (Level::Info, serde_json::Value::Null),
    };
    NewEvent { run_id, timestamp, kind, step_key: None, level, message, data }
}

/// Writes a new run in status QUEUED, its tags and its event.
pub(super) async fn insert(tx: &mut WriteTx, run: NewRun, now: Timestamp) -> Result<Run> {
    let (status, kind) = transition(RunStatus::NotStarted, &Command::Enqueue)?;
    texts::tags(&run.tags)?;
    run.partition_key.as_deref().map_or(Ok(()), |text| texts::key("the partition key", text))?;
    let run = Run {
        run_id: run.run_id,
        job_name: run.job_name,
        location: run.location,
        status,
        run_config: run.run_config,
        tags: run.tags,
        partition_key: run.partition_key,
        selection: run.selection,
        parent_run_id: run.parent_run_id,
        root_run_id: run.root_run_id,
        created_at: now,
        launched_at: None,
        started_at: None,
        ended_at: None,
        lease_epoch: 0,
        lease_until: None,
        process: None,
        problem: None,
    };
    let mut sql = Sql::new(
        "INSERT INTO runs (run_id, job_name, location, status, run_config, tags, partition_key, selection, \
         parent_run_id, root_run_id, created_at) VALUES (",
    );
    sql.bind(run.run_id.to_string()).push(", ").bind(run.job_name.as_str()).push(", ").bind(run.location.as_str());
    sql.push(", ").bind(status.as_str()).push(", ").bind(to_json(&run.run_config)?);
    sql.push(", ").bind(to_json(&run.tags)?).push(", ").bind(run.partition_key.as_deref());
    sql.push(", ").bind(to_json(&run.selection)?).push(", ").bind(run.parent_run_id.map(|id| id.to_string()));
    sql.push(", ").bind(run.root_run_id.map(|id| id.to_string())).push(", ").bind(now.as_microsecond());
    sql.push(") RETURNING seq");
    let seq: i64 = sql.one(&mut **tx).await?.try_get(0)?;
    insert_tags(tx, seq, &run).await?;
    events::insert(tx, &[state_event(run.run_id, kind, &Command::Enqueue, now)]).await?;
    tx.hint(Hint::Runs);
    Ok(run)
}

async fn insert_tags(tx: &mut WriteTx, seq: i64, run: &Run) -> Result<()> {
    if run.tags.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new("INSERT INTO run_tags (key, value, seq) VALUES ");
    for (n, (key, value)) in run.tags.iter().enumerate() {
        sql.push(if n == 0 { "(" } else { ", (" });
        sql.bind(key.as_str()).push(", ").bind(value.as_str()).push(", ").bind(seq).push(")");
    }
    sql.execute(&mut **tx).await?;
    Ok(())
}

/// Writes the tags of a run anew.
pub(super) async fn write_tags(tx: &mut WriteTx, run: &Run) -> Result<()> {
    texts::tags(&run.tags)?;
    let mut sql = Sql::new("UPDATE runs SET tags = ");
    sql.bind(to_json(&run.tags)?).push(" WHERE run_id = ").bind(run.run_id.to_string()).push(" RETURNING seq");
    let seq: i64 = sql.one(&mut **tx).await?.try_get(0)?;
    let mut sql = Sql::new("DELETE FROM run_tags WHERE seq = ");
    sql.bind(seq);
    sql.execute(&mut **tx).await?;
    insert_tags(tx, seq, run).await
}

/// Writes what may change of a run.
pub(super) async fn update(tx: &mut WriteTx, run: &Run) -> Result<()> {
    let mut sql = Sql::new("UPDATE runs SET status = ");
    sql.bind(run.status.as_str()).push(", launched_at = ").bind(micros(run.launched_at));
    sql.push(", started_at = ").bind(micros(run.started_at)).push(", ended_at = ").bind(micros(run.ended_at));
    sql.push(", lease_epoch = ").bind(run.lease_epoch).push(", lease_until = ").bind(micros(run.lease_until));
    sql.push(", process = ").bind(run.process.as_deref());
    sql.push(", problem = ").bind(to_optional_json(run.problem.as_ref())?);
    sql.push(" WHERE run_id = ").bind(run.run_id.to_string());
    sql.execute(&mut **tx).await?;
    Ok(())
}

/// Who used a run key first.
#[derive(Debug)]
pub(super) struct KeyUse {
    /// The run that it was used for.
    pub(super) run_id: RunId,
    /// The key of the outside object that the run was for.
    pub(super) claim_key: Option<String>,
}

/// Uses a run key for a run, or answers who used it before. Another transaction that is about to use the same key is
/// waited for.
pub(super) async fn use_key(
    tx: &mut WriteTx,
    key: &RunKey,
    run_id: RunId,
    claim_key: Option<&str>,
    now: Timestamp,
) -> Result<Option<KeyUse>> {
    let mut sql = Sql::new("INSERT INTO run_keys (scope, key, run_id, claim_key, used_at) VALUES (");
    sql.bind(key.scope.as_str()).push(", ").bind(key.key.as_str()).push(", ").bind(run_id.to_string());
    sql.push(", ").bind(claim_key).push(", ").bind(now.as_microsecond()).push(") ON CONFLICT DO NOTHING");
    if sql.execute(&mut **tx).await? == 1 {
        return Ok(None);
    }
    let mut sql = Sql::new("SELECT run_id, claim_key FROM run_keys WHERE scope = ");
    sql.bind(key.scope.as_str()).push(" AND key = ").bind(key.key.as_str());
    let row = sql.one(&mut **tx).await?;
    Ok(Some(KeyUse { run_id: rows::parsed(&row, "run_id")?, claim_key: row.try_get("claim_key")? }))
}
