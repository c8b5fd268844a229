//! How long each listing of the state takes when it is full: see `bench/state/README.md`.
//!
//! `state_bench [runs] [rounds]` fills a SQLite file and a PostgreSQL database in temporary places with runs (50,000),
//! twenty events each, ticks, partitions and backfills, and prints the times of each listing, in milliseconds.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use catchment_core::backfill::{BackfillId, BackfillTarget, NewBackfill};
use catchment_core::sensor::SensorResult;
use catchment_core::{EventKind, Instigator, Level, NewEvent, RunId, RunStatus};
use catchment_instance::sql::SqlInstance;
use catchment_instance::{
    Assets as _, BackfillFilter, Backfills as _, EventFilter, Events as _, Instigators as _, RunFilter, Runs as _,
    TickFilter,
};
use catchment_settings::clock;
use catchment_testing::postgres;
use jiff::Timestamp;
use sqlx::{AnyPool, AssertSqlSafe, Executor as _};

const EVENTS_EACH: i64 = 20;
const ASSETS: i64 = 40;
const PARTITIONS: i64 = 1_000;
const PAGE: u32 = 100;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn run_id(n: i64) -> RunId {
    format!("{:08x}-0000-4000-8000-{n:012x}", n.wrapping_mul(0x9e37_79b1) & 0xffff_ffff).parse().unwrap()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<i64>().unwrap());
    let runs = arguments.next().unwrap_or(50_000);
    let rounds = arguments.next().unwrap_or(100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("instance.db");
    let settings = postgres::database();
    sqlx::any::install_default_drivers();

    let sqlite = SqlInstance::open_sqlite(&path).await.unwrap();
    let server = SqlInstance::open_postgres(&settings).await.unwrap();
    let file = AnyPool::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let password = settings.password.as_ref().map_or(String::new(), |p| format!(":{}", p.reveal()));
    let url = format!("{}{password}@{}:{}/{}", settings.user, settings.host, settings.port, settings.database);
    let database = AnyPool::connect(&format!("postgres://{url}")).await.unwrap();

    println!("| listing | SQLite p50 | p95 | PostgreSQL p50 | p95 |\n| --- | ---: | ---: | ---: | ---: |");
    let mut loaded = Vec::new();
    for (instance, pool) in [(&sqlite, &file), (&server, &database)] {
        let began = clock::monotonic();
        fill(instance, pool, runs).await;
        loaded.push(began.elapsed().as_secs_f64());
    }
    database.execute("VACUUM ANALYZE").await.unwrap();
    for name in LISTINGS {
        let mut line = format!("| {name}");
        for instance in [&sqlite, &server] {
            let mut times = Vec::new();
            for round in 0..rounds {
                let which = (round * 7919 + 13) % runs;
                let began = clock::monotonic();
                let found = list(instance, name, which, runs).await;
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                assert!(found > 0, "{name} found nothing");
            }
            times.sort_by(f64::total_cmp);
            let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
            let _ = write!(line, " | {:.2} | {:.2}", at(0.5), at(0.95));
        }
        println!("{line} |");
    }
    let size = std::fs::metadata(&path).unwrap().len() / 1_000_000;
    println!("\nfilled in {:.0} s (SQLite, {size} MB) and {:.0} s (PostgreSQL)", loaded[0], loaded[1]);
}

/// Statuses of runs: most have ended well, a few are live.
fn status(n: i64, runs: i64) -> RunStatus {
    match n {
        n if n > runs - 20 => RunStatus::Queued,
        n if n > runs - 40 => RunStatus::Started,
        n if n % 50 == 0 => RunStatus::Failure,
        _ => RunStatus::Success,
    }
}

