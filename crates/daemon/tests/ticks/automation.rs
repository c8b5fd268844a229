//! Automation conditions.

use catchment_core::automation::AutomationCondition;
use catchment_core::definitions::{
    ASSET_JOB, CheckSpec, DEFAULT_AUTOMATION_SENSOR, JobSpec, LocationSnapshot, PartitionsSpec, SensorKind, SensorSpec,
    StepSpec,
};
use catchment_core::instigator::TickStatus;
use catchment_core::partitions::PartitionsDefinition;
use catchment_core::state::Command;
use catchment_core::{Instigator, RunStatus, tags};

use crate::stage::{LOCATION, Stage, asset, seconds};

fn instigator() -> Instigator {
    Instigator::sensor(LOCATION, DEFAULT_AUTOMATION_SENSOR)
}

/// `a` → `b` → `c`, where the last two are to follow by themselves.
fn chain() -> LocationSnapshot {
    let mut assets = vec![asset("c", &["b"]), asset("b", &["a"]), asset("a", &[])];
    assets[0].automation = Some(AutomationCondition::eager());
    assets[1].automation = Some(AutomationCondition::eager());
    let step = |key: &str| StepSpec { key: key.into(), assets: vec![key.into()], ..StepSpec::default() };
    let job = JobSpec {
        name: ASSET_JOB.into(),
        steps: ["a", "b", "c"].map(step).into(),
        is_asset_job: true,
        ..JobSpec::default()
    };
    with_sensor(LocationSnapshot { location: LOCATION.into(), assets, jobs: vec![job], ..LocationSnapshot::default() })
}

fn with_sensor(mut snapshot: LocationSnapshot) -> LocationSnapshot {
    snapshot.sensors.push(SensorSpec {
        name: DEFAULT_AUTOMATION_SENSOR.into(),
        kind: SensorKind::Automation { assets: Vec::new() },
        ..SensorSpec::default()
    });
    snapshot
}

async fn tick(stage: &Stage) {
    let mut sensor = stage.sensor(DEFAULT_AUTOMATION_SENSOR);
    sensor.step().await.unwrap();
    stage.pass(seconds(30));
}

/// Every queued run works and makes what it was asked for.
async fn work(stage: &Stage) {
    for run in stage.runs().await.into_iter().filter(|run| run.status == RunStatus::Queued) {
        let run = stage.start(run.run_id).await;
        for key in &run.selection.assets {
            stage.made(key, run.partition_key.as_deref(), run.run_id).await;
        }
        stage.end(&run, Command::Succeed).await;
    }
}

#[tokio::test]
async fn what_depends_on_a_new_materialisation_is_made_in_one_run_with_what_follows() {
    let stage = Stage::new(chain()).await;
    for key in ["a", "b", "c"] {
        stage.made(key, None, catchment_core::RunId::NONE).await;
    }
    tick(&stage).await;
    tick(&stage).await;
    assert!(stage.runs().await.is_empty(), "nothing has changed");
    stage.made("a", None, catchment_core::RunId::NONE).await;
    tick(&stage).await;
    let [run] = stage.runs().await.try_into().unwrap();
    assert_eq!(
        (run.job_name.as_str(), run.selection.assets.as_slice()),
        (ASSET_JOB, ["b".into(), "c".into()].as_slice())
    );
    assert_eq!(run.tags[tags::FROM_AUTOMATION_CONDITION], "true");
    tick(&stage).await;
    work(&stage).await;
    for _ in 0..3 {
        tick(&stage).await;
    }
    assert_eq!(stage.runs().await.len(), 1, "what was made together is not made again");
}

#[tokio::test]
async fn a_queued_run_counts_as_in_progress() {
    let mut snapshot = chain();
    snapshot.assets[0].automation = None;
    snapshot.assets[1].automation = Some(AutomationCondition::Missing.and(AutomationCondition::InProgress.not()));
    let stage = Stage::new(snapshot).await;
    for _ in 0..4 {
        tick(&stage).await;
    }
    assert_eq!(stage.runs().await.len(), 1);
    let run = stage.start(stage.runs().await[0].run_id).await;
    stage.end(&run, Command::Fail(crate::stage::problem("no"))).await;
    tick(&stage).await;
    assert_eq!(stage.runs().await.len(), 2, "it is still missing, and nobody is making it");
}

