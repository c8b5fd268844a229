//! Sensors that look outside.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use catchment_core::definitions::{JobSpec, SensorKind};
use catchment_core::instigator::{TickLog, TickStatus};
use catchment_core::sensor::{AddPartitions, ClaimKey, DeletePartitions, RunRequest, SensorResult};
use catchment_core::{EventKind, Instigator, Level, tags};
use catchment_model::Code;

use crate::stage::{BEGIN, LOCATION, Stage, at, problem, runs_for, seconds, sensors};

fn standard() -> Instigator {
    Instigator::sensor(LOCATION, "watch")
}

async fn stage() -> Stage {
    Stage::new(sensors([("watch", SensorKind::Standard)])).await
}

#[tokio::test]
async fn a_request_becomes_a_queued_run_that_says_where_it_came_from() {
    let stage = stage().await;
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["a"])));
    stage.sensor("watch").step().await.unwrap();
    let [run] = stage.runs().await.try_into().unwrap();
    let [tick] = stage.ticks(&standard()).await.try_into().unwrap();
    assert_eq!((tick.status, tick.run_ids.as_slice()), (TickStatus::Success, [run.run_id].as_slice()));
    assert_eq!(run.tags[tags::SENSOR_NAME], "watch");
    assert_eq!(run.tags[tags::RUN_KEY], "a");
    assert_eq!(run.tags[tags::TICK], tick.id.to_string());
}

#[tokio::test]
async fn a_run_key_is_used_once_for_ever_and_named_in_the_tick_when_it_comes_again() {
    let stage = stage().await;
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["a"])));
    let mut sensor = stage.sensor("watch");
    sensor.step().await.unwrap();
    sensor.step().await.unwrap();
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
    let ticks = stage.ticks(&standard()).await;
    assert_eq!(ticks[1].status, TickStatus::Skipped);
    assert_eq!(ticks[2].duplicate_run_keys, ["a"]);
}

#[tokio::test]
async fn requests_without_a_run_key_are_all_launched() {
    let stage = stage().await;
    stage.fake.on_sensor("watch", |_, _| {
        let request = RunRequest { job_name: "job".into(), ..RunRequest::default() };
        Ok(SensorResult { run_requests: vec![request.clone(), request], ..SensorResult::default() })
    });
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 2);
}

#[tokio::test]
async fn a_sensor_that_asks_for_nothing_skips_with_its_reason() {
    let stage = stage().await;
    stage.fake.on_sensor("watch", |_, _| {
        Ok(SensorResult { skip_reason: Some("nothing there yet".into()), ..SensorResult::default() })
    });
    stage.sensor("watch").step().await.unwrap();
    let [tick] = stage.ticks(&standard()).await.try_into().unwrap();
    assert_eq!((tick.status, tick.skip_reason.as_deref()), (TickStatus::Skipped, Some("nothing there yet")));
}

#[tokio::test]
async fn the_cursor_is_handed_back_and_stays_where_it_was_after_a_failure() {
    let stage = stage().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    stage.fake.on_sensor("watch", move |cursor, _| {
        let mut seen = sees.lock().unwrap();
        seen.push(cursor.map(str::to_owned));
        match seen.len() {
            1 => Ok(SensorResult { cursor: Some("one".into()), ..SensorResult::default() }),
            2 => Err(problem("the disk is full")),
            _ => Ok(SensorResult::default()),
        }
    });
    let mut sensor = stage.sensor("watch");
    for _ in 0..3 {
        sensor.step().await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [None, Some("one".to_owned()), Some("one".to_owned())]);
    assert_eq!(stage.statuses(&standard()).await, [TickStatus::Skipped, TickStatus::Failure, TickStatus::Skipped]);
    assert_eq!(stage.ticks(&standard()).await[1].problem.as_ref().unwrap().what, "the disk is full");
}

#[tokio::test]
async fn what_user_code_logs_is_kept_with_its_tick() {
    let stage = stage().await;
    let line = TickLog { timestamp: at(BEGIN), level: Level::Warning, message: "odd".into() };
    stage.fake.log.lock().unwrap().push(line.clone());
    stage.sensor("watch").step().await.unwrap();
    stage.fake.on_sensor("watch", |_, _| Err(problem("no")));
    stage.sensor("watch").step().await.unwrap();
    for tick in stage.ticks(&standard()).await {
        assert_eq!(tick.log, std::slice::from_ref(&line), "{:?}", tick.status);
    }
}

