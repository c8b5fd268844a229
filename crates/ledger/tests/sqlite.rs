//! The embedded ledger keeps the contract, is shared by processes, and opens fast.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod contract;

use std::collections::BTreeSet;
use std::sync::Arc;

use catchment_ledger::{Assets, LedgerError, Runs, SqliteLedger};
use catchment_settings::{clock, task};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

async fn fresh() -> (tempfile::TempDir, SqliteLedger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
    (folder, ledger)
}

macro_rules! contract {
    ($($name:ident)*) => { $(
        #[tokio::test]
        async fn $name() {
            let (_folder, ledger) = fresh().await;
            contract::$name(&ledger).await;
        }
    )* };
}

contract! {
    a_manifest_is_recorded_once
    a_manifests_status_follows_its_run
    a_refused_manifest_is_kept_with_its_faults
    a_version_number_is_never_given_twice
    a_commit_is_seen_by_all_who_ask
    an_output_is_committed_once
    a_late_commit_is_refused
    a_run_that_was_closed_before_it_opened_cannot_open_late
    a_run_that_is_opened_again_keeps_what_it_committed
    a_runs_final_status_stays
    a_deleted_version_is_passed_over_and_remembered
    listings_come_in_pages
    lineage_is_found_from_both_ends
    an_activity_with_a_key_is_logged_once
    a_document_that_does_not_fit_its_schema_is_refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_openers_of_one_file_get_numbers_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = Arc::new(folder.path().join("ledger.db"));
    let openers: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            task::spawn("opener", async move {
                let ledger = SqliteLedger::open(&*path).await.unwrap();
                let dataset = "parcels".parse().unwrap();
                let mut got = Vec::new();
                for _ in 0..10 {
                    got.push(ledger.reserve_version(&dataset, contract::at(0)).await.unwrap().version);
                }
                got
            })
        })
        .collect();
    let mut all = BTreeSet::new();
    for opener in openers {
        all.extend(opener.await.unwrap());
    }
    assert_eq!(all, (1..=40).collect());
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let (folder, ledger) = fresh().await;
    drop(ledger);
    let path = folder.path().join("ledger.db");
    let options = SqliteConnectOptions::new().filename(&path);
    let mut db = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("INSERT INTO schema_migrations VALUES (99, 'later', '')").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    assert!(matches!(SqliteLedger::open(&path).await, Err(LedgerError::Corrupt(_))));
}

/// A run's start must stay under 40 ms in all; the ledger's part of it (open, compile one schema, open the run)
/// is a fraction. The limit leaves room for a machine that is busy with other tests.
#[tokio::test]
async fn a_ledger_that_is_there_opens_fast() {
    let (folder, ledger) = fresh().await;
    drop(ledger);
    let mut best = std::time::Duration::MAX;
    for i in 0..5 {
        let start = clock::monotonic();
        let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
        let opened = start.elapsed();
        ledger.open_run(contract::run(&format!("r{i}"), 1)).await.unwrap();
        println!("open {opened:?}, with the first document {:?}", start.elapsed());
        best = best.min(start.elapsed());
    }
    assert!(best.as_millis() < 40, "{best:?}");
}
