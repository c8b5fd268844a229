//! The schema and its versions: `schema_version` holds the number of migrations that were carried out.

use sqlx::{AnyConnection, AnyPool};
use sqlx::{AssertSqlSafe, Row as _};

use super::{Dialect, Sql};
use crate::{InstanceError, Result};

/// Brings the schema from its index to the next version. What was released is never edited, only added to.
struct Migration {
    /// Texts for both, in SQLite's words.
    both: &'static [&'static str],
    /// What only PostgreSQL needs.
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    both: &[include_str!("schema/0001_runs.sql"), include_str!("schema/0001_ledger.sql")],
    postgres: include_str!("schema/0001_postgres.sql"),
}];

/// Brings the schema up to date, in one transaction, and says whether it had to. `place` is where, for people.
pub(super) async fn migrate(pool: &AnyPool, dialect: Dialect, place: &str) -> Result<bool> {
    if version(&mut *pool.acquire().await?, dialect).await? == MIGRATIONS.len() {
        return Ok(false);
    }
    let mut tx = match dialect {
        Dialect::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
        Dialect::Postgres => {
            let mut tx = pool.begin().await?;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(super::dialect::NAMED_LOCKS).execute(&mut *tx).await?;
            tx
        }
    };
    // Another process may have come first.
    let found = version(&mut tx, dialect).await?;
    if found > MIGRATIONS.len() {
        return Err(InstanceError::Corrupt(format!(
            "{place} has schema version {found}, and this program knows versions up to {}: a newer catchment wrote it",
            MIGRATIONS.len()
        )));
    }
    for migration in &MIGRATIONS[found..] {
        for text in migration.both {
            sqlx::raw_sql(AssertSqlSafe(dialect.schema(text))).execute(&mut *tx).await?;
        }
        if dialect == Dialect::Postgres {
            sqlx::raw_sql(migration.postgres).execute(&mut *tx).await?;
        }
    }
    let mut sql = Sql::new("UPDATE schema_version SET version = ");
    sql.bind(MIGRATIONS.len() as i64);
    sql.execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

async fn version(db: &mut AnyConnection, dialect: Dialect) -> Result<usize> {
    let exists = match dialect {
        Dialect::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'",
        Dialect::Postgres => {
            "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_version'"
        }
    };
    if Sql::new(exists).optional(&mut *db).await?.is_none() {
        return Ok(0);
    }
    let version: i64 = Sql::new("SELECT version FROM schema_version").one(db).await?.try_get(0)?;
    usize::try_from(version).map_err(|_| InstanceError::Corrupt(format!("a schema version of {version}")))
}
