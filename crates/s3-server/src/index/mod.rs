//! The index: the truth of what exists, in SQLite (WAL, `synchronous=FULL`).
//!
//! Keys are stored as bytes, so their order is that of S3 (UTF-8, bytewise) and no normalisation touches them.
//! One connection writes, in immediate transactions; a few read. Each blob has a count of the segments that
//! name it, kept in the transaction that adds or drops them, so copies share bytes.

mod buckets;
mod list;
mod objects;
mod uploads;

use std::path::Path;
use std::time::Duration;

use s3s::{S3Error, S3ErrorCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, Row as _};
use tokio::sync::Mutex;

pub(crate) use list::{Entry, ListRequest, Listing, common_prefix};
pub(crate) use objects::{Layout, NewObject, Object, ObjectPart, WriteCondition};
pub(crate) use uploads::{ChecksumPlan, Completion, NewPart, Part, Upload, UploadListing};

/// A stretch of bytes of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    #[serde(rename = "b")]
    pub(crate) blob: String,
    #[serde(rename = "s", default, skip_serializing_if = "is_zero")]
    pub(crate) start: u64,
    #[serde(rename = "l")]
    pub(crate) length: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("the index of the S3 server failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the index of the S3 server holds what it cannot read: {0}")]
    Json(#[from] serde_json::Error),
    /// The caller's fault, with its S3 code.
    #[error("{0:?}")]
    Refused(S3ErrorCode, String),
}

impl From<IndexError> for S3Error {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Refused(code, message) => S3Error::with_message(code, message),
            other => {
                tracing::error!(error = %other, "the S3 server's index failed");
                S3Error::with_source(S3ErrorCode::InternalError, Box::new(other))
            }
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, IndexError>;

fn refused<T>(code: S3ErrorCode, message: impl Into<String>) -> Result<T> {
    Err(IndexError::Refused(code, message.into()))
}

fn no_such_bucket<T>(bucket: &str) -> Result<T> {
    refused(S3ErrorCode::NoSuchBucket, format!("there is no bucket {bucket}"))
}

/// Blobs that a committed transaction has freed: their files may go.
pub(crate) type Freed = Vec<String>;

#[derive(Debug)]
pub(crate) struct Index {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
}

impl Index {
    /// Opens or makes `index.db` in `root`.
    pub(crate) async fn open(root: &Path) -> std::result::Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(root.join("index.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .foreign_keys(true);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut writer).await?;
        match version {
            0 => {
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
                transaction.execute(sqlx::raw_sql(include_str!("schema.sql"))).await?;
                transaction.commit().await?;
                catchment_settings::durable::sync_parent(&root.join("index.db")).map_err(sqlx::Error::Io)?;
            }
            1 => {}
            newer => {
                return Err(sqlx::Error::Configuration(
                    format!("the S3 index has version {newer}; this program knows version 1").into(),
                ));
            }
        }
        let readers = PoolOptions::new().max_connections(4).connect_lazy_with(options.read_only(true));
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Which of these blob names are not in use.
    pub(crate) async fn unknown_blobs(&self, names: Vec<String>) -> Result<Vec<String>> {
        let rows =
            sqlx::query_scalar("SELECT n.value FROM json_each(?) AS n WHERE n.value NOT IN (SELECT name FROM blobs)")
                .bind(serde_json::to_string(&names)?)
                .fetch_all(&self.readers)
                .await?;
        Ok(rows)
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer.lock().await;
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *writer).await {
            tracing::warn!(%error, "the S3 index could not be checkpointed; its log is kept");
        }
    }
}

fn names(segments: &[Segment]) -> Result<String> {
    Ok(serde_json::to_string(&segments.iter().map(|s| s.blob.as_str()).collect::<Vec<_>>())?)
}

/// Counts one more use of each segment's blob; new blobs begin here.
async fn attach(db: &mut SqliteConnection, segments: &[Segment]) -> Result<()> {
    if segments.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO blobs (name, refs) SELECT value, count(*) FROM json_each(?) WHERE true GROUP BY value \
         ON CONFLICT (name) DO UPDATE SET refs = refs + excluded.refs",
    )
    .bind(names(segments)?)
    .execute(db)
    .await?;
    Ok(())
}

/// Counts one use less, and forgets blobs that have none left.
async fn detach(db: &mut SqliteConnection, segments: &[Segment]) -> Result<Freed> {
    if segments.is_empty() {
        return Ok(Freed::new());
    }
    let names = names(segments)?;
    sqlx::query(
        "UPDATE blobs SET refs = refs - used.n \
         FROM (SELECT value AS name, count(*) AS n FROM json_each(?) GROUP BY value) AS used \
         WHERE blobs.name = used.name",
    )
    .bind(&names)
    .execute(&mut *db)
    .await?;
    let freed = sqlx::query_scalar(
        "DELETE FROM blobs WHERE refs <= 0 AND name IN (SELECT value FROM json_each(?)) RETURNING name",
    )
    .bind(&names)
    .fetch_all(db)
    .await?;
    Ok(freed)
}

async fn require_bucket(db: &mut SqliteConnection, bucket: &str) -> Result<()> {
    let found: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM buckets WHERE name = ?").bind(bucket).fetch_optional(db).await?;
    if found.is_some() { Ok(()) } else { no_such_bucket(bucket) }
}

/// A column that holds JSON.
fn json<T: DeserializeOwned>(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<T> {
    Ok(serde_json::from_str(row.try_get::<&str, _>(column)?)?)
}

/// A column that holds a size: SQLite's integers are signed.
fn unsigned(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<u64> {
    Ok(row.try_get::<i64, _>(column)?.unsigned_abs())
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Keys come from UTF-8 and go back to it.
fn text(row: &sqlx::sqlite::SqliteRow, column: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(row.try_get::<&[u8], _>(column)?).into_owned())
}
