//! The state on each backend: the contract of the traits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;

use std::sync::Arc;

use catchment_instance::SharedInstance;
use catchment_instance::sql::SqlInstance;
use catchment_settings::PostgresSettings;

/// A database in a temporary folder; each `open` is a process of its own as far as SQLite can tell.
struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
}

#[async_trait::async_trait]
impl contract::Backend for Sqlite {
    async fn open(&self) -> SharedInstance {
        Arc::new(SqlInstance::open_sqlite(self.folder.path().join("instance.db")).await.unwrap())
    }
}

/// A database of the server of this test program.
struct Postgres {
    settings: PostgresSettings,
}

impl Postgres {
    fn new() -> Self {
        Self { settings: catchment_testing::postgres::database() }
    }
}

#[async_trait::async_trait]
impl contract::Backend for Postgres {
    async fn open(&self) -> SharedInstance {
        Arc::new(SqlInstance::open_postgres(&self.settings).await.unwrap())
    }
}

mod sqlite {
    use super::{Sqlite, contract};

    contract::suite!(Sqlite::new());
    contract::ledger_suite!(Sqlite::new());
}

mod postgres {
    use super::{Postgres, contract};

    contract::suite!(Postgres::new());
    contract::ledger_suite!(Postgres::new());
}
