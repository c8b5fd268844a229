//! How long the listings of assets, checks, ticks, backfills, alerts and pools take in a full state; those of runs and
//! events are in `state_bench`.
//!
//! `ledger_bench [sqlite|postgres]` fills an empty state by SQL (1,000,000 events, 50,000 runs, 200,000 partitions of
//! assets, 200,000 ticks, 200,000 evaluations of checks), asks for each page 60 times at different places, and prints
//! the median and the 95th percentile in milliseconds. It fails where a 95th percentile is above 50 ms.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed")]

use std::future::Future;
use std::time::Duration;

use catchment_core::Instigator;
use catchment_core::backfill::BackfillStatus;
use catchment_core::instigator::TickStatus;
use catchment_instance::sql::SqlInstance;
use catchment_instance::{BackfillFilter, Instance, TickFilter};
use catchment_settings::clock;
use jiff::Timestamp;
use sqlx::any::AnyPoolOptions;

/// How often each page is asked for.
const TIMES: usize = 60;
const RUNS: i64 = 50_000;

/// What fills the state: `{n}` counts up from 0. Ids of runs are UUIDs that end in `100000000000 + n`.
const FILL: &[(i64, &str)] = &[
    (
        RUNS,
        "INSERT INTO runs (seq, run_id, job_name, location, status, run_config, tags, partition_key, selection, \
         created_at, launched_at, started_at, ended_at) \
         SELECT n + 1, {run}, 'job_' || CAST(n % 40 AS TEXT), 'location_' || CAST(n % 4 AS TEXT), \
         CASE WHEN n % 50000 > 49900 THEN 'QUEUED' WHEN n % 100 = 7 THEN 'FAILURE' ELSE 'SUCCESS' END, \
         '{}', '{}', 'p' || CAST(n % 2000 AS TEXT), '{}', 1700000000000000 + n * 1000000, \
         1700000000000000 + n * 1000000, 1700000000000000 + n * 1000000, \
         CASE WHEN n % 50000 > 49900 THEN NULL ELSE 1700000000000000 + n * 1000000 + 500000 END FROM numbers",
    ),
    (
        20 * RUNS,
        "INSERT INTO events (id, run_id, timestamp, kind, step_key, level, message, data, asset_key, partition) \
         SELECT n + 1, '00000000-0000-4000-8000-' || CAST(100000000000 + n / 20 AS TEXT), \
         1700000000000000 + n * 50000, CASE n % 20 WHEN 0 THEN 'PIPELINE_ENQUEUED' WHEN 1 THEN 'PIPELINE_STARTING' \
         WHEN 2 THEN 'PIPELINE_START' WHEN 3 THEN 'ASSET_MATERIALIZATION_PLANNED' WHEN 4 THEN 'STEP_START' \
         WHEN 16 THEN 'ASSET_MATERIALIZATION' WHEN 17 THEN 'ASSET_CHECK_EVALUATION' WHEN 18 THEN 'STEP_SUCCESS' \
         WHEN 19 THEN 'PIPELINE_SUCCESS' ELSE 'LOG' END, CASE WHEN n % 20 > 3 AND n % 20 < 19 THEN 'step' END, \
         CASE WHEN n % 997 = 0 THEN 'ERROR' ELSE 'INFO' END, 'a line of some length, as lines of a log are', \
         CASE WHEN n % 20 IN (3, 16, 17) THEN '{\"asset_key\":\"asset_1\"}' END, \
         CASE WHEN n % 20 IN (3, 16, 17) THEN 'asset_' || CAST(n / 20 % 1000 AS TEXT) END, \
         CASE WHEN n % 20 IN (3, 16, 17) THEN 'p' || CAST(n / 20 % 2000 AS TEXT) END FROM numbers",
    ),
    (
        1001,
        "INSERT INTO asset_records (asset_key, materialized_id, materialized_at, materialized_by) \
         SELECT 'asset_' || CAST(n AS TEXT), n * 20 + 17, 1700000000000000, {run} FROM numbers",
    ),
    (
        200_000,
        "INSERT INTO asset_partitions \
         (asset_key, partition_key, status, materialized_id, materialized_at, last_event, run_id) \
         SELECT CASE WHEN n % 2 = 0 THEN 'asset_1000' ELSE 'asset_' || CAST(n / 2 % 1000 AS TEXT) END, \
         'p' || CAST(n / 2 AS TEXT), CASE WHEN n % 30 = 0 THEN 'FAILED' ELSE 'MATERIALIZED' END, \
         n * 5 + 1, 1700000000000000, n * 5 + 1, {run} FROM numbers",
    ),
    (
        200,
        "INSERT INTO asset_plans (asset_key, partition_key, run_id, event_id) \
         SELECT 'asset_' || CAST(n AS TEXT), 'p' || CAST(n AS TEXT), {run}, n FROM numbers",
    ),
    (
        200_000,
        "INSERT INTO check_executions (asset_key, check_name, partition_key, run_id, status, timestamp, evaluation_id) \
         SELECT 'asset_' || CAST(n % 100 AS TEXT), 'check_' || CAST(n / 100 % 4 AS TEXT), '', {run}, 'SUCCEEDED', \
         1700000000000000 + n, n % 50000 * 20 + 18 FROM numbers",
    ),
    (
        1,
        "INSERT INTO checks (asset_key, check_name, execution_id) \
         SELECT asset_key, check_name, max(id) FROM check_executions GROUP BY asset_key, check_name",
    ),
    (
        20,
        "INSERT INTO instigators (instigator, last_tick_at) \
         SELECT 'sensor:location/sensor_' || CAST(n AS TEXT), 1700000000000000 FROM numbers",
    ),
    (
        200_000,
        "INSERT INTO ticks (instigator, kind, status, started_at, ended_at) \
         SELECT 'sensor:location/sensor_' || CAST(n % 20 AS TEXT), 'sensor', \
         CASE WHEN n / 20 % 500 = 3 THEN 'FAILURE' WHEN n / 20 % 10 = 1 THEN 'SUCCESS' ELSE 'SKIPPED' END, \
         1700000000000000 + n * 1000000, 1700000000000000 + n * 1000000 + 1000 FROM numbers",
    ),
    (
        100_000,
        "INSERT INTO tick_logs (tick, timestamp, level, message) \
         SELECT n * 2 + 1, 1700000000000000, 'INFO', 'a line' FROM numbers",
    ),
    (
        5_000,
        "INSERT INTO backfills (id, location, status, request, created_at, progress, version) \
         SELECT 'b' || CAST(n AS TEXT), 'location', CASE WHEN n % 500 = 0 THEN 'REQUESTED' ELSE 'COMPLETED_SUCCESS' END, \
         '{\"id\":\"b' || CAST(n AS TEXT) || '\",\"location\":\"location\",\"target\":{\"target\":\"job\",\"job\":\"j\",\
         \"partitions\":[]},\"policy\":null,\"run_config\":{},\"tags\":{},\"title\":null,\"description\":null}', \
         1700000000000000, 'null', 1 FROM numbers",
    ),
    (
        100_000,
        "INSERT INTO alerts (key, rule, channel, event, status, created_at, due_at) \
         SELECT 'k' || CAST(n AS TEXT), 'rule', 'channel', '{}', \
         CASE WHEN n % 1000 = 0 THEN 'PENDING' ELSE 'DELIVERED' END, \
         1700000000000000 + n, 1700000000000000 + n FROM numbers",
    ),
    (
        200_000,
        "INSERT INTO automation_records (key, tick, timestamp, requested, evaluation) \
         SELECT 'asset_' || CAST(n % 1000 AS TEXT), n / 1000, 1700000000000000 + n, 1, '{}' FROM numbers",
    ),
    (
        500,
        "INSERT INTO pool_slots (pool, run_id, step_key, priority, held, since) \
         SELECT 'pool_' || CAST(n % 50 AS TEXT), {run}, 'step', n % 3, n % 2, 1700000000000000 FROM numbers",
    ),
    (
        30_000,
        "INSERT INTO partitions (definition, key) SELECT 'dataset_' || CAST(n % 3 AS TEXT), 'p' || CAST(n AS TEXT) \
         FROM numbers",
    ),
];

