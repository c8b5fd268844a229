//! Sensors of the status of runs, and of materialisations.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use catchment_core::definitions::SensorKind;
use catchment_core::instigator::TickStatus;
use catchment_core::sensor::SensorResult;
use catchment_core::{EventKind, Instigator, RunId, RunStatus, tags};
use catchment_model::Code;

use crate::stage::{LOCATION, Stage, problem, runs_for, seconds, sensors};

fn reacts() -> Instigator {
    Instigator::sensor(LOCATION, "reacts")
}

fn on_status(statuses: &[RunStatus]) -> SensorKind {
    SensorKind::RunStatus { statuses: statuses.to_vec(), monitored_jobs: Vec::new(), monitor_all_locations: false }
}

fn on_assets(assets: &[&str]) -> SensorKind {
    SensorKind::Asset { assets: assets.iter().map(|key| (*key).to_owned()).collect() }
}

async fn stage(kind: SensorKind) -> Stage {
    Stage::new(sensors([("reacts", kind)])).await
}

/// Steps until there is nothing left to do at once.
async fn run_dry(sensor: &mut catchment_daemon::sensors::Sensor) {
    for _ in 0..10_000 {
        if sensor.step().await.unwrap() > std::time::Duration::ZERO {
            return;
        }
    }
    panic!("it never ends");
}

/// Notes the runs of the events that the sensor is offered.
fn note_runs(stage: &Stage) -> Arc<Mutex<Vec<RunId>>> {
    let seen: Arc<Mutex<Vec<RunId>>> = Arc::default();
    let sees = seen.clone();
    stage.fake.on_sensor("reacts", move |_, input| {
        let mut seen = sees.lock().unwrap();
        for event in &input.events {
            assert!(input.runs.iter().any(|run| run.run_id == event.event.run_id), "the run of an event is not there");
            seen.push(event.event.run_id);
        }
        Ok(SensorResult::default())
    });
    seen
}

#[tokio::test]
async fn a_run_status_sensor_begins_with_now() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    stage.ended(LOCATION, "job", true).await;
    let seen = note_runs(&stage);
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let head = stage.instance.last_event_id().await.unwrap();
    assert_eq!(stage.cursor(&reacts()).await, Some(head.to_string()));
    assert_eq!(stage.statuses(&reacts()).await, [TickStatus::Skipped]);
    assert_eq!(*seen.lock().unwrap(), []);
    let run = stage.ended(LOCATION, "job", true).await;
    run_dry(&mut sensor).await;
    assert_eq!(*seen.lock().unwrap(), [run.run_id]);
}

#[tokio::test]
async fn each_reaction_is_a_success_with_its_origins_and_is_written_to_the_run() {
    let stage = stage(on_status(&[RunStatus::Success, RunStatus::Failure])).await;
    note_runs(&stage);
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let (well, badly) = (stage.ended(LOCATION, "a", true).await, stage.ended(LOCATION, "b", false).await);
    run_dry(&mut sensor).await;
    let ticks = stage.ticks(&reacts()).await;
    let mut origins: Vec<_> = ticks.iter().flat_map(|tick| tick.origin_run_ids.clone()).collect();
    let mut expected = vec![well.run_id, badly.run_id];
    origins.sort();
    expected.sort();
    assert_eq!(origins, expected);
    assert_eq!(ticks.last().unwrap().status, TickStatus::Success);
    for run in [well, badly] {
        let events = stage.instance.run_events(run.run_id, 0, 99).await.unwrap();
        let said: Vec<_> = events.iter().filter(|event| event.event.kind == EventKind::EngineEvent).collect();
        assert_eq!(said.len(), 1);
        assert!(said[0].event.message.contains("reacts"), "{}", said[0].event.message);
    }
}

#[tokio::test]
async fn an_error_about_one_run_fails_a_tick_and_the_others_are_reacted_to_once() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let mut runs = Vec::new();
    for _ in 0..7 {
        runs.push(stage.ended(LOCATION, "job", true).await.run_id);
    }
    let bad = runs[3];
    stage.fake.on_sensor("reacts", move |_, input| {
        if input.events.iter().any(|event| event.event.run_id == bad) {
            return Err(problem("this one is odd"));
        }
        Ok(runs_for(input.events.iter().map(|event| event.event.run_id.to_string())))
    });
    run_dry(&mut sensor).await;
    let ticks = stage.ticks(&reacts()).await;
    assert_eq!(ticks.iter().filter(|tick| tick.status == TickStatus::Failure).count(), 1);
    let mut origins: Vec<_> = ticks.iter().flat_map(|tick| tick.origin_run_ids.clone()).collect();
    origins.sort();
    let mut others: Vec<_> = runs.iter().copied().filter(|run| *run != bad).collect();
    others.sort();
    assert_eq!(origins, others);
    let keys: Vec<_> = stage.runs().await.iter().filter_map(|run| run.tags.get(tags::RUN_KEY).cloned()).collect();
    assert_eq!(keys.len(), 6);
    assert!(stage.cursor(&reacts()).await.unwrap().parse::<i64>().unwrap() > 0);
    run_dry(&mut stage.sensor("reacts")).await;
    assert_eq!(stage.ticks(&reacts()).await.len(), ticks.len(), "something was looked at again");
}

