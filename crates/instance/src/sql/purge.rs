//! Removing runs and their events. Run keys are never touched: what was asked for once is never made again.
//!
//! A run may have millions of lines, and on SQLite nobody else writes meanwhile: so events go in slices, each in a
//! transaction of its own, and the run at last. What is cut off half-way is taken up by the next call.

use std::collections::HashSet;

use catchment_core::RunId;
use jiff::Timestamp;
use sqlx::Row as _;

use super::query::CHUNK;
use super::{Sql, SqlInstance, rows};
use crate::Result;

/// Events that go in one transaction.
const SLICE: i64 = 5_000;
/// Kinds of events that nobody asks for once their run is history.
const LINES: &str = "kind IN ('LOG', 'ENGINE_EVENT')";

/// Removes log lines of runs that ended before a time, those that ended first first; at most `limit`.
pub(super) async fn events(instance: &SqlInstance, before: Timestamp, limit: u32) -> Result<u64> {
    let mut gone = 0;
    while gone < u64::from(limit) {
        let mut sql = Sql::new("SELECT run_id FROM runs WHERE log_purged = 0 AND ended_at < ");
        sql.bind(before.as_microsecond()).push(" ORDER BY ended_at LIMIT 1");
        let Some(row) = sql.optional(instance.readers()).await? else { break };
        let run_id: String = row.try_get(0)?;
        let slice = SLICE.min(i64::try_from(u64::from(limit) - gone).unwrap_or(SLICE));
        let mut tx = instance.begin_write().await?;
        let removed = tx.remove_events(&run_id, LINES, slice).await?;
        if removed < slice.unsigned_abs() {
            let mut sql = Sql::new("UPDATE runs SET log_purged = 1 WHERE run_id = ");
            sql.bind(run_id);
            sql.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        gone += removed;
    }
    Ok(gone)
}

/// Removes a run that has ended, with all that is its own.
pub(super) async fn run(instance: &SqlInstance, run_id: &str) -> Result<()> {
    loop {
        let mut tx = instance.begin_write().await?;
        let removed = tx.remove_events(run_id, "1 = 1", SLICE).await?;
        let done = removed < SLICE.unsigned_abs();
        if done {
            let mut sql = Sql::new("DELETE FROM runs WHERE run_id = ");
            sql.bind(run_id);
            sql.execute(&mut *tx).await?;
            let mut sql = Sql::new("INSERT INTO deleted_runs (run_id) VALUES (");
            sql.bind(run_id).push(") ON CONFLICT DO NOTHING");
            sql.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        if done {
            return Ok(());
        }
    }
}

/// Removes runs that ended before a time, those that ended first first.
pub(super) async fn runs(instance: &SqlInstance, ended_before: Timestamp, limit: u32) -> Result<u64> {
    let mut sql = Sql::new("SELECT run_id FROM runs WHERE ended_at < ");
    sql.bind(ended_before.as_microsecond()).push(" ORDER BY ended_at LIMIT ").bind(i64::from(limit));
    let found = sql.all(instance.readers()).await?;
    for row in &found {
        run(instance, row.try_get(0)?).await?;
    }
    Ok(found.len() as u64)
}

/// Which of these runs were deleted.
pub(super) async fn deleted(instance: &SqlInstance, run_ids: &[RunId]) -> Result<HashSet<RunId>> {
    let mut deleted = HashSet::new();
    for some in run_ids.chunks(CHUNK) {
        let mut sql = Sql::new("SELECT run_id FROM deleted_runs WHERE run_id IN ");
        sql.bind_list(some.iter().map(ToString::to_string));
        for row in sql.all(instance.readers()).await? {
            deleted.insert(rows::parsed(&row, "run_id")?);
        }
    }
    Ok(deleted)
}

impl super::WriteTx {
    async fn remove_events(&mut self, run_id: &str, which: &'static str, limit: i64) -> Result<u64> {
        let mut sql = Sql::new("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE run_id = ");
        sql.bind(run_id).push(" AND ").push(which).push(" ORDER BY id LIMIT ").bind(limit).push(")");
        sql.execute(&mut **self).await
    }
}
