//! Backfills.

use async_trait::async_trait;
use catchment_core::backfill::{Backfill, BackfillId, NewBackfill};
use catchment_settings::wake::Hint;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::rows::{self, micros, to_json, to_optional_json};
use super::{Sql, SqlInstance};
use crate::{BackfillFilter, Backfills, InstanceError, Result};

const SELECT: &str = "SELECT request, status, created_at, ended_at, problem, progress, version FROM backfills";

#[async_trait]
impl Backfills for SqlInstance {
    async fn request_backfill(&self, backfill: NewBackfill, now: Timestamp) -> Result<Backfill> {
        let mut tx = self.begin_write().await?;
        let mut sql =
            Sql::new("INSERT INTO backfills (id, location, request, status, progress, version, created_at) VALUES (");
        sql.bind(&backfill.id.0).push(", ").bind(&backfill.location).push(", ").bind(to_json(&backfill)?);
        sql.push(", 'REQUESTED', 'null', 1, ").bind(now.as_microsecond()).push(") ON CONFLICT (id) DO NOTHING");
        if sql.execute(&mut *tx).await? == 1 {
            tx.hint(Hint::Runs);
        }
        let stored = select(&mut tx, &backfill.id).await?.ok_or_else(|| not_found(&backfill.id))?;
        tx.commit().await?;
        Ok(stored)
    }

    async fn backfill(&self, id: &BackfillId) -> Result<Option<Backfill>> {
        select(&mut *self.readers().acquire().await?, id).await
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        before: Option<&BackfillId>,
        limit: u32,
    ) -> Result<Vec<Backfill>> {
        let mut before_seq = i64::MAX;
        if let Some(id) = before {
            let mut sql = Sql::new("SELECT seq FROM backfills WHERE id = ");
            sql.bind(&id.0);
            before_seq = sql.optional(self.readers()).await?.ok_or_else(|| not_found(id))?.try_get(0)?;
        }
        let mut sql = Sql::new(SELECT);
        sql.push(" WHERE seq < ").bind(before_seq);
        if let Some(location) = &filter.location {
            sql.push(" AND location = ").bind(location);
        }
        if !filter.statuses.is_empty() {
            sql.push(" AND status IN ").bind_list(filter.statuses.iter().map(|status| status.as_str()));
        }
        sql.push(" ORDER BY seq DESC LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(backfill).collect()
    }

    async fn update_backfill(&self, backfill: &Backfill) -> Result<Backfill> {
        let mut tx = self.begin_write().await?;
        let id = &backfill.request.id;
        let mut sql = Sql::new("UPDATE backfills SET version = version + 1, status = ");
        sql.bind(backfill.status.as_str()).push(", ended_at = ").bind(micros(backfill.ended_at));
        sql.push(", problem = ").bind(to_optional_json(backfill.problem.as_ref())?);
        sql.push(", progress = ").bind(to_json(&backfill.progress)?);
        sql.push(" WHERE id = ").bind(&id.0).push(" AND version = ").bind(backfill.version);
        let changed = sql.execute(&mut *tx).await?;
        let stored = select(&mut tx, id).await?.ok_or_else(|| not_found(id))?;
        if changed == 0 {
            return Err(InstanceError::Changed(format!("backfill {id}")));
        }
        tx.hint(Hint::Runs);
        tx.commit().await?;
        Ok(stored)
    }
}

fn not_found(id: &BackfillId) -> InstanceError {
    InstanceError::NotFound(format!("backfill {id}"))
}

async fn select(db: &mut AnyConnection, id: &BackfillId) -> Result<Option<Backfill>> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE id = ").bind(&id.0);
    sql.optional(db).await?.as_ref().map(backfill).transpose()
}

fn backfill(row: &AnyRow) -> Result<Backfill> {
    Ok(Backfill {
        request: rows::json(row, "request")?,
        status: rows::parsed(row, "status")?,
        created_at: rows::time(row, "created_at")?,
        ended_at: rows::optional_time(row, "ended_at")?,
        problem: rows::optional_json(row, "problem")?,
        progress: rows::json(row, "progress")?,
        version: row.try_get("version")?,
    })
}
