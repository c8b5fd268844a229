//! What is known of code locations.

use async_trait::async_trait;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, micros, to_optional_json};
use super::{Sql, SqlInstance};
use crate::{LocationRecord, Locations, Result};

#[async_trait]
impl Locations for SqlInstance {
    async fn locations(&self) -> Result<Vec<LocationRecord>> {
        let sql = Sql::new("SELECT name, snapshot, loaded_at, problem, since FROM locations ORDER BY name");
        sql.all(self.readers()).await?.iter().map(record).collect()
    }

    async fn save_location(&self, location: &LocationRecord) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("INSERT INTO locations (name, snapshot, loaded_at, problem, since) VALUES (");
        sql.bind(&location.name).push(", ").bind(to_optional_json(location.snapshot.as_ref())?).push(", ");
        sql.bind(micros(location.loaded_at)).push(", ").bind(to_optional_json(location.problem.as_ref())?).push(", ");
        sql.bind(location.since.as_microsecond()).push(
            ") ON CONFLICT (name) DO UPDATE SET snapshot = excluded.snapshot, loaded_at = excluded.loaded_at, \
             problem = excluded.problem, since = excluded.since",
        );
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn forget_location(&self, name: &str) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("DELETE FROM locations WHERE name = ");
        sql.bind(name);
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }
}

fn record(row: &AnyRow) -> Result<LocationRecord> {
    Ok(LocationRecord {
        name: row.try_get("name")?,
        snapshot: rows::optional_json(row, "snapshot")?,
        loaded_at: rows::optional_time(row, "loaded_at")?,
        problem: rows::optional_json(row, "problem")?,
        since: rows::time(row, "since")?,
    })
}
