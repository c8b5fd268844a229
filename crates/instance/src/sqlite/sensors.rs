//! Sensors: cursors, ticks, and the list of claims that are still to be finished.

use async_trait::async_trait;
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::rows::{self, to_json};
use super::{SqliteInstance, admit};
use crate::{Admitted, InstanceError, Result, Sensors, Tick, TickStatus};

#[async_trait]
impl Sensors for SqliteInstance {
    async fn cursor(&self, sensor: &str) -> Result<Option<String>> {
        let found: Option<Option<String>> = sqlx::query_scalar("SELECT cursor FROM sensors WHERE name = ?")
            .bind(sensor)
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.flatten())
    }

    async fn begin_tick(&self, sensor: &str, now: Timestamp) -> Result<Tick> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let cut_off = Problem::new(Code::Unavailable, "the daemon ended while it evaluated the sensor")
            .remedy("nothing: the next tick sees the same objects");
        sqlx::query(
            "UPDATE ticks SET status = 'FAILURE', ended_at = ?, problem = ? WHERE sensor = ? AND status = 'STARTED'",
        )
        .bind(now.as_microsecond())
        .bind(to_json(&cut_off)?)
        .bind(sensor)
        .execute(&mut *tx)
        .await?;
        let done = sqlx::query("INSERT INTO ticks (sensor, status, started_at) VALUES (?, 'STARTED', ?)")
            .bind(sensor)
            .bind(now.as_microsecond())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Tick {
            id: done.last_insert_rowid(),
            sensor: sensor.to_owned(),
            status: TickStatus::Started,
            started_at: now,
            ended_at: None,
            run_ids: Vec::new(),
            duplicate_run_keys: Vec::new(),
            rejected: Vec::new(),
            skip_reason: None,
            problem: None,
        })
    }

    async fn admit(&self, tick: i64, location: &str, result: SensorResult, now: Timestamp) -> Result<Admitted> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let tick = open_tick(&mut tx, tick).await?;
        let admitted = admit::admit(&mut tx, tick, location, result, now).await?;
        end_tick(&mut tx, &admitted.tick).await?;
        tx.commit().await?;
        Ok(admitted)
    }

    async fn fail_tick(&self, tick: i64, problem: Problem, now: Timestamp) -> Result<()> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let mut tick = open_tick(&mut tx, tick).await?;
        tick.status = TickStatus::Failure;
        tick.ended_at = Some(now);
        tick.problem = Some(problem);
        end_tick(&mut tx, &tick).await?;
        Ok(tx.commit().await?)
    }

    async fn ticks(&self, sensor: &str, before: Option<i64>, limit: u32) -> Result<Vec<Tick>> {
        let found = sqlx::query("SELECT * FROM ticks WHERE sensor = ? AND id < ? ORDER BY id DESC LIMIT ?")
            .bind(sensor)
            .bind(before.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        found.iter().map(rows::tick).collect()
    }

    async fn unfinished_claims(&self, sensor: &str, limit: u32) -> Result<Vec<Claim>> {
        let found =
            sqlx::query("SELECT key, etag, outcome FROM claims WHERE sensor = ? AND finished = 0 ORDER BY seq LIMIT ?")
                .bind(sensor)
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        found.iter().map(rows::claim).collect()
    }

    async fn finish_claims(&self, sensor: &str, claims: &[ClaimKey]) -> Result<()> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        for claim in claims {
            sqlx::query("UPDATE claims SET finished = 1 WHERE sensor = ? AND key = ? AND etag = ?")
                .bind(sensor)
                .bind(&claim.key)
                .bind(&claim.etag)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

async fn open_tick(db: &mut SqliteConnection, id: i64) -> Result<Tick> {
    let row = sqlx::query("SELECT * FROM ticks WHERE id = ?").bind(id).fetch_optional(db).await?;
    match row.as_ref().map(rows::tick).transpose()? {
        Some(tick) if tick.status == TickStatus::Started => Ok(tick),
        _ => Err(InstanceError::NotFound(format!("an open tick {id}"))),
    }
}

async fn end_tick(db: &mut SqliteConnection, tick: &Tick) -> Result<()> {
    sqlx::query(
        "UPDATE ticks SET status = ?, ended_at = ?, run_ids = ?, duplicate_run_keys = ?, rejected = ?, \
         skip_reason = ?, problem = ? WHERE id = ?",
    )
    .bind(tick.status.as_str())
    .bind(tick.ended_at.map(Timestamp::as_microsecond))
    .bind(to_json(&tick.run_ids)?)
    .bind(to_json(&tick.duplicate_run_keys)?)
    .bind(to_json(&tick.rejected)?)
    .bind(&tick.skip_reason)
    .bind(tick.problem.as_ref().map(to_json).transpose()?)
    .bind(tick.id)
    .execute(db)
    .await?;
    Ok(())
}
