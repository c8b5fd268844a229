//! The outbox of alerts.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::rows::{self, micros, to_json};
use super::{Sql, SqlInstance, daemons};
use crate::{Alert, AlertStatus, Alerts, InstanceError, NewAlert, Result};

const SELECT: &str =
    "SELECT id, key, rule, channel, event, status, attempts, created_at, due_at, last_error FROM alerts";

#[async_trait]
impl Alerts for SqlInstance {
    async fn raise(&self, alerts: &[NewAlert], follower: Option<(&str, i64)>, now: Timestamp) -> Result<()> {
        let mut tx = self.begin_write().await?;
        for alert in alerts {
            raise(&mut tx, alert, now).await?;
        }
        if let Some((name, event_id)) = follower {
            daemons::move_cursor(&mut tx, name, event_id).await?;
        }
        tx.commit().await
    }

    async fn due_alerts(&self, now: Timestamp, limit: u32) -> Result<Vec<Alert>> {
        let mut sql = Sql::new(SELECT);
        sql.push(" WHERE status = 'PENDING' AND due_at <= ").bind(now.as_microsecond());
        sql.push(" ORDER BY due_at, id LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(alert).collect()
    }

    async fn alert_delivered(&self, id: i64) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("UPDATE alerts SET status = 'DELIVERED', attempts = attempts + 1, last_error = NULL");
        sql.push(" WHERE id = ").bind(id);
        found(id, sql.execute(&mut *tx).await?)?;
        tx.commit().await
    }

    async fn alert_failed(&self, id: i64, error: &str, next: Option<Timestamp>) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let status = if next.is_some() { "PENDING" } else { "GIVEN_UP" };
        let mut sql = Sql::new("UPDATE alerts SET attempts = attempts + 1, last_error = ");
        sql.bind(error).push(", status = ").bind(status);
        sql.push(", due_at = coalesce(").bind(micros(next)).push(", due_at)");
        // What another try has delivered meanwhile stays delivered.
        sql.push(" WHERE id = ").bind(id).push(" AND status = 'PENDING'");
        found(id, sql.execute(&mut *tx).await?)?;
        tx.commit().await
    }

    async fn alerts(&self, before: Option<i64>, limit: u32) -> Result<Vec<Alert>> {
        let mut sql = Sql::new(SELECT);
        sql.push(" WHERE id < ").bind(before.unwrap_or(i64::MAX));
        sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(alert).collect()
    }

    async fn purge_alerts(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE status <> 'PENDING'");
        sql.push(" AND created_at < ").bind(before.as_microsecond());
        sql.push(" ORDER BY created_at LIMIT ").bind(i64::from(limit)).push(")");
        let gone = sql.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(gone)
    }
}

/// Puts one alert into the outbox, unless its key was used before.
async fn raise(db: &mut AnyConnection, alert: &NewAlert, now: Timestamp) -> Result<()> {
    let now = now.as_microsecond();
    let mut sql = Sql::new("INSERT INTO alert_keys (key, raised_at) VALUES (");
    sql.bind(&alert.key).push(", ").bind(now).push(") ON CONFLICT DO NOTHING");
    if sql.execute(&mut *db).await? == 0 {
        return Ok(());
    }
    let mut sql = Sql::new("INSERT INTO alerts (key, rule, channel, event, status, created_at, due_at) VALUES (");
    sql.bind(&alert.key).push(", ").bind(&alert.rule).push(", ").bind(&alert.channel).push(", ");
    sql.bind(to_json(&alert.event)?).push(", 'PENDING', ").bind(now).push(", ").bind(now).push(")");
    sql.execute(db).await?;
    Ok(())
}

fn found(id: i64, rows: u64) -> Result<()> {
    if rows == 0 { Err(InstanceError::NotFound(format!("an alert {id} that is to be delivered"))) } else { Ok(()) }
}

fn alert(row: &AnyRow) -> Result<Alert> {
    let status = match row.try_get::<&str, _>("status")? {
        "PENDING" => AlertStatus::Pending,
        "DELIVERED" => AlertStatus::Delivered,
        "GIVEN_UP" => AlertStatus::GivenUp,
        other => return Err(rows::corrupt("status", format!("`{other}` is no status of an alert"))),
    };
    Ok(Alert {
        id: row.try_get("id")?,
        alert: NewAlert {
            key: row.try_get("key")?,
            rule: row.try_get("rule")?,
            channel: row.try_get("channel")?,
            event: rows::json(row, "event")?,
        },
        status,
        attempts: u32::try_from(rows::number(row, "attempts")?).unwrap_or(u32::MAX),
        created_at: rows::time(row, "created_at")?,
        due_at: rows::time(row, "due_at")?,
        last_error: row.try_get("last_error")?,
    })
}
