//! The SQLite backend: the contract of the traits, and what is its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;

use std::sync::Arc;

use catchment_instance::sqlite::SqliteInstance;
use catchment_instance::{InstanceError, SharedInstance};
use catchment_settings::clock;
use sqlx::{Connection as _, Executor as _};

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
        Arc::new(SqliteInstance::open(self.folder.path().join("instance.db")).await.unwrap())
    }
}

contract::suite!(Sqlite::new());

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    drop(SqliteInstance::open(&path).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut db = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    db.execute("PRAGMA user_version = 999").await.unwrap();
    db.close().await.unwrap();
    let error = SqliteInstance::open(&path).await.unwrap_err();
    assert!(matches!(error, InstanceError::Corrupt(_)), "{error}");
    let problem = catchment_model::Problem::from(error);
    assert!(problem.what.contains("version 999") && problem.remedy.is_some(), "{problem}");
}

#[tokio::test]
async fn many_processes_may_make_the_same_database_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    let opened = futures::future::join_all((0..8).map(|_| SqliteInstance::open(&path))).await;
    for instance in opened {
        instance.unwrap();
    }
}

#[tokio::test]
async fn opening_and_admitting_take_milliseconds() {
    use catchment_core::state::Command;
    use catchment_instance::{Runs as _, Sensors as _};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    let first = SqliteInstance::open(&path).await.unwrap();
    let mut best = [f64::MAX; 3];
    for n in 0..10 {
        let began = clock::monotonic();
        let instance = SqliteInstance::open(&path).await.unwrap();
        let opened = clock::monotonic();
        let tick = instance.begin_tick("s", clock::now()).await.unwrap();
        let result = contract::requests([contract::claimed(&format!("b{n}"), "manifests/a.json", &format!("e{n}"))]);
        let admitted = instance.admit(tick.id, "etl", result, clock::now()).await.unwrap();
        let done = clock::monotonic();
        instance.command(admitted.tick.run_ids[0], Command::Launch, None, None, clock::now()).await.unwrap();
        let launched = clock::monotonic();
        for (best, time) in best.iter_mut().zip([opened - began, done - opened, launched - done]) {
            *best = best.min(time.as_secs_f64() * 1000.0);
        }
    }
    drop(first);
    println!("open {:.2} ms, tick and admit {:.2} ms, launch {:.2} ms", best[0], best[1], best[2]);
    assert!(best.iter().sum::<f64>() < 250.0, "{best:?}");
}