#[tokio::test]
async fn a_tick_of_a_cron_condition_asks_once() {
    let mut snapshot = chain();
    snapshot.assets[0].automation = None;
    snapshot.assets[1].automation = Some(AutomationCondition::cron_tick_passed("0 * * * *", "UTC").unwrap());
    let stage = Stage::new(snapshot).await;
    tick(&stage).await;
    assert!(stage.runs().await.is_empty());
    stage.set_time("2026-03-02T11:00:10Z");
    for _ in 0..5 {
        tick(&stage).await;
    }
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn partitions_are_asked_for_one_run_each() {
    let mut snapshot = chain();
    let definition = PartitionsDefinition::with_keys(["x", "y", "z"]).unwrap();
    snapshot.partitions.push(PartitionsSpec { name: "by".into(), definition });
    for asset in &mut snapshot.assets {
        asset.partitions = Some("by".into());
    }
    snapshot.assets[0].automation = None;
    snapshot.assets[1].automation = Some(AutomationCondition::any_deps_updated().since_last_handled());
    let stage = Stage::new(snapshot).await;
    tick(&stage).await;
    stage.made("a", Some("x"), catchment_core::RunId::NONE).await;
    stage.made("a", Some("z"), catchment_core::RunId::NONE).await;
    tick(&stage).await;
    let runs = stage.runs().await;
    let keys: Vec<_> = runs.iter().map(|run| run.partition_key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["x", "z"]);
    assert!(runs.iter().all(|run| run.selection.assets == ["b"] && run.tags[tags::PARTITION] == run.partition_key.clone().unwrap()));
    tick(&stage).await;
    assert_eq!(stage.runs().await.len(), 2);
}

#[tokio::test]
async fn a_tick_that_is_cut_off_after_its_decision_is_admitted_once_by_the_next() {
    let stage = Stage::new(chain()).await;
    for key in ["a", "b", "c"] {
        stage.made(key, None, catchment_core::RunId::NONE).await;
    }
    tick(&stage).await;
    stage.made("a", None, catchment_core::RunId::NONE).await;
    let states = stage.instance.automation_states(LOCATION).await.unwrap();
    let mut sensor = stage.sensor(DEFAULT_AUTOMATION_SENSOR);
    sensor.step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
    let decided = stage.instance.automation_states(LOCATION).await.unwrap();
    assert_ne!(states, decided);
    // As if it had not been admitted: the cursor is the one before.
    stage.instance.set_cursor(&instigator(), Some("0"), stage.now()).await.unwrap();
    tick(&stage).await;
    tick(&stage).await;
    assert_eq!(stage.runs().await.len(), 1, "its keys are those of the tick that decided");
    // And where it really was cut off, the runs are made.
    let run = &stage.runs().await[0];
    let [ref skipped, ref made, ..] = stage.ticks(&instigator()).await[..] else { panic!("too few ticks") };
    assert_eq!((skipped.status, made.run_ids.as_slice()), (TickStatus::Skipped, [run.run_id].as_slice()));
}

#[tokio::test]
async fn a_decision_that_was_never_admitted_is_made_up_for() {
    let stage = Stage::new(chain()).await;
    let request = serde_json::json!({ "run_key": "7 assets", "job_name": ASSET_JOB, "selection": { "assets": ["b"] } });
    let decided = serde_json::json!({ "tick": 7, "event": 0, "requests": [request] });
    let key = format!("tick of {DEFAULT_AUTOMATION_SENSOR}");
    stage.instance.save_automation(LOCATION, &[(key, decided)], &[]).await.unwrap();
    tick(&stage).await;
    tick(&stage).await;
    let [run] = stage.runs().await.try_into().unwrap();
    assert_eq!(run.tags[tags::RUN_KEY], "7 assets");
}

#[tokio::test]
async fn evaluations_are_kept_for_people_where_they_say_something_new() {
    let stage = Stage::new(chain()).await;
    let mut sensor = stage.sensor(DEFAULT_AUTOMATION_SENSOR);
    for _ in 0..5 {
        sensor.step().await.unwrap();
        stage.pass(seconds(30));
    }
    let before = stage.instance.evaluations("b", None, 99).await.unwrap().len();
    assert!((1..=2).contains(&before), "{before}");
    stage.made("a", None, catchment_core::RunId::NONE).await;
    sensor.step().await.unwrap();
    let records = stage.instance.evaluations("b", None, 99).await.unwrap();
    assert_eq!((records.len() > before, records[0].requested), (true, 1));
    assert_eq!(records[0].evaluation["asset"], "b");
}

#[tokio::test]
async fn something_new_is_looked_at_before_the_interval_has_passed() {
    let stage = Stage::new(chain()).await;
    let mut sensor = stage.sensor(DEFAULT_AUTOMATION_SENSOR);
    sensor.step().await.unwrap();
    stage.made("a", None, catchment_core::RunId::NONE).await;
    stage.pass(seconds(2));
    sensor.step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
    stage.pass(seconds(2));
    sensor.step().await.unwrap();
    assert_eq!(stage.ticks(&instigator()).await.len(), 2, "nothing new, so no tick");
}

#[tokio::test]
async fn a_check_may_have_a_condition_of_its_own() {
    let mut snapshot = chain();
    for asset in &mut snapshot.assets {
        asset.automation = None;
    }
    snapshot.checks.push(CheckSpec {
        asset_key: "a".into(),
        name: "rows".into(),
        step: "a_rows".into(),
        automation: Some(AutomationCondition::any_deps_updated().since_last_handled()),
        ..CheckSpec::default()
    });
    let stage = Stage::new(snapshot).await;
    tick(&stage).await;
    stage.made("a", None, catchment_core::RunId::NONE).await;
    tick(&stage).await;
    tick(&stage).await;
    let [run] = stage.runs().await.try_into().unwrap();
    assert_eq!(run.selection.checks, ["a:rows"]);
    assert!(run.selection.assets.is_empty());
}
