//! Runs: each change of state goes through the state machine, with its event, in one transaction.

use async_trait::async_trait;
use catchment_core::state::{Command, Refused, transition};
use catchment_core::{EventKind, Level, NewEvent, NewRun, Run, RunId, RunStatus};
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, QueryBuilder};

use super::rows::{self, RUN_COLUMNS, to_json};
use super::{SqliteInstance, events};
use crate::{InstanceError, Lease, Result, RunFilter, Runs};

#[async_trait]
impl Runs for SqliteInstance {
    async fn enqueue(&self, run: NewRun, now: Timestamp) -> Result<Run> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(known) = select(&mut tx, run.run_id).await? {
            return Err(Refused { from: known.status, command: Command::Enqueue.name() }.into());
        }
        let run = insert(&mut tx, run, now).await?;
        tx.commit().await?;
        Ok(run)
    }

    async fn run(&self, run_id: RunId) -> Result<Option<Run>> {
        select(&mut *self.readers.acquire().await?, run_id).await
    }

    async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(RUN_COLUMNS).push(" FROM runs WHERE 1");
        if !filter.statuses.is_empty() {
            let mut list = query.push(" AND status IN (").separated(", ");
            for status in &filter.statuses {
                list.push_bind(status.as_str());
            }
            query.push(")");
        }
        if let Some(job) = &filter.job_name {
            query.push(" AND job_name = ").push_bind(job);
        }
        if let Some(partition) = &filter.partition_key {
            query.push(" AND partition_key = ").push_bind(partition);
        }
        for (key, value) in &filter.tags {
            query.push(" AND seq IN (SELECT seq FROM run_tags WHERE key = ").push_bind(key);
            query.push(" AND value = ").push_bind(value).push(")");
        }
        if let Some(before) = before {
            let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM runs WHERE run_id = ?")
                .bind(before.to_string())
                .fetch_optional(&self.readers)
                .await?;
            query.push(" AND seq < ").push_bind(seq.ok_or_else(|| not_found(before))?);
        }
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(limit);
        query.build().fetch_all(&self.readers).await?.iter().map(rows::run).collect()
    }

    async fn live_runs(&self) -> Result<Vec<Run>> {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs INDEXED BY runs_live \
             WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED') ORDER BY seq"
        );
        // Only names of columns that are written here go into the text.
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.readers).await?.iter().map(rows::run).collect()
    }

    async fn command(
        &self,
        run_id: RunId,
        command: Command,
        lease: Option<Lease>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Run> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut run = select(&mut tx, run_id).await?.ok_or_else(|| not_found(run_id))?;
        check_lease(&run, lease)?;
        let (status, kind) = transition(run.status, &command)?;
        apply(&mut run, status, &command, until, now);
        update(&mut tx, &run).await?;
        events::insert(&mut tx, &state_event(run_id, kind, &command, now)).await?;
        tx.commit().await?;
        Ok(run)
    }

    async fn renew(&self, lease: Lease, pid: u32, until: Timestamp) -> Result<Run> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut run = select(&mut tx, lease.run_id).await?.ok_or_else(|| not_found(lease.run_id))?;
        check_lease(&run, Some(lease))?;
        if !run.status.is_final() {
            run.pid = Some(pid);
            // Whoever looks further ahead wins: the launcher and the process both renew at the start.
            run.lease_until = run.lease_until.max(Some(until));
            update(&mut tx, &run).await?;
            tx.commit().await?;
        }
        Ok(run)
    }

    async fn revoke(&self, run_id: RunId, _now: Timestamp) -> Result<i64> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut run = select(&mut tx, run_id).await?.ok_or_else(|| not_found(run_id))?;
        if run.status.is_final() {
            return Err(Refused { from: run.status, command: "revoke" }.into());
        }
        run.lease_epoch += 1;
        run.lease_until = None;
        update(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(run.lease_epoch)
    }
}

