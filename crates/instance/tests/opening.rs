//! Opening the state: versions of its schema, many at once, a server that is not there; and what only PostgreSQL has
//! to take care of.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use catchment_core::instigator::InstigatorStatus;
use catchment_core::{EventKind, Instigator, Level, NewEvent, NewRun, RunId, Selection};
use catchment_instance::sql::SqlInstance;
use catchment_instance::{Events as _, Instance as _, InstanceError, Instigators as _, Leadership as _, Runs as _};
use catchment_model::Problem;
use catchment_settings::clock;
use catchment_settings::wake::Hint;
use catchment_testing::postgres::{database, psql};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

/// What is awaited comes long before.
const PATIENCE: Duration = Duration::from_secs(20);

fn refused_as_newer(opened: Result<SqlInstance, InstanceError>) {
    let error = opened.unwrap_err();
    assert!(matches!(error, InstanceError::Corrupt(_)), "{error}");
    let problem = Problem::from(error);
    assert!(problem.what.contains("version 999") && problem.remedy.is_some(), "{problem}");
}

fn line(message: &str) -> NewEvent {
    NewEvent {
        run_id: RunId::NONE,
        timestamp: clock::now(),
        kind: EventKind::Log,
        step_key: None,
        level: Level::Info,
        message: message.into(),
        data: serde_json::Value::Null,
    }
}

fn run() -> NewRun {
    NewRun {
        run_id: RunId::random(),
        job_name: "j".into(),
        location: "l".into(),
        run_config: serde_json::Value::Null,
        tags: [("a".to_owned(), "b".to_owned())].into(),
        partition_key: None,
        selection: Selection::default(),
        parent_run_id: None,
        root_run_id: None,
    }
}

#[tokio::test]
async fn a_sqlite_file_of_a_newer_version_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    drop(SqlInstance::open_sqlite(&path).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut db = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
    db.execute("UPDATE schema_version SET version = 999").await.unwrap();
    db.close().await.unwrap();
    refused_as_newer(SqlInstance::open_sqlite(&path).await);
}

