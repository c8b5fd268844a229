//! The state in one SQLite file that several processes share.
//!
//! WAL, `synchronous=FULL`: what was answered with success survives a power cut. One connection writes, in
//! immediate transactions (so a transaction never fails half-way because another process wrote first); a few
//! read, and are opened when first needed.

mod admit;
mod events;
mod rows;
mod runs;
mod schema;
mod sensors;
mod small;

use std::path::{Path, PathBuf};
use std::time::Duration;

use catchment_settings::clock;
use sqlx::Connection as _;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use tokio::sync::{Mutex, MutexGuard};

use crate::{InstanceError, Result};

/// How long a writer waits for those of other processes before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read at once.
const READERS: u32 = 4;

/// The SQLite backend of [`crate::Instance`].
#[derive(Debug)]
pub struct SqliteInstance {
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    path: PathBuf,
}

impl SqliteInstance {
    /// Opens the database at `path`; makes it, or brings its schema up to date, where that is needed.
    ///
    /// # Errors
    /// [`InstanceError::Database`] where the file cannot be opened or written, [`InstanceError::Corrupt`] where
    /// a newer version of Catchment wrote it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let mut writer = connect(&options).await?;
        schema::migrate(&mut writer, &path).await?;
        let readers = PoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { writer: Mutex::new(writer), readers, path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }
}

/// Connects; two processes that make the file at the same time may find it locked while its journal mode
/// changes, where SQLite does not wait by itself.
async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection> {
    let deadline = clock::monotonic() + BUSY_TIMEOUT;
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(error) if is_busy(&error) && clock::monotonic() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return Ok(other?),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|c| c.parse::<i32>().is_ok_and(|c| c & 0xff == 5)))
}

impl From<sqlx::Error> for InstanceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}