#[tokio::test]
async fn a_batch_of_any_size_is_handled_and_the_lag_is_measured() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let seen = note_runs(&stage);
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let run = stage.started(LOCATION, "job").await;
    let mut expected = Vec::new();
    for _ in 0..620 {
        let events = vec![
            catchment_core::NewEvent {
                run_id: run.run_id,
                timestamp: stage.now(),
                kind: EventKind::RunSuccess,
                step_key: None,
                level: catchment_core::Level::Info,
                message: String::new(),
                data: serde_json::Value::Null,
            };
            2
        ];
        stage.instance.append(&events, None).await.unwrap();
        expected.extend([run.run_id; 2]);
    }
    sensor.step().await.unwrap();
    let lag = sensor.lag();
    assert!(lag > 1000, "{lag}");
    run_dry(&mut sensor).await;
    assert_eq!(seen.lock().unwrap().len(), expected.len());
    assert!(sensor.lag() <= 20, "{}", sensor.lag());
    run_dry(&mut sensor).await;
    assert_eq!(sensor.lag(), 0);
}

#[tokio::test]
async fn what_was_admitted_is_not_reacted_to_again_by_the_next_daemon() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let seen = note_runs(&stage);
    run_dry(&mut stage.sensor("reacts")).await;
    for _ in 0..5 {
        stage.ended(LOCATION, "job", true).await;
        run_dry(&mut stage.sensor("reacts")).await;
    }
    assert_eq!(seen.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn only_runs_of_its_location_and_jobs_concern_a_sensor_unless_it_says_otherwise() {
    let kind = |jobs: &[&str], all| SensorKind::RunStatus {
        statuses: vec![RunStatus::Success],
        monitored_jobs: jobs.iter().map(|job| (*job).to_owned()).collect(),
        monitor_all_locations: all,
    };
    for (kind, expected) in
        [(kind(&[], false), 2), (kind(&["a"], false), 1), (kind(&[], true), 3), (kind(&["a"], true), 2)]
    {
        let stage = stage(kind).await;
        let seen = note_runs(&stage);
        let mut sensor = stage.sensor("reacts");
        run_dry(&mut sensor).await;
        stage.ended(LOCATION, "a", true).await;
        stage.ended(LOCATION, "b", true).await;
        stage.ended("elsewhere", "a", true).await;
        stage.ended(LOCATION, "a", false).await;
        run_dry(&mut sensor).await;
        assert_eq!(seen.lock().unwrap().len(), expected);
    }
}

#[tokio::test]
async fn a_sensor_does_not_react_to_the_runs_that_it_asked_for() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    stage
        .fake
        .on_sensor("reacts", |_, input| Ok(runs_for(input.events.iter().map(|event| event.event.run_id.to_string()))));
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    stage.ended(LOCATION, "job", true).await;
    run_dry(&mut sensor).await;
    let asked = stage.runs().await.into_iter().find(|run| run.status == RunStatus::Queued).unwrap();
    let asked = stage.start(asked.run_id).await;
    stage.end(&asked, catchment_core::state::Command::Succeed).await;
    run_dry(&mut sensor).await;
    assert_eq!(stage.runs().await.len(), 2);
}

#[tokio::test]
async fn an_outage_leaves_the_events_for_later_and_shows_as_lag() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let seen = note_runs(&stage);
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    stage.fake.set_away(true);
    let run = stage.ended(LOCATION, "job", true).await;
    for _ in 0..5 {
        assert_eq!(sensor.step().await.unwrap_err().code, Code::Unavailable);
    }
    assert!(sensor.lag() > 0);
    stage.fake.set_away(false);
    run_dry(&mut sensor).await;
    assert_eq!(*seen.lock().unwrap(), [run.run_id]);
    assert_eq!(stage.statuses(&reacts()).await, [TickStatus::Skipped, TickStatus::Failure, TickStatus::Success]);
}

