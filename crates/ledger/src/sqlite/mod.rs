//! The ledger in one SQLite file that several processes share.
//!
//! WAL, `synchronous=FULL`: what was answered with success survives a power cut. One connection writes, in
//! immediate transactions; a few read, and are opened when first needed. A collection is a table of documents.

mod assets;
mod documents;
mod manifests;
mod migrations;
mod records;
mod runs;

use std::path::{Path, PathBuf};
use std::time::Duration;

use catchment_settings::clock;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{Connection as _, Transaction};
use tokio::sync::Mutex;

use crate::{LedgerError, Result};

/// How long a writer waits for those of other processes before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read at once.
const READERS: u32 = 4;

/// The embedded backend of [`crate::Ledger`].
#[derive(Debug)]
pub struct SqliteLedger {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    path: PathBuf,
}

impl SqliteLedger {
    /// Opens the ledger at `path`; makes it, or brings its schema up to date, where that is needed.
    ///
    /// # Errors
    /// [`LedgerError::Database`] where the file cannot be opened or written, [`LedgerError::Corrupt`] where a
    /// newer version of Catchment wrote it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let mut writer = connect(&options).await?;
        migrations::migrate(&mut writer, &path).await?;
        let readers = PoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { writer: Mutex::new(writer), readers, path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one immediate transaction; what it answers with success is on disk.
    async fn write<T>(&self, work: impl AsyncFnOnce(&mut Transaction<'_, Sqlite>) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let answer = work(&mut tx).await?;
        tx.commit().await?;
        Ok(answer)
    }
}

/// Connects; two processes that make the file at the same time may find it locked while its journal mode
/// changes, where SQLite does not wait by itself.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    let deadline = clock::monotonic() + BUSY_TIMEOUT;
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|c| c.parse::<i32>().is_ok_and(|c| c & 0xff == 5))
                    && clock::monotonic() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return Ok(other?),
        }
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}