async fn fill(instance: &SqlInstance, pool: &AnyPool, runs: i64) {
    // Each run's row as the state writes it, in bulk; events through the state itself.
    for first in (0..runs).step_by(500) {
        let mut rows = String::new();
        let mut tags = String::new();
        for n in first..(first + 500).min(runs) {
            let (partition, job, team) = (n % PARTITIONS, n % 10, n % 7);
            let tag = format!(
                r#"{{"dagster/partition":"p{partition}","team":"t{team}","dagster/code_location":"etl","batch":"b{n}"}}"#
            );
            let status = status(n, runs);
            let ended = if status.is_final() { at(n * 60 + 50).as_microsecond().to_string() } else { "NULL".into() };
            let _ = write!(
                rows,
                "{}({}, '{}', 'job_{job}', 'location_{}', '{status}', '{{\"ops\":{{}}}}', '{tag}', 'p{partition}', \
                 '{{}}', {}, {ended})",
                if rows.is_empty() { "" } else { ", " },
                n + 1,
                run_id(n),
                n % 3,
                at(n * 60).as_microsecond(),
            );
            for (key, value) in [
                ("dagster/partition", format!("p{partition}")),
                ("team", format!("t{team}")),
                ("dagster/code_location", "etl".to_owned()),
                ("batch", format!("b{n}")),
            ] {
                let separator = if tags.is_empty() { "" } else { ", " };
                let _ = write!(tags, "{separator}('{key}', '{value}', {})", n + 1);
            }
        }
        let mut tx = pool.begin().await.unwrap();
        let columns = "seq, run_id, job_name, location, status, run_config, tags, partition_key, selection, \
                       created_at, ended_at";
        tx.execute(AssertSqlSafe(format!("INSERT INTO runs ({columns}) VALUES {rows}"))).await.unwrap();
        tx.execute(AssertSqlSafe(format!("INSERT INTO run_tags (key, value, seq) VALUES {tags}"))).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut batch = Vec::new();
    for n in 0..runs {
        batch.extend((0..EVENTS_EACH).map(|event| event_of(n, event)));
        if batch.len() >= 10_000 || n == runs - 1 {
            instance.append(&batch, None).await.unwrap();
            batch.clear();
        }
    }
    let sensor = Instigator::sensor("etl", "manifests");
    for n in 0..runs / 25 {
        let tick = instance.begin_tick(&sensor, None, at(n * 30)).await.unwrap();
        instance.admit(tick.id, SensorResult::default(), &[], at(n * 30 + 1)).await.unwrap();
    }
    for n in 0..runs / 500 {
        instance.request_backfill(backfill(n), at(n)).await.unwrap();
    }
}

fn event_of(run: i64, n: i64) -> NewEvent {
    let asset = format!("asset_{}", run % ASSETS);
    let partition = format!("p{:04}", run / ASSETS % PARTITIONS);
    let about = serde_json::json!({ "asset_key": asset, "partition": partition });
    let (kind, data) = match n {
        0 => (EventKind::RunEnqueued, serde_json::Value::Null),
        1 => (EventKind::RunStarting, serde_json::Value::Null),
        2 => (EventKind::RunStart, serde_json::Value::Null),
        3 => (EventKind::AssetMaterializationPlanned, about),
        4 => (EventKind::StepStart, serde_json::Value::Null),
        17 => (EventKind::AssetMaterialization, about),
        18 => (EventKind::StepSuccess, serde_json::json!({ "duration_ms": 1234 })),
        19 => (EventKind::RunSuccess, serde_json::Value::Null),
        _ => (EventKind::Log, serde_json::json!({ "n": n })),
    };
    NewEvent {
        run_id: run_id(run),
        timestamp: at(run * 60 + n),
        kind,
        step_key: (3..19).contains(&n).then(|| format!("step_{}", n % 4)),
        level: if run % 100 == 0 && n == 9 { Level::Error } else { Level::Info },
        message: format!("event {n} of run {run}: what happened, in a sentence of the usual length"),
        data,
    }
}

fn backfill(n: i64) -> NewBackfill {
    NewBackfill {
        id: BackfillId(format!("backfill{n:06}")),
        location: "etl".into(),
        target: BackfillTarget::Job { job: "job_1".into(), partitions: (0..50).map(|p| format!("p{p}")).collect() },
        policy: None,
        run_config: serde_json::Value::Null,
        tags: BTreeMap::new(),
        title: None,
        description: None,
    }
}

const LISTINGS: [&str; 35] = [
    "run: one",
    "runs: newest",
    "runs: a page in the middle",
    "runs: of 100 ids",
    "runs: of a common status",
    "runs: of a rare status",
    "runs: of live statuses",
    "runs: of a job",
    "runs: of a job and a rare status",
    "runs: of a location",
    "runs: of a partition",
    "runs: of a tag that a seventh has",
    "runs: of a tag that all have",
    "runs: of a tag that one has",
    "runs: of a tag and a rare status",
    "runs: made in a week",
    "runs: live",
    "runs: count of all",
    "runs: count of a status",
    "runs: count of a tag that all have",
    "tags: keys",
    "tags: values by prefix",
    "events: a run's log",
    "events: after a cursor",
    "events: changes of runs after a cursor",
    "events: newest",
    "events: of a kind",
    "events: of a step",
    "events: errors",
    "events: of a run, errors",
    "events: of an asset",
    "events: of an asset's partitions",
    "events: of an hour",
    "assets: partitions of one",
    "ticks, assets and backfills: newest",
];

async fn list(i: &SqlInstance, name: &str, which: i64, runs: i64) -> usize {
    let tag = |key: &str, value: String| vec![(key.to_owned(), value)];
    let filter = RunFilter::default;
    let events = EventFilter::default;
    let rare = vec![RunStatus::Failure];
    let runs_of = async |filter: RunFilter| i.runs(&filter, None, PAGE).await.unwrap().len();
    let events_of = async |filter: EventFilter| i.events(&filter, None, PAGE).await.unwrap().len();
    let asset = format!("asset_{}", which % ASSETS);
    let cursor = which * EVENTS_EACH / 2;
    match name {
        "run: one" => usize::from(i.run(run_id(which)).await.unwrap().is_some()),
        "runs: newest" => runs_of(filter()).await,
        "runs: a page in the middle" => i.runs(&filter(), Some(run_id(runs / 2)), PAGE).await.unwrap().len(),
        "runs: of 100 ids" => {
            runs_of(RunFilter { run_ids: (0..100).map(|n| run_id((which + n * 31) % runs)).collect(), ..filter() })
                .await
        }
        "runs: of a common status" => runs_of(RunFilter { statuses: vec![RunStatus::Success], ..filter() }).await,
        "runs: of a rare status" => runs_of(RunFilter { statuses: rare, ..filter() }).await,
        "runs: of live statuses" => {
            let statuses = vec![RunStatus::Queued, RunStatus::Starting, RunStatus::Started, RunStatus::Canceling];
            runs_of(RunFilter { statuses, ..filter() }).await
        }
        "runs: of a job" => runs_of(RunFilter { job_name: Some(format!("job_{}", which % 10)), ..filter() }).await,
        "runs: of a job and a rare status" => {
            runs_of(RunFilter { job_name: Some("job_0".into()), statuses: rare, ..filter() }).await
        }
        "runs: of a location" => runs_of(RunFilter { location: Some("location_1".into()), ..filter() }).await,
        "runs: of a partition" => {
            runs_of(RunFilter { partition_key: Some(format!("p{}", which % PARTITIONS)), ..filter() }).await
        }
        "runs: of a tag that a seventh has" => runs_of(RunFilter { tags: tag("team", "t3".into()), ..filter() }).await,
        "runs: of a tag that all have" => {
            runs_of(RunFilter { tags: tag("dagster/code_location", "etl".into()), ..filter() }).await
        }
        "runs: of a tag that one has" => {
            runs_of(RunFilter { tags: tag("batch", format!("b{which}")), ..filter() }).await
        }
        "runs: of a tag and a rare status" => {
            let tags = tag("dagster/code_location", "etl".into());
            runs_of(RunFilter { tags, statuses: vec![RunStatus::Started], ..filter() }).await
        }
        "runs: made in a week" => {
            let (from, to) = (runs / 3 * 60, runs / 3 * 60 + 7 * 86_400);
            runs_of(RunFilter { created_after: Some(at(from)), created_before: Some(at(to)), ..filter() }).await
        }
        "runs: live" => i.live_runs().await.unwrap().len(),
        "runs: count of all" => i.count_runs(&filter()).await.unwrap() as usize,
        "runs: count of a status" => i.count_runs(&RunFilter { statuses: rare, ..filter() }).await.unwrap() as usize,
        "runs: count of a tag that all have" => {
            let tags = tag("dagster/code_location", "etl".into());
            i.count_runs(&RunFilter { tags, ..filter() }).await.unwrap() as usize
        }
        "tags: keys" => i.run_tags(None, "", 50).await.unwrap().len(),
        "tags: values by prefix" => i.run_tags(Some("batch"), "b1", 50).await.unwrap().len(),
        "events: a run's log" => i.run_events(run_id(which), 0, PAGE).await.unwrap().len(),
        "events: after a cursor" => i.events_after(cursor, &[], PAGE).await.unwrap().len(),
        "events: changes of runs after a cursor" => {
            let kinds = [EventKind::RunSuccess, EventKind::RunFailure, EventKind::RunCanceled, EventKind::RunStart];
            i.events_after(cursor, &kinds, PAGE).await.unwrap().len()
        }
        "events: newest" => events_of(events()).await,
        "events: of a kind" => {
            events_of(EventFilter { kinds: vec![EventKind::AssetMaterialization], ..events() }).await
        }
        "events: of a step" => {
            let step_key = Some("step_1".into());
            events_of(EventFilter { run_id: Some(run_id(which)), step_key, ..events() }).await
        }
        "events: errors" => events_of(EventFilter { level: Some(Level::Error), ..events() }).await,
        "events: of a run, errors" => {
            let run_id = Some(run_id(which / 100 * 100));
            events_of(EventFilter { run_id, level: Some(Level::Error), ..events() }).await
        }
        "events: of an asset" => events_of(EventFilter { asset_key: Some(asset), ..events() }).await,
        "events: of an asset's partitions" => {
            let partitions = (0..20).map(|n| format!("p{n:04}")).collect();
            events_of(EventFilter { asset_key: Some(asset), partitions, ..events() }).await
        }
        "events: of an hour" => {
            let from = runs / 3 * 60;
            events_of(EventFilter { after: Some(at(from)), before: Some(at(from + 3600)), ..events() }).await
        }
        "assets: partitions of one" => i.asset_partitions(&asset, &[]).await.unwrap().len(),
        _ => {
            let sensor = Instigator::sensor("etl", "manifests");
            i.ticks(&sensor, &TickFilter::default(), None, PAGE).await.unwrap().len()
                + i.assets(&[], None, PAGE).await.unwrap().len()
                + i.backfills(&BackfillFilter::default(), None, PAGE).await.unwrap().len()
        }
    }
}
