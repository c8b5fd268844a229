//! Alerts, with a web server that takes them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use catchment_core::definitions::{LocationSnapshot, SensorKind};
use catchment_core::freshness::FreshnessPolicy;
use catchment_core::sensor::SensorResult;
use catchment_core::state::Command;
use catchment_core::{EventKind, RunId, tags};
use catchment_daemon::alerts::{Deliverer, Watcher};
use catchment_daemon::freshness::Freshness;
use catchment_instance::AlertStatus;
use catchment_settings::task;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::stage::{LOCATION, Stage, asset, at, problem, seconds, sensors};

/// What was posted: its headers and its body.
type Posted = Arc<Mutex<Vec<(String, Value)>>>;

/// A web server that answers with these statuses in turn, the last for ever.
async fn server(statuses: &'static [u16]) -> (String, Posted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let posted = Posted::default();
    let noted = posted.clone();
    task::spawn("hook", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut reader = BufReader::new(&mut stream);
            let mut headers = String::new();
            let mut line = String::new();
            while reader.read_line(&mut line).await.unwrap() > 2 {
                headers.push_str(&line.to_lowercase());
                line.clear();
            }
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).await.unwrap();
            let turn = {
                let mut noted = noted.lock().unwrap();
                noted.push((headers, serde_json::from_slice(&body).unwrap()));
                noted.len() - 1
            };
            let status = statuses[turn.min(statuses.len() - 1)];
            let answer =
                format!("HTTP/1.1 {status} OK\r\nlocation: /there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, posted)
}

fn config(url: &str, rules: &str) -> String {
    format!(
        "alerts:\n  channels:\n    log: log\n    hook: {{webhook: \"{url}\", headers: {{authorization: Bearer x}}}}\n  \
         rules: [{rules}]\n"
    )
}

async fn keys(stage: &Stage) -> Vec<String> {
    let mut alerts = stage.instance.alerts(None, 100).await.unwrap();
    alerts.reverse();
    alerts.into_iter().map(|alert| alert.alert.event["id"].as_str().unwrap().to_owned()).collect()
}

/// A watcher that has begun: what happens from now on is told.
async fn begun(stage: &Stage) -> Watcher {
    let mut watcher = Watcher::new(stage.restarted());
    watcher.step().await.unwrap();
    watcher
}

#[tokio::test]
async fn a_failed_run_is_posted_as_a_cloud_event_again_and_again_until_it_is_taken_also_after_a_restart() {
    let (url, posted) = server(&[500, 503, 204]).await;
    let stage = Stage::with(sensors([]), &config(&url, "{on: run_failure, channels: [hook]}")).await;
    let mut watcher = begun(&stage).await;
    let run = stage.ended(LOCATION, "job", false).await;
    stage.pass(seconds(11));
    watcher.step().await.unwrap();
    Deliverer::new(stage.restarted()).unwrap().step().await.unwrap();
    assert_eq!(posted.lock().unwrap().len(), 1);
    let failed = stage.instance.alerts(None, 9).await.unwrap().remove(0);
    assert_eq!((failed.status, failed.attempts), (AlertStatus::Pending, 1));
    assert!(failed.last_error.unwrap().contains("500"));
    // Not before its time, whoever looks.
    Deliverer::new(stage.restarted()).unwrap().step().await.unwrap();
    assert_eq!(posted.lock().unwrap().len(), 1);
    for _ in 0..2 {
        stage.pass(seconds(60));
        Watcher::new(stage.restarted()).step().await.unwrap();
        Deliverer::new(stage.restarted()).unwrap().step().await.unwrap();
    }
    stage.pass(seconds(3600));
    Deliverer::new(stage.restarted()).unwrap().step().await.unwrap();
    let posted = posted.lock().unwrap().clone();
    assert_eq!(posted.len(), 3, "it was delivered with the third try");
    let (headers, event) = &posted[2];
    assert!(headers.contains("content-type: application/cloudevents+json"), "{headers}");
    assert!(headers.contains("authorization: bearer x"), "{headers}");
    assert_eq!(
        (event["specversion"].as_str(), event["type"].as_str()),
        (Some("1.0"), Some("org.catchment.run_failure"))
    );
    assert_eq!(event["subject"], run.run_id.to_string());
    assert_eq!(event["data"]["problem"]["what"], "the roof is off");
    assert!(event["source"].is_string() && event["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(posted.iter().all(|(_, other)| other["id"] == event["id"]), "a receiver tells a repetition by the id");
    assert_eq!(stage.instance.alerts(None, 9).await.unwrap()[0].status, AlertStatus::Delivered);
}

#[tokio::test]
async fn a_channel_that_never_answers_is_given_up_in_the_end_and_delays_no_other() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret", closed.local_addr().unwrap());
    drop(closed);
    let stage = Stage::with(sensors([]), &config(&url, "{on: run_success, channels: [hook, log]}")).await;
    let mut watcher = begun(&stage).await;
    stage.ended(LOCATION, "job", true).await;
    watcher.step().await.unwrap();
    let mut deliverer = Deliverer::new(stage.restarted()).unwrap();
    deliverer.step().await.unwrap();
    let of = async |channel: &str| {
        stage.instance.alerts(None, 9).await.unwrap().into_iter().find(|alert| alert.alert.channel == channel).unwrap()
    };
    assert_eq!(of("log").await.status, AlertStatus::Delivered);
    for _ in 0..25 {
        stage.pass(seconds(3601));
        deliverer.step().await.unwrap();
    }
    let given_up = of("hook").await;
    assert_eq!((given_up.status, given_up.attempts), (AlertStatus::GivenUp, 20));
    assert!(!given_up.last_error.unwrap().contains("secret"), "an address may hold a secret");
}

#[tokio::test]
async fn a_run_that_will_be_run_again_is_no_alert() {
    let stage = Stage::with(sensors([]), &config("http://x", "{on: run_failure, channels: [log]}")).await;
    let mut watcher = begun(&stage).await;
    let run = stage.ended(LOCATION, "job", false).await;
    watcher.step().await.unwrap();
    assert!(keys(&stage).await.is_empty(), "it is not decided yet");
    stage.instance.set_tags(run.run_id, &[(tags::WILL_RETRY.to_owned(), "true".to_owned())]).await.unwrap();
    let last = stage.ended(LOCATION, "job", false).await;
    stage.instance.set_follow_cursor("run_retries", stage.instance.last_event_id().await.unwrap()).await.unwrap();
    watcher.step().await.unwrap();
    assert_eq!(keys(&stage).await, [format!("run_failure {}", last.run_id)]);
}

#[tokio::test]
async fn a_failing_sensor_or_schedule_is_told_once_until_it_has_recovered() {
    let rules = "{on: sensor_failure, channels: [log]}, {on: schedule_failure, channels: [log]}";
    let stage = Stage::with(sensors([("watch", SensorKind::Standard)]), &config("http://x", rules)).await;
    stage.fake.on_sensor("watch", |_, _| Err(problem("no")));
    let mut sensor = stage.sensor("watch");
    for _ in 0..3 {
        sensor.step().await.unwrap();
    }
    stage.sensor("watch").step().await.unwrap();
    assert_eq!(keys(&stage).await.len(), 1, "four failures in a row, and a restart");
    stage.fake.on_sensor("watch", |_, _| Ok(SensorResult::default()));
    sensor.step().await.unwrap();
    stage.fake.on_sensor("watch", |_, _| Err(problem("no")));
    sensor.step().await.unwrap();
    let alerts = stage.instance.alerts(None, 9).await.unwrap();
    assert_eq!(alerts.len(), 2);
    assert_eq!(alerts[0].alert.event["type"], "org.catchment.sensor_failure");
    assert_eq!(alerts[0].alert.event["data"]["problem"]["what"], "no");
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_told_once_by_each_rule() {
    let rules = "{name: quick, on: run_too_long, longer_than_seconds: 60, job: job, channels: [log]}, \
                 {name: slow, on: run_too_long, longer_than_seconds: 600, channels: [log]}";
    let stage = Stage::with(sensors([]), &config("http://x", rules)).await;
    let mut watcher = begun(&stage).await;
    stage.started(LOCATION, "job").await;
    stage.started(LOCATION, "other").await;
    for (passed, expected) in [(59, 0), (2, 1), (100, 1), (600, 3)] {
        stage.pass(seconds(passed));
        watcher.step().await.unwrap();
        assert_eq!(keys(&stage).await.len(), expected);
    }
}

#[tokio::test]
async fn a_lost_location_is_told_once_for_each_outage_and_a_restart_is_none() {
    let stage = Stage::with(sensors([]), &config("http://x", "{on: location_lost, channels: [log]}")).await;
    let mut watcher = begun(&stage).await;
    let set = |is_here: bool| {
        stage.locations.set(LOCATION, LocationSnapshot::default(), stage.fake.clone(), is_here, stage.now());
    };
    for (is_here, passed, expected) in
        [(false, 5, 0), (true, 60, 0), (false, 11, 1), (false, 5, 1), (true, 1, 1), (false, 60, 3)]
    {
        set(is_here);
        for _ in 0..2 {
            stage.pass(seconds(passed) / 2);
            watcher.step().await.unwrap();
        }
        assert!(keys(&stage).await.len() <= expected);
    }
    assert!(keys(&stage).await.len() >= 2);
}

#[tokio::test]
async fn a_late_asset_and_a_failed_check_are_told() {
    let mut roads = asset("roads", &[]);
    roads.freshness = Some(FreshnessPolicy::time_window(Duration::from_secs(600), None).unwrap());
    let snapshot = LocationSnapshot { location: LOCATION.into(), assets: vec![roads], ..LocationSnapshot::default() };
    let rules = "{on: asset_late, target: roads, channels: [log]}, {on: check_failure, channels: [log]}";
    let stage = Stage::with(snapshot, &config("http://x", rules)).await;
    let mut watcher = begun(&stage).await;
    stage.made("roads", None, RunId::NONE).await;
    let mut freshness = Freshness::new(stage.restarted());
    for passed in [0, 700, 700] {
        stage.pass(seconds(passed));
        freshness.step().await.unwrap();
        watcher.step().await.unwrap();
    }
    let check = |passed: bool| serde_json::json!({ "asset_key": "roads", "check_name": "rows", "passed": passed });
    for passed in [true, false] {
        stage.append(EventKind::AssetCheckEvaluation, check(passed), RunId::NONE).await;
    }
    watcher.step().await.unwrap();
    let alerts = stage.instance.alerts(None, 9).await.unwrap();
    let kinds: Vec<_> = alerts.iter().rev().map(|alert| alert.alert.event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["org.catchment.asset_late", "org.catchment.check_failure"]);
    assert_eq!(alerts[1].alert.event["subject"], "roads");
}

#[tokio::test]
async fn a_failed_backfill_is_told_once() {
    use catchment_core::backfill::{BackfillId, BackfillStatus, BackfillTarget, NewBackfill};
    let stage = Stage::with(sensors([]), &config("http://x", "{on: backfill_failure, channels: [log]}")).await;
    let mut watcher = begun(&stage).await;
    let new = NewBackfill {
        id: BackfillId("fill".into()),
        location: LOCATION.into(),
        target: BackfillTarget::Job { job: "job".into(), partitions: vec!["a".into()] },
        policy: None,
        run_config: Value::Null,
        tags: Default::default(),
        title: None,
        description: None,
    };
    let mut backfill = stage.instance.request_backfill(new, stage.now()).await.unwrap();
    backfill.status = BackfillStatus::Failed;
    backfill.ended_at = Some(stage.now());
    stage.instance.update_backfill(&backfill).await.unwrap();
    watcher.step().await.unwrap();
    watcher.step().await.unwrap();
    assert_eq!(keys(&stage).await, ["backfill_failure fill"]);
}

#[tokio::test]
async fn only_what_a_rule_asks_for_is_told() {
    let rules = "{on: run_failure, job: other, channels: [log]}, {on: run_failure, location: elsewhere, channels: [log]}, \
                 {on: run_failure, tags: {team: maps}, channels: [log]}";
    let stage = Stage::with(sensors([]), &config("http://x", rules)).await;
    let mut watcher = begun(&stage).await;
    for (location, job) in [(LOCATION, "job"), (LOCATION, "other"), ("elsewhere", "job")] {
        stage.ended(location, job, false).await;
    }
    stage.pass(seconds(11));
    watcher.step().await.unwrap();
    assert_eq!(keys(&stage).await.len(), 2);
}

#[tokio::test]
async fn what_failed_before_the_first_start_is_history() {
    let stage = Stage::with(sensors([]), &config("http://x", "{on: run_failure, channels: [log]}")).await;
    stage.ended(LOCATION, "job", false).await;
    stage.pass(seconds(11));
    let mut watcher = begun(&stage).await;
    watcher.step().await.unwrap();
    assert!(keys(&stage).await.is_empty());
    // What happens while no daemon works is told by the next one.
    let run = stage.started(LOCATION, "job").await;
    stage.end(&run, Command::Fail(problem("no"))).await;
    stage.pass(seconds(11));
    Watcher::new(stage.restarted()).step().await.unwrap();
    assert_eq!(keys(&stage).await.len(), 1);
    assert!(stage.now() > at("2026-03-02T10:00:30Z"));
}

#[tokio::test]
async fn a_run_that_fails_while_no_daemon_works_is_told_also_where_nothing_had_happened_before() {
    let stage = Stage::with(sensors([]), &config("http://x", "{on: run_failure, channels: [log]}")).await;
    begun(&stage).await;
    stage.ended(LOCATION, "job", false).await;
    stage.pass(seconds(11));
    Watcher::new(stage.restarted()).step().await.unwrap();
    assert_eq!(keys(&stage).await.len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (url, posted) = server(&[302]).await;
    let stage = Stage::with(sensors([]), &config(&url, "{on: run_failure, channels: [hook]}")).await;
    let mut watcher = begun(&stage).await;
    stage.ended(LOCATION, "job", false).await;
    stage.pass(seconds(11));
    watcher.step().await.unwrap();
    Deliverer::new(stage.restarted()).unwrap().step().await.unwrap();
    let failed = stage.instance.alerts(None, 9).await.unwrap().remove(0);
    assert_eq!((failed.status, failed.attempts, posted.lock().unwrap().len()), (AlertStatus::Pending, 1, 1));
    assert!(failed.last_error.unwrap().contains("302"));
}
