//! Partitions and heartbeats.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};

use super::{SqliteInstance, rows};
use crate::{Heartbeats, Partitions, Result};

#[async_trait]
impl Partitions for SqliteInstance {
    async fn add_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let new = add_partitions(&mut tx, definition, keys).await?;
        tx.commit().await?;
        Ok(new)
    }

    async fn partitions(&self, definition: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT key FROM partitions WHERE definition = ? ORDER BY seq")
            .bind(definition)
            .fetch_all(&self.readers)
            .await?)
    }
}

/// Adds keys, and answers those that are new.
pub(super) async fn add_partitions(
    db: &mut SqliteConnection,
    definition: &str,
    keys: &[String],
) -> Result<Vec<String>> {
    let mut new = Vec::new();
    for key in keys {
        let done = sqlx::query("INSERT INTO partitions (definition, key) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(definition)
            .bind(key)
            .execute(&mut *db)
            .await?;
        if done.rows_affected() == 1 {
            new.push(key.clone());
        }
    }
    Ok(new)
}

#[async_trait]
impl Heartbeats for SqliteInstance {
    async fn beat(&self, daemon: &str, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO heartbeats (daemon, at) VALUES (?, ?) ON CONFLICT (daemon) DO UPDATE SET at = excluded.at",
        )
        .bind(daemon)
        .bind(now.as_microsecond())
        .execute(&mut *self.writer().await)
        .await?;
        Ok(())
    }

    async fn heartbeats(&self) -> Result<Vec<(String, Timestamp)>> {
        let found = sqlx::query("SELECT daemon, at FROM heartbeats ORDER BY daemon").fetch_all(&self.readers).await?;
        found.iter().map(|row| Ok((row.try_get("daemon")?, rows::time(row, "at")?))).collect()
    }
}