#[tokio::main]
async fn main() {
    let backend = std::env::args().nth(1).unwrap_or_else(|| "sqlite".into());
    let folder = tempfile::tempdir().unwrap();
    let (instance, url) = if backend == "postgres" {
        let settings = catchment_testing::postgres::database();
        let instance = SqlInstance::open_postgres(&settings).await.unwrap();
        let user = match &settings.password {
            Some(password) => format!("{}:{}", settings.user, password.reveal()),
            None => settings.user.clone(),
        };
        (instance, format!("postgres://{user}@{}:{}/{}", settings.host, settings.port, settings.database))
    } else {
        let path = folder.path().join("instance.db");
        (SqlInstance::open_sqlite(&path).await.unwrap(), format!("sqlite://{}", path.display()))
    };
    fill(&url, backend == "postgres").await;
    let slow = measure(&instance, &backend).await;
    assert!(slow.is_empty(), "too slow: {}", slow.join(", "));
}

async fn fill(url: &str, postgres: bool) {
    let start = clock::monotonic();
    let pool = AnyPoolOptions::new().max_connections(1).connect(url).await.unwrap();
    for (count, text) in FILL {
        let text = text.replace("{run}", "'00000000-0000-4000-8000-' || CAST(100000000000 + n AS TEXT)");
        // Integers of a recursive query are small ones on PostgreSQL unless they are told otherwise.
        let (before, values) = text.split_once("SELECT").unwrap();
        let numbers = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT n + 1 FROM numbers \
             WHERE n + 1 < {count})"
        );
        let statement = format!("{before}{numbers} SELECT{values}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    if postgres {
        for text in ["SELECT setval('event_ids', 1000000)", "VACUUM ANALYZE"] {
            sqlx::raw_sql(text).execute(&pool).await.unwrap();
        }
    }
    println!("filled in {:.0?}", clock::monotonic() - start);
}