#[tokio::test]
async fn partitions_and_asset_events_of_an_answer_are_written() {
    let stage = stage().await;
    stage.instance.add_partitions("colour", &["red".into()]).await.unwrap();
    stage.fake.on_sensor("watch", |_, _| {
        let event = catchment_core::NewEvent {
            run_id: catchment_core::RunId::random(),
            timestamp: at(BEGIN),
            kind: EventKind::AssetMaterialization,
            step_key: None,
            level: Level::Info,
            message: String::new(),
            data: serde_json::json!({ "asset_key": "outside" }),
        };
        Ok(SensorResult {
            add_partitions: vec![AddPartitions { definition: "colour".into(), keys: vec!["blue".into()] }],
            delete_partitions: vec![DeletePartitions { definition: "colour".into(), keys: vec!["red".into()] }],
            asset_events: vec![event],
            ..SensorResult::default()
        })
    });
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(stage.instance.partitions("colour").await.unwrap(), ["blue"]);
    let [record] = stage.instance.assets(&[], None, 9).await.unwrap().try_into().unwrap();
    assert_eq!(record.asset_key, "outside");
    let events = stage.instance.events_after(0, &[EventKind::AssetMaterialization], 9).await.unwrap();
    assert_eq!(events[0].event.run_id, catchment_core::RunId::NONE);
}

#[tokio::test]
async fn more_is_asked_for_at_once_and_otherwise_at_the_interval() {
    let mut snapshot = sensors([("watch", SensorKind::Standard), ("slow", SensorKind::Standard)]);
    snapshot.sensors[1].minimum_interval_s = 300;
    let stage = Stage::new(snapshot).await;
    assert_eq!(stage.sensor("watch").step().await.unwrap(), seconds(30));
    assert_eq!(stage.sensor("slow").step().await.unwrap(), seconds(300));
    stage.fake.on_sensor("slow", |_, _| Ok(SensorResult { more: true, ..SensorResult::default() }));
    assert_eq!(stage.sensor("slow").step().await.unwrap(), Duration::ZERO);
}

#[tokio::test]
async fn what_wakes_a_sensor_does_not_shorten_the_interval_that_its_definition_sets() {
    let mut snapshot = sensors([("watch", SensorKind::Standard), ("slow", SensorKind::Standard)]);
    snapshot.sensors[1].minimum_interval_s = 300;
    let stage = Stage::new(snapshot).await;
    let (mut watch, mut slow) = (stage.sensor("watch"), stage.sensor("slow"));
    for passed in [0, 100, 199] {
        stage.pass(seconds(passed));
        watch.step().await.unwrap();
        slow.step().await.unwrap();
    }
    assert_eq!(slow.step().await.unwrap(), seconds(1));
    let ticks = async |name| stage.ticks(&Instigator::sensor(LOCATION, name)).await.len();
    assert_eq!((ticks("watch").await, ticks("slow").await), (3, 1));
    stage.pass(seconds(1));
    slow.step().await.unwrap();
    assert_eq!(ticks("slow").await, 2);
}

#[tokio::test]
async fn an_outage_is_one_failed_tick_however_long_it_lasts() {
    let stage = stage().await;
    stage.fake.set_away(true);
    let mut sensor = stage.sensor("watch");
    for _ in 0..20 {
        assert_eq!(sensor.step().await.unwrap_err().code, Code::Unavailable);
        stage.pass(seconds(30));
    }
    assert_eq!(stage.statuses(&standard()).await, [TickStatus::Failure]);
    stage.fake.set_away(false);
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["a"])));
    sensor.step().await.unwrap();
    assert_eq!(stage.statuses(&standard()).await, [TickStatus::Failure, TickStatus::Success]);
}

#[tokio::test]
async fn an_evaluation_that_takes_too_long_is_a_failed_tick() {
    let config = "sensors: {timeout_seconds: 1}";
    let stage = Stage::with(sensors([("watch", SensorKind::Standard)]), config).await;
    stage.fake.hangs.store(true, Ordering::SeqCst);
    let mut sensor = stage.sensor("watch");
    assert_eq!(sensor.step().await.unwrap(), seconds(30));
    let [tick] = stage.ticks(&standard()).await.try_into().unwrap();
    assert_eq!(tick.status, TickStatus::Failure);
    assert!(tick.problem.unwrap().what.contains("longer than 1 s"));
    stage.fake.hangs.store(false, Ordering::SeqCst);
    sensor.step().await.unwrap();
    assert_eq!(stage.statuses(&standard()).await, [TickStatus::Failure, TickStatus::Skipped]);
    assert_eq!(Stage::new(sensors([])).await.context.config.sensors.timeout_seconds, 60);
}

