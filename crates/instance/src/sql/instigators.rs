//! Sensors and schedules: their state, their ticks, and the claims that are still to be finished.

use async_trait::async_trait;
use catchment_core::instigator::{InstigatorKind, InstigatorState, InstigatorStatus, Tick, TickLog, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_core::{Instigator, RunId};
use catchment_model::Problem;
use catchment_settings::wake::Hint;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::rows::{self, micros};
use super::{Sql, SqlInstance, admit, texts, ticks};
use crate::{Admitted, Instigators, Result, TickFilter};

const SELECT: &str = "SELECT instigator, status, running_since, cursor, last_tick_at FROM instigators";

#[async_trait]
impl Instigators for SqlInstance {
    async fn instigator(&self, instigator: &Instigator) -> Result<InstigatorState> {
        select(&mut *self.readers().acquire().await?, instigator).await
    }

    async fn instigators(&self) -> Result<Vec<InstigatorState>> {
        let sql = Sql::new(format!("{SELECT} ORDER BY instigator"));
        sql.all(self.readers()).await?.iter().map(state).collect()
    }

    async fn set_status(
        &self,
        instigator: &Instigator,
        status: InstigatorStatus,
        running: bool,
        now: Timestamp,
    ) -> Result<InstigatorState> {
        let mut tx = self.begin_write().await?;
        let since = running.then(|| now.as_microsecond());
        let mut sql = Sql::new("INSERT INTO instigators (instigator, status, running_since) VALUES (");
        sql.bind(instigator.to_string()).push(", ").bind(status.as_str()).push(", ").bind(since).push(
            ") ON CONFLICT (instigator) DO UPDATE SET status = excluded.status, running_since = \
             CASE WHEN excluded.running_since IS NULL THEN NULL \
             ELSE coalesce(instigators.running_since, excluded.running_since) END",
        );
        sql.execute(&mut *tx).await?;
        if !running {
            ticks::interrupt(&mut tx, instigator, "it was stopped while it was evaluated", now).await?;
        }
        let state = select(&mut tx, instigator).await?;
        tx.hint(Hint::Anything);
        tx.commit().await?;
        Ok(state)
    }

    async fn set_cursor(&self, instigator: &Instigator, cursor: Option<&str>, now: Timestamp) -> Result<()> {
        let mut tx = self.begin_write().await?;
        write_cursor(&mut tx, instigator, cursor).await?;
        ticks::interrupt(&mut tx, instigator, "its cursor was set while it was evaluated", now).await?;
        tx.hint(Hint::Anything);
        tx.commit().await
    }

    async fn begin_tick(
        &self,
        instigator: &Instigator,
        scheduled_for: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Tick> {
        let mut tx = self.begin_write().await?;
        // The row is locked by this: ticks of one instigator begin and end one after the other.
        let mut sql = Sql::new("INSERT INTO instigators (instigator, last_tick_at) VALUES (");
        sql.bind(instigator.to_string()).push(", ").bind(now.as_microsecond());
        sql.push(") ON CONFLICT (instigator) DO UPDATE SET last_tick_at = excluded.last_tick_at");
        sql.execute(&mut *tx).await?;
        ticks::cut_off(&mut tx, instigator, now).await?;
        let mut sql = Sql::new("INSERT INTO ticks (instigator, kind, status, started_at, scheduled_for) VALUES (");
        sql.bind(instigator.to_string()).push(", ").bind(instigator.kind.as_str()).push(", 'STARTED', ");
        sql.bind(now.as_microsecond()).push(", ").bind(micros(scheduled_for)).push(") RETURNING id");
        let id = sql.one(&mut *tx).await?.try_get(0)?;
        tx.commit().await?;
        Ok(Tick {
            id,
            instigator: instigator.clone(),
            status: TickStatus::Started,
            started_at: now,
            ended_at: None,
            scheduled_for,
            run_ids: Vec::new(),
            duplicate_run_keys: Vec::new(),
            rejected: Vec::new(),
            origin_run_ids: Vec::new(),
            skip_reason: None,
            problem: None,
            log: Vec::new(),
        })
    }

    async fn log_tick(&self, tick: i64, log: &[TickLog]) -> Result<()> {
        if log.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin_write().await?;
        ticks::add_log(&mut tx, tick, log).await?;
        tx.commit().await
    }

    async fn admit(&self, tick: i64, result: SensorResult, origins: &[RunId], now: Timestamp) -> Result<Admitted> {
        texts::answer(&result)?;
        let (parts, rest) = admit::divided(result);
        let mut claims = Vec::new();
        for part in parts {
            claims.extend(self.admit_part(tick, part, origins, false, now).await?.claims);
        }
        let admitted = self.admit_part(tick, rest, origins, true, now).await?;
        claims.extend(admitted.claims);
        Ok(Admitted { tick: admitted.tick, claims })
    }

    async fn fail_tick(&self, tick: i64, problem: Problem, cursor: Option<&str>, now: Timestamp) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut tick = ticks::lock_open(&mut tx, tick).await?;
        tick.status = TickStatus::Failure;
        tick.ended_at = Some(now);
        tick.problem = Some(problem);
        ticks::end(&mut tx, &tick).await?;
        if cursor.is_some() {
            write_cursor(&mut tx, &tick.instigator, cursor).await?;
        }
        tx.commit().await
    }

    async fn tick(&self, tick: i64) -> Result<Option<Tick>> {
        let mut db = self.readers().acquire().await?;
        let mut found: Vec<Tick> = ticks::select(&mut db, tick).await?.into_iter().collect();
        ticks::with_logs(&mut db, &mut found).await?;
        Ok(found.pop())
    }

    async fn ticks(
        &self,
        instigator: &Instigator,
        filter: &TickFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Tick>> {
        ticks::list(&mut *self.readers().acquire().await?, instigator, filter, before, limit).await
    }

    async fn purge_ticks(
        &self,
        kind: InstigatorKind,
        statuses: &[TickStatus],
        before: Timestamp,
        limit: u32,
    ) -> Result<u64> {
        let mut tx = self.begin_write().await?;
        let gone = ticks::purge(&mut tx, kind, statuses, before, limit).await?;
        tx.commit().await?;
        Ok(gone)
    }

    async fn unfinished_claims(&self, sensor: &Instigator, limit: u32) -> Result<Vec<Claim>> {
        let mut sql = Sql::new("SELECT key, etag, outcome FROM claims WHERE finished = 0 AND instigator = ");
        sql.bind(sensor.to_string()).push(" ORDER BY seq LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(admit::claim).collect()
    }

    async fn finish_claims(&self, sensor: &Instigator, claims: &[ClaimKey]) -> Result<()> {
        let mut tx = self.begin_write().await?;
        for claim in claims {
            let mut sql = Sql::new("UPDATE claims SET finished = 1 WHERE instigator = ");
            sql.bind(sensor.to_string()).push(" AND key = ").bind(&claim.key).push(" AND etag = ").bind(&claim.etag);
            sql.execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}

impl SqlInstance {
    /// Writes a part of an answer; the tick stays open until the last.
    async fn admit_part(
        &self,
        tick: i64,
        part: SensorResult,
        origins: &[RunId],
        is_last: bool,
        now: Timestamp,
    ) -> Result<Admitted> {
        let mut tx = self.begin_write().await?;
        let mut tick = ticks::lock_open(&mut tx, tick).await?;
        let before = tick.run_ids.len();
        tick.origin_run_ids = origins.to_vec();
        let mut admitted = admit::admit(&mut tx, tick, part, now).await?;
        if !is_last {
            let tick = &mut admitted.tick;
            (tick.status, tick.ended_at, tick.skip_reason) = (TickStatus::Started, None, None);
        }
        ticks::end(&mut tx, &admitted.tick).await?;
        if admitted.tick.run_ids.len() > before {
            tx.hint(Hint::Runs);
        }
        tx.commit().await?;
        Ok(admitted)
    }
}

/// Writes an instigator's cursor, or forgets it.
pub(super) async fn write_cursor(db: &mut AnyConnection, instigator: &Instigator, cursor: Option<&str>) -> Result<()> {
    cursor.map_or(Ok(()), |text| texts::plain("the cursor", text))?;
    let mut sql = Sql::new("INSERT INTO instigators (instigator, cursor) VALUES (");
    sql.bind(instigator.to_string()).push(", ").bind(cursor);
    sql.push(") ON CONFLICT (instigator) DO UPDATE SET cursor = excluded.cursor");
    sql.execute(db).await?;
    Ok(())
}

async fn select(db: &mut AnyConnection, instigator: &Instigator) -> Result<InstigatorState> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE instigator = ").bind(instigator.to_string());
    let found = sql.optional(db).await?.as_ref().map(state).transpose()?;
    Ok(found.unwrap_or_else(|| InstigatorState {
        instigator: instigator.clone(),
        status: InstigatorStatus::DeclaredInCode,
        running_since: None,
        cursor: None,
        last_tick_at: None,
    }))
}

fn state(row: &AnyRow) -> Result<InstigatorState> {
    Ok(InstigatorState {
        instigator: rows::parsed(row, "instigator")?,
        status: rows::parsed(row, "status")?,
        running_since: rows::optional_time(row, "running_since")?,
        cursor: row.try_get("cursor")?,
        last_tick_at: rows::optional_time(row, "last_tick_at")?,
    })
}