pub(super) fn not_found(run_id: RunId) -> InstanceError {
    InstanceError::NotFound(format!("run {run_id}"))
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

/// What a command does to the run's row, besides its status.
fn apply(run: &mut Run, status: RunStatus, command: &Command, until: Option<Timestamp>, now: Timestamp) {
    run.status = status;
    match command {
        Command::Launch => {
            run.lease_epoch += 1;
            run.launched_at = Some(now);
            run.lease_until = until;
            run.pid = None;
        }
        Command::Start => {
            run.started_at = Some(now);
            run.lease_until = until.or(run.lease_until);
        }
        Command::Requeue => {
            run.lease_epoch += 1;
            run.launched_at = None;
            run.lease_until = None;
            run.pid = None;
        }
        Command::Fail(problem) if status == RunStatus::Failure => run.problem = Some(problem.clone()),
        _ => {}
    }
    if status.is_final() {
        run.ended_at = Some(now);
        run.lease_until = None;
    }
}

fn state_event(run_id: RunId, kind: EventKind, command: &Command, timestamp: Timestamp) -> NewEvent {
    let message = match kind {
        EventKind::RunEnqueued if matches!(command, Command::Requeue) => {
            "The run waits in the queue again: no process of it had started".to_owned()
        }
        EventKind::RunEnqueued => "The run waits in the queue".to_owned(),
        EventKind::RunStarting => "The run's process is being started".to_owned(),
        EventKind::RunStart => "The run's process works".to_owned(),
        EventKind::RunSuccess => "The run ended well".to_owned(),
        EventKind::RunCanceling => "The run was asked to end early".to_owned(),
        EventKind::RunCanceled => "The run ended early, as asked".to_owned(),
        _ => match command {
            Command::Fail(problem) => format!("The run failed: {problem}"),
            other => format!("The run took the command `{}`", other.name()),
        },
    };
    let (level, data) = match command {
        Command::Fail(problem) => (Level::Error, serde_json::json!({ "problem": problem })),
        _ => (Level::Info, serde_json::Value::Null),
    };
    NewEvent { run_id, timestamp, kind, step_key: None, level, message, data }
}

pub(super) async fn select(db: &mut SqliteConnection, run_id: RunId) -> Result<Option<Run>> {
    let row = sqlx::query("SELECT * FROM runs WHERE run_id = ?").bind(run_id.to_string()).fetch_optional(db).await?;
    row.as_ref().map(rows::run).transpose()
}

/// Writes a new run in status QUEUED, its tags and its event.
pub(super) async fn insert(db: &mut SqliteConnection, run: NewRun, now: Timestamp) -> Result<Run> {
    let (status, kind) = transition(RunStatus::NotStarted, &Command::Enqueue)?;
    let tags = to_json(&run.tags)?;
    let done = sqlx::query(
        "INSERT INTO runs (run_id, job_name, location, status, run_config, tags, partition_key, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run.run_id.to_string())
    .bind(&run.job_name)
    .bind(&run.location)
    .bind(status.as_str())
    .bind(to_json(&run.run_config)?)
    .bind(&tags)
    .bind(&run.partition_key)
    .bind(now.as_microsecond())
    .execute(&mut *db)
    .await?;
    sqlx::query("INSERT INTO run_tags (key, value, seq) SELECT key, value, ? FROM json_each(?)")
        .bind(done.last_insert_rowid())
        .bind(&tags)
        .execute(&mut *db)
        .await?;
    events::insert(db, &state_event(run.run_id, kind, &Command::Enqueue, now)).await?;
    Ok(Run {
        run_id: run.run_id,
        job_name: run.job_name,
        location: run.location,
        status,
        run_config: run.run_config,
        tags: run.tags,
        partition_key: run.partition_key,
        created_at: now,
        launched_at: None,
        started_at: None,
        ended_at: None,
        lease_epoch: 0,
        lease_until: None,
        pid: None,
        problem: None,
    })
}

/// Writes what may change of a run.
async fn update(db: &mut SqliteConnection, run: &Run) -> Result<()> {
    let micros = |time: Option<Timestamp>| time.map(Timestamp::as_microsecond);
    sqlx::query(
        "UPDATE runs SET status = ?, launched_at = ?, started_at = ?, ended_at = ?, lease_epoch = ?, \
         lease_until = ?, pid = ?, problem = ? WHERE run_id = ?",
    )
    .bind(run.status.as_str())
    .bind(micros(run.launched_at))
    .bind(micros(run.started_at))
    .bind(micros(run.ended_at))
    .bind(run.lease_epoch)
    .bind(micros(run.lease_until))
    .bind(run.pid)
    .bind(run.problem.as_ref().map(to_json).transpose()?)
    .bind(run.run_id.to_string())
    .execute(db)
    .await?;
    Ok(())
}
