//! The state in a SQL database: one text of SQL for SQLite and PostgreSQL.
//!
//! What both understand is written once: `$1` for parameters, upserts, `RETURNING`; integers, text and nothing else in
//! columns (times are microseconds since 1970 in UTC, truth is 0 or 1, what no query filters by is JSON). What differs
//! lies in [`Dialect`] and in [`open`].
//!
//! SQLite: one connection writes, in immediate transactions; a few read. So writers come one after the other.
//! PostgreSQL: writers work side by side (READ COMMITTED). A method that reads before it writes locks what it read, by
//! `FOR UPDATE` ([`Dialect::for_update`]) or by name ([`WriteTx::lock`]).

mod admit;
mod alerts;
mod assets;
mod automation;
mod backfills;
mod checks;
mod daemons;
mod dialect;
mod event_filter;
mod events;
mod hints;
mod instigators;
mod locations;
mod open;
mod partitions;
mod pools;
mod projection;
mod purge;
mod query;
mod rows;
mod run_filter;
mod run_rows;
mod runs;
mod schema;
mod texts;
mod ticks;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use catchment_core::{EventKind, NewEvent};
use catchment_settings::PostgresSettings;
use catchment_settings::wake::Hint;
use sqlx::{Any, Transaction};
use sqlx::{AnyConnection, AnyPool};
use uuid::Uuid;

pub(crate) use dialect::Dialect;
pub use hints::Hints;
pub(crate) use query::Sql;

use crate::{Instance, Result, SharedInstance};

/// The state in SQLite or PostgreSQL: the one implementation of [`Instance`].
#[derive(Debug, Clone)]
pub struct SqlInstance {
    shared: Arc<Shared>,
    /// The epoch of the leader that writes through this handle.
    fence: Option<i64>,
}

#[derive(Debug)]
struct Shared {
    /// Tells the hints of this handle from those of others.
    id: Uuid,
    postgres: Option<PostgresSettings>,
    dialect: Dialect,
    writers: AnyPool,
    readers: AnyPool,
    address: String,
    /// The newest horizon of the event log that was seen.
    horizon: AtomicI64,
}

#[async_trait]
impl Instance for SqlInstance {
    async fn hints(&self) -> Result<Hints> {
        Hints::listen(&self.shared).await
    }

    fn fenced(&self, epoch: i64) -> SharedInstance {
        Arc::new(Self { shared: Arc::clone(&self.shared), fence: Some(epoch) })
    }
}

impl SqlInstance {
    /// Where it is, for people: a file or a server, without a password.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// What the database understands.
    pub(crate) fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// Connections for single statements that read.
    pub(crate) fn readers(&self) -> &AnyPool {
        &self.shared.readers
    }

    /// Begins a transaction that writes. One of a leader's handle is refused once another leads
    /// ([`crate::InstanceError::Deposed`]), and holds a change of the leader up until it has ended.
    pub(crate) async fn begin_write(&self) -> Result<WriteTx> {
        let mut tx = self.begin_unfenced().await?;
        if let Some(epoch) = self.fence {
            daemons::check_epoch(&mut tx, epoch).await?;
        }
        Ok(tx)
    }

    /// The same, whoever leads: for the change of the leader itself.
    async fn begin_unfenced(&self) -> Result<WriteTx> {
        let dialect = self.dialect();
        let tx = match dialect {
            Dialect::Sqlite => self.shared.writers.begin_with("BEGIN IMMEDIATE").await?,
            Dialect::Postgres => self.shared.writers.begin().await?,
        };
        Ok(WriteTx { tx, dialect, own: self.shared.id, hint: None })
    }
}

/// A transaction that writes. Dropped without [`WriteTx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct WriteTx {
    tx: Transaction<'static, Any>,
    dialect: Dialect,
    /// Whose hints it gives.
    own: Uuid,
    hint: Option<Hint>,
}

impl WriteTx {
    /// What the database understands.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Waits until no other transaction holds this name, and holds it until the end. On SQLite no two transactions
    /// write at once anyway. Take names in alphabetical order, and before any row is written.
    pub(crate) async fn lock(&mut self, name: &str) -> Result<()> {
        if self.dialect == Dialect::Postgres {
            let mut sql = Sql::new("SELECT pg_advisory_xact_lock(hashtextextended(");
            sql.bind(name).push(", ").bind(dialect::NAMED_LOCKS).push("))");
            sql.execute(&mut *self.tx).await?;
        }
        Ok(())
    }

    /// Those who wait for something to do are told when this is committed.
    pub(crate) fn hint(&mut self, what: Hint) {
        self.hint = self.hint.max(Some(what));
    }

    /// The same, where an event is one that somebody waits for.
    fn hint_of(&mut self, events: &[NewEvent]) {
        if events.iter().any(|e| e.kind == EventKind::AssetMaterialization) {
            self.hint(Hint::Runs);
        }
    }

    /// Makes it last.
    pub(crate) async fn commit(mut self) -> Result<()> {
        if let Some(hint) = self.hint.filter(|_| self.dialect == Dialect::Postgres) {
            let mut sql = Sql::new("SELECT CAST(pg_notify(");
            sql.bind(dialect::CHANNEL).push(", ").bind(hints::payload(self.own, hint)).push(") AS TEXT)");
            sql.execute(&mut *self.tx).await?;
        }
        Ok(self.tx.commit().await?)
    }
}

impl Deref for WriteTx {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }
}