#[tokio::test]
async fn a_postgresql_database_of_a_newer_version_is_refused_with_a_remedy() {
    let settings = database();
    drop(SqlInstance::open_postgres(&settings).await.unwrap());
    assert!(psql(&settings, "UPDATE schema_version SET version = 999").status().unwrap().success());
    refused_as_newer(SqlInstance::open_postgres(&settings).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_make_the_same_state_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a folder, 100% ?#").join("instance.db");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let settings = database();
    let sqlite = futures::future::join_all((0..8).map(|_| SqlInstance::open_sqlite(&path)));
    let postgres = futures::future::join_all((0..8).map(|_| SqlInstance::open_postgres(&settings)));
    let (sqlite, postgres) = futures::future::join(sqlite, postgres).await;
    for instance in sqlite.into_iter().chain(postgres) {
        let instance = instance.unwrap();
        instance.append(&[line("x")], None).await.unwrap();
    }
    assert!(path.exists());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_problem_with_its_address_and_a_remedy() {
    let mut settings = database();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = taken.local_addr().unwrap().port();
    drop(taken);
    for (port, name) in [(free, settings.database.clone()), (settings.port, "no_such_database".to_owned())] {
        settings.port = port;
        settings.database = name;
        let error = SqlInstance::open_postgres(&settings).await.unwrap_err();
        assert!(matches!(error, InstanceError::Unreachable(_)), "{error}");
        let problem = Problem::from(error);
        assert!(problem.what.contains(&port.to_string()), "{problem}");
        assert!(problem.remedy.as_ref().unwrap().contains("DAGSTER_POSTGRES_HOST"), "{problem}");
    }
}

#[tokio::test]
async fn opening_and_writing_take_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    let first = SqlInstance::open_sqlite(&path).await.unwrap();
    let mut best = [f64::MAX; 2];
    for _ in 0..10 {
        let began = clock::monotonic();
        let instance = SqlInstance::open_sqlite(&path).await.unwrap();
        let opened = clock::monotonic();
        instance.enqueue(run(), clock::now()).await.unwrap();
        let done = clock::monotonic();
        for (best, time) in best.iter_mut().zip([opened - began, done - opened]) {
            *best = best.min(time.as_secs_f64() * 1000.0);
        }
    }
    drop(first);
    println!("open {:.2} ms, enqueue {:.2} ms", best[0], best[1]);
    assert!(best.iter().sum::<f64>() < 250.0, "{best:?}");
}

/// The heart of the global cursor: ids that were drawn first may become visible last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_waits_for_a_transaction_that_drew_lower_ids() {
    let settings = database();
    let instance = SqlInstance::open_postgres(&settings).await.unwrap();
    let first = instance.append(&[line("first")], None).await.unwrap();
    // A writer that has drawn its id and hangs, as `append` does it.
    let url = format!("postgres://{}@{}:{}/{}", settings.user, settings.host, settings.port, settings.database);
    let mut slow = sqlx::postgres::PgConnection::connect(&url).await.unwrap();
    for statement in [
        "BEGIN",
        "SELECT pg_advisory_xact_lock_shared((25441::BIGINT << 48) | last_value) FROM event_ids",
        "INSERT INTO events (id, run_id, timestamp, kind, level, message) \
         SELECT nextval('event_ids'), '00000000-0000-0000-0000-000000000000', 0, 'LOG', 'INFO', 'slow'",
    ] {
        slow.execute(statement).await.unwrap();
    }
    let fast = instance.append(&[line("fast")], None).await.unwrap();
    assert!(fast > first + 1);
    let seen = instance.events_after(first, &[], 9).await.unwrap();
    assert!(seen.is_empty(), "what may be overtaken is not shown: {seen:?}");
    assert!(instance.events_after(first, &[EventKind::Log], 9).await.unwrap().is_empty());
    assert!(instance.run_events(RunId::NONE, first, 9).await.unwrap().is_empty());
    assert_eq!(instance.last_event_id().await.unwrap(), first);
    slow.execute("COMMIT").await.unwrap();
    let texts = |events: &[catchment_core::Event]| events.iter().map(|e| e.event.message.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&instance.events_after(first, &[], 9).await.unwrap()), ["slow", "fast"]);
    // One that gives up holds nobody up any more either.
    slow.execute(AssertSqlSafe("BEGIN")).await.unwrap();
    slow.execute("SELECT pg_advisory_xact_lock_shared((25441::BIGINT << 48) | last_value) FROM event_ids")
        .await
        .unwrap();
    let last = instance.append(&[line("last")], None).await.unwrap();
    assert_eq!(instance.last_event_id().await.unwrap(), fast);
    drop(slow);
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while instance.last_event_id().await.unwrap() < last {
        assert!(clock::monotonic() < deadline, "the lock of a connection that is gone was not released");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_locks_late_hides_nothing_that_a_reader_has_counted() {
    let settings = database();
    let instance = SqlInstance::open_postgres(&settings).await.unwrap();
    let first = instance.append(&[line("first")], None).await.unwrap();
    let fast = instance.append(&[line("fast")], None).await.unwrap();
    assert_eq!(instance.last_event_id().await.unwrap(), fast);
    // It has read the last id before `fast` was written, and comes to its lock only now.
    let url = format!("postgres://{}@{}:{}/{}", settings.user, settings.host, settings.port, settings.database);
    let mut late = sqlx::postgres::PgConnection::connect(&url).await.unwrap();
    late.execute("BEGIN").await.unwrap();
    let lock = format!("SELECT pg_advisory_xact_lock_shared((25441::BIGINT << 48) | {first})");
    late.execute(AssertSqlSafe(lock)).await.unwrap();
    assert_eq!(instance.last_event_id().await.unwrap(), fast, "the horizon fell");
    let seen = instance.events_after(first, &[], 9).await.unwrap();
    assert_eq!(seen.iter().map(|event| event.id).collect::<Vec<_>>(), [fast]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_writes_holds_the_next_one_up_until_it_has_ended() {
    let settings = database();
    let instance = SqlInstance::open_postgres(&settings).await.unwrap();
    let now = clock::now();
    let until = now + Duration::from_secs(10);
    assert_eq!(instance.lead("a", until, now).await.unwrap().epoch, 1);
    let url = format!("postgres://{}@{}:{}/{}", settings.user, settings.host, settings.port, settings.database);
    let mut writer = sqlx::postgres::PgConnection::connect(&url).await.unwrap();
    writer.execute("BEGIN").await.unwrap();
    writer.execute("SELECT epoch FROM leadership FOR KEY SHARE").await.unwrap();
    // The leader's own beat is not held up by its writers; a change of the leader is.
    let longer = until + Duration::from_secs(1);
    assert_eq!(instance.lead("a", longer, now).await.unwrap().until, longer);
    let later = longer + Duration::from_secs(1);
    let next = instance.lead("b", later + Duration::from_secs(1), later);
    tokio::pin!(next);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut next).await.is_err());
    writer.execute("COMMIT").await.unwrap();
    assert_eq!(next.await.unwrap().epoch, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_made_wakes_those_who_listen() {
    let settings = database();
    let instance = SqlInstance::open_postgres(&settings).await.unwrap();
    let mut hints = instance.hints().await.unwrap();
    let other = SqlInstance::open_postgres(&settings).await.unwrap();
    other.append(&[line("nobody waits for a line")], None).await.unwrap();
    other.enqueue(run(), clock::now()).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, hints.woken()).await.unwrap(), Hint::Runs);
    instance.enqueue(run(), clock::now()).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(100), hints.woken()).await;
    assert!(quiet.is_err(), "one run is one hint, and one's own is none");
    let sensor = Instigator::sensor("example", "watch");
    other.set_status(&sensor, InstigatorStatus::Running, true, clock::now()).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, hints.woken()).await.unwrap(), Hint::Anything);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_hears_on_when_the_connection_was_lost() {
    let settings = database();
    let instance = SqlInstance::open_postgres(&settings).await.unwrap();
    let other = SqlInstance::open_postgres(&settings).await.unwrap();
    let mut hints = instance.hints().await.unwrap();
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE query LIKE 'LISTEN%' AND datname = current_database()";
    assert!(psql(&settings, ended).output().unwrap().status.success());
    assert_eq!(tokio::time::timeout(PATIENCE, hints.woken()).await.unwrap(), Hint::Anything, "what was missed");
    // The first is heard only where the connection stands again by then.
    let heard = tokio::time::timeout(PATIENCE, hints.woken());
    let said = async {
        loop {
            other.enqueue(run(), clock::now()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        hint = heard => assert_eq!(hint.unwrap(), Hint::Runs),
        () = said => {}
    }
}
