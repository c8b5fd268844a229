//! Ticks of sensors and schedules, and what user code logged in them.

use std::collections::HashMap;

use catchment_core::Instigator;
use catchment_core::instigator::{InstigatorKind, Tick, TickLog, TickStatus};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::query::CHUNK;
use super::rows::{self, micros, to_json, to_optional_json};
use super::{Sql, event_filter, texts};
use crate::{InstanceError, Result, TickFilter};

const SELECT: &str = "SELECT id, instigator, status, started_at, ended_at, scheduled_for, run_ids, \
     duplicate_run_keys, rejected, origin_run_ids, skip_reason, problem FROM ticks";

/// Ends the tick that an instigator has still open: its daemon ended while it was evaluated.
pub(super) async fn cut_off(db: &mut AnyConnection, instigator: &Instigator, now: Timestamp) -> Result<()> {
    let what = format!("the daemon ended while it evaluated the {}", instigator.kind.as_str());
    let problem = Problem::new(Code::Unavailable, what)
        .cause("the tick was cut off: another one began before it had ended")
        .remedy("nothing: the next tick sees the same");
    let mut sql = Sql::new("UPDATE ticks SET status = 'FAILURE', ended_at = ");
    sql.bind(now.as_microsecond()).push(", problem = ").bind(to_json(&problem)?);
    sql.push(" WHERE status = 'STARTED' AND instigator = ").bind(instigator.to_string());
    sql.execute(db).await?;
    Ok(())
}

/// Ends the tick that an instigator has still open as skipped: someone has decided otherwise meanwhile. Its answer is
/// refused when it comes.
pub(super) async fn interrupt(
    db: &mut AnyConnection,
    instigator: &Instigator,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    let mut sql = Sql::new("UPDATE ticks SET status = 'SKIPPED', ended_at = ");
    sql.bind(now.as_microsecond()).push(", skip_reason = ").bind(why);
    sql.push(" WHERE status = 'STARTED' AND instigator = ").bind(instigator.to_string());
    sql.execute(db).await?;
    Ok(())
}

/// An open tick, whose instigator's row is locked until the transaction ends: no other tick of it begins or ends
/// meanwhile.
///
/// # Errors
/// [`InstanceError::NotFound`] where it has ended, for example because another daemon has begun the next one.
pub(super) async fn lock_open(db: &mut AnyConnection, id: i64) -> Result<Tick> {
    let mut sql = Sql::new("UPDATE instigators SET last_tick_at = last_tick_at WHERE instigator = ");
    sql.push("(SELECT instigator FROM ticks WHERE id = ").bind(id).push(")");
    sql.execute(&mut *db).await?;
    match select(db, id).await? {
        Some(tick) if tick.status == TickStatus::Started => Ok(tick),
        Some(tick) => Err(InstanceError::NotFound(format!(
            "an open tick {id} of {}: it has ended as {}, so nothing of its answer was written",
            tick.instigator,
            tick.status.as_str()
        ))),
        None => Err(InstanceError::NotFound(format!("tick {id}"))),
    }
}

/// Writes how a tick ended.
pub(super) async fn end(db: &mut AnyConnection, tick: &Tick) -> Result<()> {
    let mut sql = Sql::new("UPDATE ticks SET status = ");
    sql.bind(tick.status.as_str()).push(", ended_at = ").bind(micros(tick.ended_at));
    sql.push(", run_ids = ").bind(to_json(&tick.run_ids)?);
    sql.push(", duplicate_run_keys = ").bind(to_json(&tick.duplicate_run_keys)?);
    sql.push(", rejected = ").bind(to_json(&tick.rejected)?);
    sql.push(", origin_run_ids = ").bind(to_json(&tick.origin_run_ids)?);
    sql.push(", skip_reason = ").bind(tick.skip_reason.as_deref().map(texts::clean));
    sql.push(", problem = ").bind(to_optional_json(tick.problem.as_ref())?);
    sql.push(" WHERE id = ").bind(tick.id);
    sql.execute(db).await?;
    Ok(())
}

/// One tick, without what was logged.
pub(super) async fn select(db: &mut AnyConnection, id: i64) -> Result<Option<Tick>> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE id = ").bind(id);
    sql.optional(db).await?.as_ref().map(tick).transpose()
}

