//! A whole daemon over made-up locations: which sensors and schedules run, side by side, and what they are known by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_core::definitions::{LocationSnapshot, SensorKind, SensorSpec};
use catchment_core::instigator::InstigatorStatus;
use catchment_core::sensor::SensorResult;
use catchment_core::{Instigator, RunStatus};
use catchment_daemon::DaemonConfig;
use catchment_daemon::context::Clock;
use catchment_instance::TickFilter;
use catchment_launchers::SubprocessLauncher;
use catchment_ledger::SqliteLedger;
use catchment_model::Problem;
use catchment_settings::{clock, task, wake};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::stage::{LOCATION, Stage, runs_for, sensors};

/// Every second, where nothing wakes them.
const EAGER: &str = "sensors: {minimum_interval_seconds: 1}";

struct Working {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Problem>>,
}

impl Working {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

async fn daemon(stage: &Stage) -> Working {
    let config = DaemonConfig {
        home: stage.home.clone(),
        instance: stage.instance.clone(),
        ledger: Arc::new(SqliteLedger::open(stage.home.ledger_db()).await.unwrap()),
        locations: stage.locations.clone(),
        launcher: Arc::new(SubprocessLauncher::new()),
        config: stage.context.config.clone(),
        clock: Clock::default(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = task::spawn("daemon", async move {
        catchment_daemon::run(config, async {
            stopped.await.ok();
        })
        .await
    });
    Working { stop, task }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let deadline: Instant = clock::monotonic() + Duration::from_secs(30);
    while !is().await {
        assert!(clock::monotonic() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ticks(stage: &Stage, location: &str, name: &str) -> usize {
    let all = TickFilter::default();
    stage.instance.ticks(&Instigator::sensor(location, name), &all, None, 1000).await.unwrap().len()
}

async fn more_ticks(stage: &Stage, name: &str) {
    let before = ticks(stage, LOCATION, name).await;
    until(&format!("a tick of {name}"), async || ticks(stage, LOCATION, name).await > before).await;
}

async fn set(stage: &Stage, name: &str, status: InstigatorStatus) {
    let instigator = Instigator::sensor(LOCATION, name);
    let runs = status == InstigatorStatus::Running;
    stage.instance.set_status(&instigator, status, runs, clock::now()).await.unwrap();
    wake::wake(&stage.home.daemon_socket());
}

/// One that its definition starts, one that it does not.
fn two() -> LocationSnapshot {
    let mut snapshot = sensors([("on", SensorKind::Standard), ("off", SensorKind::Standard)]);
    snapshot.sensors[1].running_by_default = false;
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_sensor_delays_no_other() {
    let stage = Stage::with(sensors([("slow", SensorKind::Standard), ("quick", SensorKind::Standard)]), EAGER).await;
    *stage.fake.hanging.lock().unwrap() = Some("slow".into());
    let working = daemon(&stage).await;
    for _ in 0..3 {
        more_ticks(&stage, "quick").await;
    }
    assert_eq!(ticks(&stage, LOCATION, "slow").await, 1, "one tick at a time");
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_runs_as_its_code_says_until_someone_decides_and_again_after_a_reset() {
    let stage = Stage::with(two(), EAGER).await;
    let working = daemon(&stage).await;
    more_ticks(&stage, "on").await;
    assert_eq!(ticks(&stage, LOCATION, "off").await, 0);
    set(&stage, "off", InstigatorStatus::Running).await;
    more_ticks(&stage, "off").await;
    set(&stage, "on", InstigatorStatus::Stopped).await;
    set(&stage, "off", InstigatorStatus::DeclaredInCode).await;
    let is_noted = async |name: &str| {
        stage.instance.instigator(&Instigator::sensor(LOCATION, name)).await.unwrap().running_since.is_some()
    };
    until("the end of both", async || {
        let before = (ticks(&stage, LOCATION, "on").await, ticks(&stage, LOCATION, "off").await);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        before == (ticks(&stage, LOCATION, "on").await, ticks(&stage, LOCATION, "off").await)
    })
    .await;
    assert!(!is_noted("on").await && !is_noted("off").await);
    set(&stage, "on", InstigatorStatus::DeclaredInCode).await;
    more_ticks(&stage, "on").await;
    assert!(is_noted("on").await);
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sensors_of_every_location_run_and_one_that_a_reload_brings_as_well() {
    let stage = Stage::with(sensors([("on", SensorKind::Standard)]), EAGER).await;
    let there = || sensors([("there", SensorKind::Standard)]);
    stage.locations.set("elsewhere", there(), stage.fake.clone(), true, stage.now());
    let working = daemon(&stage).await;
    more_ticks(&stage, "on").await;
    until("the other location's", async || ticks(&stage, "elsewhere", "there").await > 0).await;
    let mut reloaded = there();
    let new = SensorSpec { name: "new".into(), running_by_default: true, ..SensorSpec::default() };
    reloaded.sensors.push(new);
    stage.locations.set("elsewhere", reloaded, stage.fake.clone(), true, stage.now());
    let asked = clock::monotonic();
    until("the new one", async || ticks(&stage, "elsewhere", "new").await > 0).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "a reload is noticed at once: {:?}", asked.elapsed());
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_new_wakes_a_sensor_long_before_its_interval() {
    let stage = Stage::with(sensors([("on", SensorKind::Standard)]), "sensors: {minimum_interval_seconds: 3600}").await;
    let working = daemon(&stage).await;
    until("the first tick", async || ticks(&stage, LOCATION, "on").await == 1).await;
    stage.fake.on_sensor("on", |_, _| Ok(runs_for(["a"])));
    let asked = clock::monotonic();
    // A hint that comes while the first tick ends is not lost, and is one more tick.
    wake::wake(&stage.home.daemon_socket());
    until("a run", async || !stage.runs().await.is_empty()).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let before = ticks(&stage, LOCATION, "on").await;
    wake::wake_for_runs(&stage.home.daemon_socket());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ticks(&stage, LOCATION, "on").await, before, "a change of a run is nothing new outside");
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_daemon_has_its_heartbeat_and_a_sensor_that_lies_behind_shows_as_lag() {
    let kind = SensorKind::RunStatus {
        statuses: vec![RunStatus::Success],
        monitored_jobs: Vec::new(),
        monitor_all_locations: false,
    };
    let stage = Stage::new(sensors([("reacts", kind)])).await;
    stage.fake.on_sensor("reacts", |_, _| Ok(SensorResult::default()));
    let working = daemon(&stage).await;
    until("the first tick", async || ticks(&stage, LOCATION, "reacts").await > 0).await;
    stage.fake.set_away(true);
    for _ in 0..5 {
        stage.ended(LOCATION, "job", true).await;
    }
    let beat =
        async |daemon: &str| stage.instance.heartbeats().await.unwrap().into_iter().find(|beat| beat.daemon == daemon);
    until("a heartbeat with the lag", async || beat("SENSOR").await.is_some_and(|beat| beat.lag > 0)).await;
    for name in [
        "ASSET",
        "SCHEDULER",
        "FRESHNESS_DAEMON",
        "EVENT_LOG_CONSUMER",
        "ALERTS",
        "QUEUED_RUN_COORDINATOR",
        "MONITORING",
        "BACKFILL",
    ] {
        until(name, async || beat(name).await.is_some_and(|beat| beat.problem.is_none())).await;
    }
    stage.fake.set_away(false);
    until("the end of the lag", async || beat("SENSOR").await.is_some_and(|beat| beat.lag == 0)).await;
    working.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_defined_any_more_does_not_run_and_begins_anew_when_it_comes_back() {
    let stage = Stage::with(sensors([("on", SensorKind::Standard)]), EAGER).await;
    let on = Instigator::sensor(LOCATION, "on");
    let started = clock::now();
    stage.instance.set_status(&on, InstigatorStatus::Running, true, started).await.unwrap();
    let since = async || stage.instance.instigator(&on).await.unwrap().running_since;
    let working = daemon(&stage).await;
    more_ticks(&stage, "on").await;
    assert!(since().await.is_some());
    stage.locations.set(LOCATION, sensors([]), stage.fake.clone(), true, stage.now());
    until("its end", async || since().await.is_none()).await;
    stage.locations.set(LOCATION, sensors([("on", SensorKind::Standard)]), stage.fake.clone(), true, stage.now());
    until("its return", async || since().await.is_some_and(|since| since > started)).await;
    working.stop().await;
}