/// The times of one page.
struct Page {
    name: &'static str,
    times: Vec<Duration>,
}

async fn time<F: Future<Output = usize>>(name: &'static str, mut page: impl FnMut(usize) -> F) -> Page {
    let mut times = Vec::with_capacity(TIMES);
    for n in 0..TIMES {
        let start = clock::monotonic();
        assert!(page(n).await > 0, "{name} found nothing");
        times.push(clock::monotonic() - start);
    }
    times.sort_unstable();
    Page { name, times }
}

async fn measure(instance: &SqlInstance, backend: &str) -> Vec<String> {
    let i: &dyn Instance = instance;
    let asset = |n: usize| format!("asset_{n}");
    let sensor = |n: usize| Instigator::sensor("location", format!("sensor_{}", n % 20));
    let ticks = |name: Instigator, filter: TickFilter, before: Option<i64>| async move {
        i.ticks(&name, &filter, before, 50).await.unwrap().len()
    };
    let time_of = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
    let pages = vec![
        time("ticks", |n| ticks(sensor(n), TickFilter::default(), Some(200_000 - n as i64 * 3000))).await,
        time("ticks of a rare status", |n| {
            ticks(sensor(n), TickFilter { statuses: vec![TickStatus::Failure], ..TickFilter::default() }, None)
        })
        .await,
        time("ticks of two statuses between two times", |n| {
            let filter = TickFilter {
                statuses: vec![TickStatus::Failure, TickStatus::Success],
                after: Some(time_of(n as i64 * 3000)),
                before: Some(time_of(n as i64 * 3000 + 20_000)),
            };
            ticks(sensor(n), filter, None)
        })
        .await,
        time("instigators", |_| async move { i.instigators().await.unwrap().len() }).await,
        time("assets", |n| async move { i.assets(&[], Some(&asset(n)), 100).await.unwrap().len() }).await,
        time("assets by key", |n| async move {
            let keys: Vec<String> = (0..100).map(|k| asset(n + k * 7)).collect();
            i.assets(&keys, None, 100).await.unwrap().len()
        })
        .await,
        time("partitions of an asset", |n| async move { i.asset_partitions(&asset(n), &[]).await.unwrap().len() })
            .await,
        time("100 of 100,000 partitions", |n| async move {
            let keys: Vec<String> = (0..100).map(|k| format!("p{}", n * 15 + k * 900)).collect();
            i.asset_partitions("asset_1000", &keys).await.unwrap().len()
        })
        .await,
        time("count of 100,000 partitions", |_| async move {
            i.count_partitions("asset_1000").await.unwrap().materialized as usize
        })
        .await,
        time("evaluations of a check", |n| async move {
            i.check_executions(&asset(n), "check_1", Some(150_000), 50).await.unwrap().len()
        })
        .await,
        time("newest evaluations of 50 assets", |n| async move {
            let keys: Vec<String> = (0..50).map(|k| asset(n % 50 + k)).collect();
            i.latest_checks(&keys).await.unwrap().len()
        })
        .await,
        time("backfills", |n| async move {
            let filter = BackfillFilter {
                statuses: if n % 2 == 0 { vec![BackfillStatus::Requested] } else { Vec::new() },
                ..BackfillFilter::default()
            };
            i.backfills(&filter, None, 50).await.unwrap().len()
        })
        .await,
        time("alerts", |n| async move { i.alerts(Some(100_000 - n as i64 * 1500), 50).await.unwrap().len() }).await,
        time("alerts that are due", |_| async move { i.due_alerts(time_of(9), 50).await.unwrap().len() }).await,
        time("evaluations of a condition", |n| async move { i.evaluations(&asset(n), None, 50).await.unwrap().len() })
            .await,
        time("pools", |_| async move { i.pools().await.unwrap().len() }).await,
        time("10,000 dynamic partitions", |n| async move {
            i.partitions(&format!("dataset_{}", n % 3)).await.unwrap().len()
        })
        .await,
    ];
    let mut slow = Vec::new();
    for Page { name, times } in pages {
        let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1000.0;
        println!("{backend:8} {name:42} {:7.2} {:7.2} ms", ms(50), ms(95));
        if ms(95) > 50.0 {
            slow.push(name.to_owned());
        }
    }
    slow
}
