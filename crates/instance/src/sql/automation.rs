//! What declarative automation keeps.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, to_json};
use super::{Sql, SqlInstance};
use crate::{AutomationRecord, Automations, Result};

#[async_trait]
impl Automations for SqlInstance {
    async fn automation_states(&self, location: &str) -> Result<Vec<(String, Value)>> {
        let mut sql = Sql::new("SELECT key, state FROM automation_states WHERE location = ");
        sql.bind(location).push(" ORDER BY key");
        let found = sql.all(self.readers()).await?;
        found.iter().map(|row| Ok((row.try_get("key")?, rows::json(row, "state")?))).collect()
    }

    async fn save_automation(
        &self,
        location: &str,
        states: &[(String, Value)],
        records: &[AutomationRecord],
    ) -> Result<()> {
        let mut tx = self.begin_write().await?;
        for (key, state) in states {
            let mut sql = Sql::new("INSERT INTO automation_states (location, key, state) VALUES ");
            sql.bind_list([location, key.as_str(), &to_json(state)?]);
            sql.push(" ON CONFLICT (location, key) DO UPDATE SET state = excluded.state");
            sql.execute(&mut *tx).await?;
        }
        for record in records {
            let mut sql =
                Sql::new("INSERT INTO automation_records (key, evaluation, tick, timestamp, requested) VALUES (");
            sql.bind(&record.key).push(", ").bind(to_json(&record.evaluation)?).push(", ");
            sql.bind(record.tick).push(", ").bind(record.timestamp.as_microsecond()).push(", ");
            sql.bind(i64::try_from(record.requested).unwrap_or(i64::MAX)).push(")");
            sql.execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    async fn evaluations(&self, key: &str, before: Option<i64>, limit: u32) -> Result<Vec<AutomationRecord>> {
        let mut sql =
            Sql::new("SELECT id, key, tick, timestamp, requested, evaluation FROM automation_records WHERE key = ");
        sql.bind(key).push(" AND id < ").bind(before.unwrap_or(i64::MAX));
        sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(record).collect()
    }

    async fn purge_evaluations(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("DELETE FROM automation_records WHERE id IN (SELECT id FROM automation_records");
        sql.push(" WHERE timestamp < ").bind(before.as_microsecond());
        sql.push(" ORDER BY timestamp LIMIT ").bind(i64::from(limit)).push(")");
        let gone = sql.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

fn record(row: &AnyRow) -> Result<AutomationRecord> {
    Ok(AutomationRecord {
        id: row.try_get("id")?,
        key: row.try_get("key")?,
        tick: row.try_get("tick")?,
        timestamp: rows::time(row, "timestamp")?,
        requested: rows::number(row, "requested")?,
        evaluation: rows::json(row, "evaluation")?,
    })
}
