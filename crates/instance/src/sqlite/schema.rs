//! The schema and its versions: `PRAGMA user_version` is the number of migrations that were carried out.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::{InstanceError, Result};

/// Each brings the schema from its index to the next version. What was released is never edited, only added to.
const MIGRATIONS: &[&str] = &[include_str!("0001.sql")];

/// Brings the schema up to date, in one transaction.
pub(super) async fn migrate(db: &mut SqliteConnection, path: &Path) -> Result<()> {
    if version(db).await? == MIGRATIONS.len() {
        return Ok(());
    }
    let mut tx = db.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have come first.
    let found = version(&mut tx).await?;
    if found > MIGRATIONS.len() {
        return Err(InstanceError::Corrupt(format!(
            "{} has schema version {found}, and this program knows versions up to {}: a newer catchment wrote it",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    for migration in &MIGRATIONS[found..] {
        tx.execute(sqlx::raw_sql(*migration)).await?;
    }
    if found < MIGRATIONS.len() {
        // The pragma takes no parameters; the number is the program's own.
        tx.execute(AssertSqlSafe(format!("PRAGMA user_version = {}", MIGRATIONS.len()))).await?;
    }
    tx.commit().await?;
    catchment_settings::durable::sync_parent(path).map_err(|e| InstanceError::Database(e.to_string()))
}

async fn version(db: &mut SqliteConnection) -> Result<usize> {
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(db).await?;
    usize::try_from(version).map_err(|_| InstanceError::Corrupt(format!("a schema version of {version}")))
}