#[tokio::test]
async fn an_interrupted_tick_is_ended_by_the_next_which_sees_the_same() {
    let stage = stage().await;
    stage.instance.begin_tick(&standard(), None, stage.now()).await.unwrap();
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["a"])));
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(stage.statuses(&standard()).await, [TickStatus::Failure, TickStatus::Success]);
}

#[tokio::test]
async fn claims_are_finished_once_they_are_admitted_or_by_the_next_tick() {
    let stage = stage().await;
    let claim = ClaimKey { key: "a.json".into(), etag: "1".into() };
    let claimed = claim.clone();
    stage.fake.on_sensor("watch", move |_, _| {
        let mut result = runs_for(["a"]);
        result.run_requests[0].claim = Some(claimed.clone());
        Ok(result)
    });
    // Cut off between the admission and the finishing.
    let tick = stage.instance.begin_tick(&standard(), None, stage.now()).await.unwrap();
    let mut result = runs_for(["a"]);
    result.run_requests[0].claim = Some(claim.clone());
    stage.instance.admit(tick.id, result, &[], stage.now()).await.unwrap();
    assert_eq!(stage.instance.unfinished_claims(&standard(), 9).await.unwrap().len(), 1);
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(stage.instance.unfinished_claims(&standard(), 9).await.unwrap(), []);
    assert_eq!(stage.fake.finished.lock().unwrap()[0].claim, claim);
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn a_request_for_assets_runs_the_hidden_job_and_the_jobs_tags_go_to_its_runs() {
    let mut snapshot = sensors([("watch", SensorKind::Standard)]);
    let tags = [("team".to_owned(), "maps".to_owned()), ("tier".to_owned(), "2".to_owned())].into();
    snapshot.jobs.push(JobSpec { name: "job".into(), tags, ..JobSpec::default() });
    let stage = Stage::new(snapshot).await;
    stage.fake.on_sensor("watch", |_, _| {
        let mut result = runs_for(["a", "b"]);
        result.run_requests[0].tags.insert("tier".into(), "1".into());
        result.run_requests[1].job_name = String::new();
        result.run_requests[1].selection.assets = vec!["roads".into()];
        Ok(result)
    });
    stage.sensor("watch").step().await.unwrap();
    let [job, assets] = stage.runs().await.try_into().unwrap();
    assert_eq!((job.tags["team"].as_str(), job.tags["tier"].as_str()), ("maps", "1"));
    assert_eq!(assets.job_name, catchment_core::definitions::ASSET_JOB);
    assert_eq!(assets.selection.assets, ["roads"]);
}

#[tokio::test]
async fn user_code_hears_of_the_tick_before_its_own() {
    let stage = stage().await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    stage.fake.on_sensor("watch", move |_, input| {
        hears.lock().unwrap().push(input.last_tick_at);
        Ok(SensorResult::default())
    });
    let mut sensor = stage.sensor("watch");
    sensor.step().await.unwrap();
    stage.pass(seconds(30));
    sensor.step().await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [None, Some(at(BEGIN))]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_a_failed_tick_and_the_sensor_goes_on() {
    let stage = stage().await;
    let mut sensor = stage.sensor("watch");
    let long = "x".repeat(5000);
    let tag = RunRequest::new("tagged").job("job").tag("note", "nul \0");
    let cursor = SensorResult { cursor: Some("\0".into()), ..runs_for(["c"]) };
    for answer in
        [runs_for(["fine".to_owned(), long]), SensorResult { run_requests: vec![tag], ..runs_for([""; 0]) }, cursor]
    {
        stage.fake.on_sensor("watch", move |_, _| Ok(answer.clone()));
        assert_eq!(sensor.step().await.unwrap(), seconds(30));
        let tick = stage.ticks(&standard()).await.pop().unwrap();
        assert_eq!((tick.status, tick.problem.unwrap().code), (TickStatus::Failure, Code::InvalidInput));
    }
    assert!(stage.runs().await.is_empty(), "nothing of such an answer is written");
    let line = TickLog { timestamp: at(BEGIN), level: Level::Info, message: "odd \0 byte".into() };
    stage.fake.log.lock().unwrap().push(line);
    stage.fake.on_sensor("watch", |_, _| Ok(runs_for(["fine"])));
    sensor.step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
    assert_eq!(stage.ticks(&standard()).await[3].log[0].message, "odd \u{fffd} byte");
}
