//! Retention.

use std::time::Duration;

use catchment_core::definitions::SensorKind;
use catchment_core::instigator::TickStatus;
use catchment_core::sensor::SensorResult;
use catchment_core::{EventKind, Instigator, Level, NewEvent, RunStatus};
use catchment_daemon::retention::Retention;
use catchment_instance::AutomationRecord;

use crate::stage::{LOCATION, Stage, problem, runs_for, sensors};

const DAY: Duration = Duration::from_secs(86_400);

fn watch() -> Instigator {
    Instigator::sensor(LOCATION, "watch")
}

async fn with(yaml: &str) -> Stage {
    let stage = Stage::with(sensors([("watch", SensorKind::Standard)]), yaml).await;
    let mut turn = 0;
    stage.fake.on_sensor("watch", move |_, _| {
        turn += 1;
        match turn {
            1 => Ok(runs_for(["a"])),
            2 => Err(problem("no")),
            _ => Ok(SensorResult::default()),
        }
    });
    let mut sensor = stage.sensor("watch");
    for _ in 0..3 {
        sensor.step().await.unwrap();
    }
    stage
}

async fn sweep(stage: &Stage) {
    let mut retention = Retention::new(stage.restarted());
    while retention.step().await.unwrap() < Duration::from_secs(1) {}
}

#[tokio::test]
async fn skipped_ticks_of_sensors_go_after_a_week_and_all_others_stay() {
    let stage = with("").await;
    stage.pass(DAY * 6);
    sweep(&stage).await;
    assert_eq!(stage.ticks(&watch()).await.len(), 3);
    stage.pass(DAY * 2);
    sweep(&stage).await;
    assert_eq!(stage.statuses(&watch()).await, [TickStatus::Success, TickStatus::Failure]);
    stage.pass(DAY * 4000);
    sweep(&stage).await;
    assert_eq!(stage.ticks(&watch()).await.len(), 2);
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn skipped_ticks_of_schedules_stay_and_every_status_can_be_set() {
    let stage = with("retention: {sensor: {purge_after_days: {failure: 1}}}").await;
    let schedule = Instigator::schedule(LOCATION, "daily");
    let tick = stage.instance.begin_tick(&schedule, Some(stage.now()), stage.now()).await.unwrap();
    stage.instance.admit(tick.id, SensorResult::default(), &[], stage.now()).await.unwrap();
    stage.pass(DAY * 30);
    sweep(&stage).await;
    assert_eq!(stage.statuses(&watch()).await, [TickStatus::Success, TickStatus::Skipped]);
    assert_eq!(stage.statuses(&schedule).await, [TickStatus::Skipped]);
}

#[tokio::test]
async fn run_keys_outlive_everything_that_is_removed() {
    let stage = with("retention: {sensor: {purge_after_days: 1}, runs: {purge_after_days: 1}}").await;
    let run = stage.runs().await.remove(0);
    let run = stage.start(run.run_id).await;
    stage.end(&run, catchment_core::state::Command::Succeed).await;
    stage.pass(DAY * 2);
    sweep(&stage).await;
    assert!(stage.ticks(&watch()).await.is_empty() && stage.runs().await.is_empty());
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["a"])));
    stage.sensor("watch").step().await.unwrap();
    assert!(stage.runs().await.is_empty(), "the key was used before");
}

#[tokio::test]
async fn log_lines_go_alone_where_that_is_set_and_their_run_stays() {
    let stage = with("retention: {logs: {purge_after_days: 1}}").await;
    let run = stage.runs().await.remove(0);
    let run = stage.start(run.run_id).await;
    let line = NewEvent {
        run_id: run.run_id,
        timestamp: stage.now(),
        kind: EventKind::Log,
        step_key: None,
        level: Level::Info,
        message: "a line".into(),
        data: serde_json::Value::Null,
    };
    // More than one batch.
    for _ in 0..41 {
        stage.instance.append(&vec![line.clone(); 500], None).await.unwrap();
    }
    stage.end(&run, catchment_core::state::Command::Succeed).await;
    sweep(&stage).await;
    assert_eq!(stage.instance.run_events(run.run_id, 0, 30_000).await.unwrap().len(), 20_500 + 4);
    stage.pass(DAY * 2);
    sweep(&stage).await;
    let left = stage.instance.run_events(run.run_id, 0, 30_000).await.unwrap();
    assert!(!left.is_empty() && left.iter().all(|event| event.event.kind != EventKind::Log), "{left:?}");
    assert_eq!(stage.runs().await[0].status, RunStatus::Success);
}

#[tokio::test]
async fn evaluations_of_conditions_go_after_thirty_days() {
    let stage = with("").await;
    let record = AutomationRecord {
        id: 0,
        key: "roads".into(),
        tick: 1,
        timestamp: stage.now(),
        requested: 1,
        evaluation: serde_json::json!({}),
    };
    // More than one batch.
    stage.instance.save_automation(LOCATION, &[], &vec![record; 1200]).await.unwrap();
    stage.pass(DAY * 29);
    sweep(&stage).await;
    assert_eq!(stage.instance.evaluations("roads", None, 2000).await.unwrap().len(), 1200);
    stage.pass(DAY * 2);
    sweep(&stage).await;
    assert_eq!(stage.instance.evaluations("roads", None, 2000).await.unwrap().len(), 0);
}
