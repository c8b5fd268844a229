//! Opening: where the state is, and the connections to it.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Once};
use std::time::Duration;

use catchment_settings::{PostgresSettings, clock};
use sqlx::AnyPool;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use uuid::Uuid;

use super::{Dialect, Shared, SqlInstance, schema};
use crate::{InstanceError, Result};

/// How long a writer waits for those of other processes before it gives up, and whoever connects for the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections of one process to SQLite that read at once.
const READERS: u32 = 4;
/// Connections of one process to PostgreSQL.
const CONNECTIONS: u32 = 6;
/// A connection to PostgreSQL that nobody needs is given back after this time: there may be many processes.
const IDLE: Duration = Duration::from_secs(30);

impl SqlInstance {
    /// Opens the SQLite database at `path`; makes it, or brings its schema up to date, where that is needed.
    ///
    /// # Errors
    /// [`InstanceError::Database`] where the file cannot be opened or written, [`InstanceError::Corrupt`] where a newer
    /// version of Catchment wrote it.
    pub async fn open_sqlite(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = path.to_str().ok_or_else(|| {
            InstanceError::Database(format!("the path {} is not UTF-8: choose another CATCHMENT_HOME", path.display()))
        })?;
        let writers = sqlite_pool(text, "rwc", 1)?;
        first_connection(&writers).await?;
        if schema::migrate(&writers, Dialect::Sqlite, text).await? {
            catchment_settings::durable::sync_parent(path).map_err(|e| InstanceError::Database(e.to_string()))?;
        }
        let readers = sqlite_pool(text, "ro", READERS)?;
        let address = text.to_owned();
        let shared = Shared {
            id: Uuid::new_v4(),
            postgres: None,
            dialect: Dialect::Sqlite,
            writers,
            readers,
            address,
            horizon: AtomicI64::default(),
        };
        Ok(Self { shared: Arc::new(shared), fence: None })
    }

    /// Opens the state in a database of PostgreSQL (14 or newer), which exists; its schema is made, or brought up to
    /// date, where that is needed.
    ///
    /// # Errors
    /// [`InstanceError::Unreachable`] where the server does not answer or does not let us in, otherwise as
    /// [`SqlInstance::open_sqlite`].
    pub async fn open_postgres(settings: &PostgresSettings) -> Result<Self> {
        let address = settings.to_string();
        let options = options(&postgres_url(settings))?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .idle_timeout(IDLE)
            .after_connect(|db, _| {
                Box::pin(async move {
                    // Whoever hangs in a transaction would hold up every reader of the log.
                    db.execute("SET idle_in_transaction_session_timeout = '60s'").await?;
                    db.execute("SET lock_timeout = '10s'").await?;
                    // How rare a value is decides which index a page is read from: a plan for any value does not know.
                    db.execute("SET plan_cache_mode = force_custom_plan").await.map(drop)
                })
            })
            .connect_lazy_with(options.clone());
        // The pool itself would try again until its patience ends, and hide why.
        match tokio::time::timeout(PATIENCE, AnyConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => drop(connection.close().await),
            Ok(Err(error)) => return Err(InstanceError::Unreachable(format!("{address}: {error}"))),
            Err(_) => {
                return Err(InstanceError::Unreachable(format!("{address}: no answer in {} s", PATIENCE.as_secs())));
            }
        }
        schema::migrate(&pool, Dialect::Postgres, &address).await?;
        let shared = Shared {
            id: Uuid::new_v4(),
            postgres: Some(settings.clone()),
            dialect: Dialect::Postgres,
            writers: pool.clone(),
            readers: pool,
            address,
            horizon: AtomicI64::default(),
        };
        Ok(Self { shared: Arc::new(shared), fence: None })
    }
}

/// Connections to a file. WAL and `synchronous=FULL`: what was answered with success survives a power cut.
fn sqlite_pool(path: &str, mode: &str, connections: u32) -> Result<AnyPool> {
    let url = format!("sqlite://{}?mode={mode}", percent_encoded(path));
    let writes = mode != "ro";
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE * 3)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |db, _| {
            Box::pin(async move {
                let patience = format!("PRAGMA busy_timeout = {}", PATIENCE.as_millis());
                db.execute(AssertSqlSafe(patience)).await?;
                if writes {
                    db.execute("PRAGMA journal_mode = WAL").await?;
                    db.execute("PRAGMA synchronous = FULL").await?;
                }
                db.execute("PRAGMA foreign_keys = ON").await.map(drop)
            })
        })
        .connect_lazy_with(options(&url)?);
    Ok(pool)
}

/// Two processes that make the file at the same time may find it locked while its journal mode changes, where SQLite
/// does not wait by itself.
async fn first_connection(pool: &AnyPool) -> Result<()> {
    let deadline = clock::monotonic() + PATIENCE;
    loop {
        match pool.acquire().await {
            Err(error) if is_busy(&error) && clock::monotonic() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return Ok(other.map(drop)?),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.code().is_some_and(|c| c.parse::<i32>().is_ok_and(|c| c & 0xff == 5)))
}

fn options(url: &str) -> Result<AnyConnectOptions> {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(sqlx::any::install_default_drivers);
    AnyConnectOptions::from_str(url).map_err(|e| InstanceError::Database(format!("the address of the state: {e}")))
}

pub(super) fn postgres_url(settings: &PostgresSettings) -> String {
    let mut url = "postgres://localhost".to_owned();
    let mut separator = '?';
    let port = settings.port.to_string();
    let password = settings.password.as_ref().map(|p| p.reveal());
    for (name, value) in [
        ("host", Some(settings.host.as_str())),
        ("port", Some(port.as_str())),
        ("user", Some(settings.user.as_str())),
        ("password", password),
        ("dbname", Some(settings.database.as_str())),
        ("sslmode", Some(settings.ssl_mode.as_str())),
        ("application_name", Some("catchment")),
    ] {
        if let Some(value) = value {
            let _ = write!(url, "{separator}{name}={}", percent_encoded(value));
            separator = '&';
        }
    }
    url
}

/// Every byte that is no letter, digit or one of `-._~/` as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl From<sqlx::Error> for InstanceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}