/// Ticks of an instigator, newest first.
pub(super) async fn list(
    db: &mut AnyConnection,
    instigator: &Instigator,
    filter: &TickFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Tick>> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE instigator = ").bind(instigator.to_string());
    sql.push(" AND id < ").bind(before.unwrap_or(i64::MAX));
    if !filter.statuses.is_empty() {
        sql.push(" AND status IN ").bind_list(filter.statuses.iter().map(|status| status.as_str()));
    }
    if let Some(after) = filter.after {
        sql.push(" AND started_at >= ").bind(after.as_microsecond());
    }
    if let Some(before) = filter.before {
        sql.push(" AND started_at < ").bind(before.as_microsecond());
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    let mut ticks = sql.all(&mut *db).await?.iter().map(tick).collect::<Result<Vec<_>>>()?;
    with_logs(db, &mut ticks).await?;
    Ok(ticks)
}

/// Adds what user code logged to these ticks.
pub(super) async fn with_logs(db: &mut AnyConnection, ticks: &mut [Tick]) -> Result<()> {
    let places: HashMap<i64, usize> = ticks.iter().enumerate().map(|(place, tick)| (tick.id, place)).collect();
    let ids: Vec<i64> = ticks.iter().map(|tick| tick.id).collect();
    for some in ids.chunks(CHUNK) {
        let mut sql = Sql::new("SELECT tick, timestamp, level, message FROM tick_logs WHERE tick IN ");
        sql.bind_list(some.iter().copied()).push(" ORDER BY tick, id");
        for row in sql.all(&mut *db).await? {
            let Some(tick) = places.get(&row.try_get("tick")?).and_then(|&place| ticks.get_mut(place)) else {
                continue;
            };
            tick.log.push(TickLog {
                timestamp: rows::time(&row, "timestamp")?,
                level: event_filter::level(row.try_get("level")?)?,
                message: row.try_get("message")?,
            });
        }
    }
    Ok(())
}

/// Adds lines to a tick.
pub(super) async fn add_log(db: &mut AnyConnection, tick: i64, log: &[TickLog]) -> Result<()> {
    for some in log.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO tick_logs (tick, timestamp, level, message) VALUES ");
        for (n, line) in some.iter().enumerate() {
            sql.push(if n == 0 { "(" } else { ", (" }).bind(tick).push(", ").bind(line.timestamp.as_microsecond());
            sql.push(", ").bind(line.level.as_str()).push(", ").bind(texts::clean(&line.message)).push(")");
        }
        sql.execute(&mut *db).await?;
    }
    Ok(())
}

/// Removes ticks with what was logged in them.
pub(super) async fn purge(
    db: &mut AnyConnection,
    kind: InstigatorKind,
    statuses: &[TickStatus],
    before: Timestamp,
    limit: u32,
) -> Result<u64> {
    let mut sql = Sql::new("DELETE FROM ticks WHERE id IN (SELECT id FROM ticks WHERE kind = ");
    sql.bind(kind.as_str()).push(" AND status IN ").bind_list(statuses.iter().map(|status| status.as_str()));
    sql.push(" AND started_at < ").bind(before.as_microsecond());
    sql.push(" LIMIT ").bind(i64::from(limit)).push(") RETURNING id");
    let gone = sql.all(&mut *db).await?.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<i64>>>()?;
    for some in gone.chunks(CHUNK) {
        let mut sql = Sql::new("DELETE FROM tick_logs WHERE tick IN ");
        sql.bind_list(some.iter().copied());
        sql.execute(&mut *db).await?;
    }
    Ok(gone.len() as u64)
}

fn tick(row: &AnyRow) -> Result<Tick> {
    Ok(Tick {
        id: row.try_get("id")?,
        instigator: rows::parsed(row, "instigator")?,
        status: rows::parsed(row, "status")?,
        started_at: rows::time(row, "started_at")?,
        ended_at: rows::optional_time(row, "ended_at")?,
        scheduled_for: rows::optional_time(row, "scheduled_for")?,
        run_ids: rows::json(row, "run_ids")?,
        duplicate_run_keys: rows::json(row, "duplicate_run_keys")?,
        rejected: rows::json(row, "rejected")?,
        origin_run_ids: rows::json(row, "origin_run_ids")?,
        skip_reason: row.try_get("skip_reason")?,
        problem: rows::optional_json(row, "problem")?,
        log: Vec::new(),
    })
}