#[tokio::test]
async fn nothing_new_writes_no_tick() {
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let mut sensor = stage.sensor("reacts");
    for _ in 0..20 {
        run_dry(&mut sensor).await;
    }
    assert_eq!(stage.ticks(&reacts()).await.len(), 1);
    assert_eq!(stage.fake.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_asset_sensor_begins_with_the_newest_and_takes_each_later_one_once() {
    let stage = stage(on_assets(&["roads", "parcels"])).await;
    let seen: Arc<Mutex<Vec<i64>>> = Arc::default();
    let sees = seen.clone();
    stage.fake.on_sensor("reacts", move |_, input| {
        sees.lock().unwrap().extend(input.events.iter().map(|event| event.id));
        Ok(SensorResult::default())
    });
    stage.made("roads", None, RunId::NONE).await;
    let newest = stage.made("roads", None, RunId::NONE).await;
    stage.made("rivers", None, RunId::NONE).await;
    run_dry(&mut stage.sensor("reacts")).await;
    assert_eq!(*seen.lock().unwrap(), [newest]);
    let mut later = Vec::new();
    for asset in ["parcels", "roads", "roads"] {
        later.push(stage.made(asset, None, RunId::NONE).await);
    }
    stage.made("rivers", None, RunId::NONE).await;
    run_dry(&mut stage.sensor("reacts")).await;
    run_dry(&mut stage.sensor("reacts")).await;
    assert_eq!(seen.lock().unwrap()[1..], later);
}

#[tokio::test]
async fn a_failing_asset_sensor_sees_the_same_again() {
    let stage = stage(on_assets(&["roads"])).await;
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let id = stage.made("roads", None, RunId::NONE).await;
    stage.fake.on_sensor("reacts", |_, _| Err(problem("no")));
    assert_eq!(sensor.step().await.unwrap(), seconds(30));
    stage.fake.on_sensor("reacts", move |_, input| {
        assert_eq!(input.events[0].id, id);
        Ok(runs_for(["made"]))
    });
    // Whatever happens meanwhile, it rests.
    stage.made("roads", None, RunId::NONE).await;
    stage.pass(seconds(29));
    sensor.step().await.unwrap();
    assert!(stage.runs().await.is_empty());
    stage.pass(seconds(1));
    run_dry(&mut sensor).await;
    assert_eq!(stage.runs().await.len(), 1);
    assert_eq!(stage.statuses(&reacts()).await, [TickStatus::Skipped, TickStatus::Failure, TickStatus::Success]);
}

#[tokio::test]
async fn a_multi_asset_sensor_may_leave_events_until_it_has_all_that_it_waits_for() {
    let stage = stage(on_assets(&["roads", "parcels"])).await;
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    // It waits until both were made, and leaves the cursor before the first until then.
    stage.fake.on_sensor("reacts", |cursor, input| {
        let made = |key: &str| input.events.iter().any(|event| event.event.asset_key() == Some(key));
        if made("roads") && made("parcels") {
            return Ok(runs_for(["both"]));
        }
        Ok(SensorResult { cursor: cursor.map(str::to_owned), ..SensorResult::default() })
    });
    stage.made("roads", None, RunId::NONE).await;
    run_dry(&mut sensor).await;
    let asked = stage.fake.asked.load(Ordering::SeqCst);
    run_dry(&mut sensor).await;
    assert_eq!(stage.fake.asked.load(Ordering::SeqCst), asked, "the same was offered again at once");
    stage.pass(seconds(31));
    run_dry(&mut sensor).await;
    assert_eq!(stage.fake.asked.load(Ordering::SeqCst), asked + 1, "what was left is offered again at the interval");
    assert!(stage.runs().await.is_empty());
    stage.made("parcels", None, RunId::NONE).await;
    run_dry(&mut sensor).await;
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn a_cursor_that_is_set_by_hand_is_where_the_sensor_goes_on() {
    let stage = stage(on_assets(&["roads"])).await;
    let seen: Arc<Mutex<Vec<i64>>> = Arc::default();
    let sees = seen.clone();
    stage.fake.on_sensor("reacts", move |_, input| {
        sees.lock().unwrap().extend(input.events.iter().map(|event| event.id));
        Ok(SensorResult::default())
    });
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let first = stage.made("roads", None, RunId::NONE).await;
    run_dry(&mut sensor).await;
    stage.instance.set_cursor(&reacts(), Some(&(first - 1).to_string()), stage.now()).await.unwrap();
    run_dry(&mut sensor).await;
    assert_eq!(*seen.lock().unwrap(), [first, first]);
}

#[tokio::test]
async fn an_answer_about_some_of_the_events_is_gone_on_from() {
    // As the SDK does: run by run, up to the one that fails.
    let stage = stage(on_status(&[RunStatus::Success])).await;
    let mut sensor = stage.sensor("reacts");
    run_dry(&mut sensor).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(stage.ended(LOCATION, "job", true).await.run_id);
    }
    let bad = runs[2];
    let calls: Arc<Mutex<Vec<RunId>>> = Arc::default();
    let called = calls.clone();
    stage.fake.on_sensor("reacts", move |_, input| {
        let mut all = SensorResult::default();
        for event in &input.events {
            if event.event.run_id == bad {
                if all.cursor.is_none() {
                    return Err(problem("this one is odd"));
                }
                all.more = true;
                break;
            }
            called.lock().unwrap().push(event.event.run_id);
            all.run_requests.extend(runs_for([event.event.run_id.to_string()]).run_requests);
            all.cursor = Some(event.id.to_string());
        }
        Ok(all)
    });
    run_dry(&mut sensor).await;
    let others: Vec<_> = runs.iter().copied().filter(|run| *run != bad).collect();
    assert_eq!(*calls.lock().unwrap(), others, "each is reacted to once");
    assert_eq!(
        stage.statuses(&reacts()).await,
        [TickStatus::Skipped, TickStatus::Success, TickStatus::Failure, TickStatus::Success, TickStatus::Success]
    );
}
