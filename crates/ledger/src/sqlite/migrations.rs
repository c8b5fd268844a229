//! The tables and their versions; `schema_migrations` says which migration ran when.

use std::path::Path;

use catchment_settings::{clock, durable};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Executor as _};

use crate::{LedgerError, Result};

/// Each brings the schema to the next version. What was released is never edited, only added to.
const MIGRATIONS: &[(&str, &str)] = &[("collections", include_str!("0001.sql"))];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (version INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, applied_at TEXT NOT NULL)";

/// Brings the schema up to date, in one transaction.
pub(super) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<()> {
    let made: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'")
        .fetch_one(&mut *db)
        .await?;
    if made > 0 && version(db).await? == MIGRATIONS.len() {
        return Ok(());
    }
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    tx.execute(sqlx::raw_sql(TABLE)).await?;
    // Another process may have come first.
    let found = version(&mut tx).await?;
    if found > MIGRATIONS.len() {
        return Err(LedgerError::Corrupt(format!(
            "{} has schema version {found}, and this program knows versions up to {}: a newer catchment wrote it",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    for (index, (name, sql)) in MIGRATIONS.iter().enumerate().skip(found) {
        tx.execute(sqlx::raw_sql(*sql)).await?;
        sqlx::query("INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)")
            .bind(i64::try_from(index + 1).unwrap_or(i64::MAX))
            .bind(*name)
            .bind(clock::now().to_string())
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    durable::sync_parent(path).map_err(|e| LedgerError::Database(e.to_string()))
}

async fn version(db: &mut SqliteConnection) -> Result<usize> {
    let version: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_migrations").fetch_one(db).await?;
    usize::try_from(version).map_err(|_| LedgerError::Corrupt(format!("a schema version of {version}")))
}
