//! Schedules.

use std::time::Duration;

use catchment_core::cron::CronSchedule;
use catchment_core::definitions::{JobSpec, LocationSnapshot, PartitionsSpec, ScheduleSpec};
use catchment_core::instigator::TickStatus;
use catchment_core::partitions::{Cadence, PartitionsDefinition, TimeWindowSpec};
use catchment_core::sensor::{RunRequest, SensorResult};
use catchment_core::{Instigator, Run, tags};
use catchment_model::Code;
use serde_json::{Value, json};

use crate::stage::{LOCATION, Stage, at, problem, runs_for, seconds};

fn hourly() -> Instigator {
    Instigator::schedule(LOCATION, "hourly")
}

fn spec(cron: &str, timezone: &str) -> ScheduleSpec {
    ScheduleSpec {
        name: "hourly".into(),
        description: String::new(),
        cron: CronSchedule::parse(&[cron], timezone).unwrap(),
        job: "job".into(),
        running_by_default: false,
        partitioned: false,
        has_body: false,
        tags: [("team".to_owned(), "maps".to_owned())].into(),
        run_config: json!({ "ops": {} }),
    }
}

fn snapshot(spec: ScheduleSpec) -> LocationSnapshot {
    LocationSnapshot {
        location: LOCATION.into(),
        jobs: vec![JobSpec { name: "job".into(), ..JobSpec::default() }],
        schedules: vec![spec],
        ..LocationSnapshot::default()
    }
}

/// A job that is divided, with an hourly schedule for it.
fn partitioned(definition: PartitionsDefinition) -> LocationSnapshot {
    let mut snapshot = snapshot(ScheduleSpec { partitioned: true, ..spec("0 * * * *", "UTC") });
    snapshot.jobs[0].partitions = Some("by".into());
    snapshot.partitions.push(PartitionsSpec { name: "by".into(), definition });
    snapshot
}

fn hours() -> PartitionsDefinition {
    let start = "2026-03-01T00:00".parse().unwrap();
    PartitionsDefinition::time_window(TimeWindowSpec::new(Cadence::Hourly, start)).unwrap()
}

fn times(runs: &[Run]) -> Vec<&str> {
    runs.iter().map(|run| run.tags[tags::SCHEDULED_EXECUTION_TIME].as_str()).collect()
}

#[tokio::test]
async fn it_asks_at_its_time_and_sleeps_until_the_next() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    let mut schedule = stage.schedule("hourly").await;
    schedule.step().await.unwrap();
    assert!(stage.runs().await.is_empty(), "the time before it was switched on");
    stage.set_time("2026-03-02T10:59:58Z");
    assert_eq!(schedule.step().await.unwrap(), seconds(2));
    assert!(stage.runs().await.is_empty());
    stage.set_time("2026-03-02T11:00:00Z");
    schedule.step().await.unwrap();
    let [run] = stage.runs().await.try_into().unwrap();
    assert_eq!(run.tags[tags::SCHEDULE_NAME], "hourly");
    assert_eq!(run.tags[tags::SCHEDULED_EXECUTION_TIME], "2026-03-02T11:00:00Z");
    assert_eq!((run.tags["team"].as_str(), &run.run_config), ("maps", &json!({ "ops": {} })));
    let [tick] = stage.ticks(&hourly()).await.try_into().unwrap();
    assert_eq!((tick.status, tick.scheduled_for), (TickStatus::Success, Some(at("2026-03-02T11:00:00Z"))));
}

#[tokio::test]
async fn nothing_is_asked_of_the_state_while_it_sleeps() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    let mut schedule = stage.schedule("hourly").await;
    schedule.step().await.unwrap();
    for _ in 0..50 {
        assert!(schedule.step().await.unwrap() <= seconds(10), "a clock that is set would be noticed too late");
    }
    assert!(stage.ticks(&hourly()).await.is_empty());
}

#[tokio::test]
async fn of_missed_times_only_the_latest_is_made_up_for() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-03T05:20:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    assert_eq!(times(&stage.runs().await), ["2026-03-03T05:00:00Z"]);
}

#[tokio::test]
async fn a_partitioned_schedule_makes_up_for_the_latest_five_each_for_its_newest_complete_window() {
    let stage = Stage::new(partitioned(hours())).await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T19:20:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    let runs = stage.runs().await;
    let expected: Vec<_> = (15..20).map(|hour| format!("2026-03-02T{hour}:00:00Z")).collect();
    assert_eq!(times(&runs), expected);
    let keys: Vec<_> = runs.iter().map(|run| run.partition_key.clone().unwrap()).collect();
    let expected: Vec<_> = (14..19).map(|hour| format!("2026-03-02-{hour}:00")).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn the_limit_of_catching_up_is_a_setting() {
    let stage = Stage::with(partitioned(hours()), "schedules: {max_catchup_runs: 2}").await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T19:20:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 2);
}

#[tokio::test]
async fn a_time_is_run_once_whoever_looks_and_however_often() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T11:00:01Z");
    for _ in 0..4 {
        stage.schedule_again("hourly").step().await.unwrap();
    }
    // A cursor that was lost does not bring the time back either: its key is used.
    stage.instance.set_cursor(&hourly(), None, stage.now()).await.unwrap();
    stage.schedule_again("hourly").step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn times_before_it_was_switched_on_again_are_not_made_up_for() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    stage.schedule("hourly").await.step().await.unwrap();
    let stopped = catchment_core::instigator::InstigatorStatus::Stopped;
    stage.instance.set_status(&hourly(), stopped, false, stage.now()).await.unwrap();
    stage.set_time("2026-03-02T14:30:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    stage.schedule("hourly").await.step().await.unwrap();
    assert!(stage.runs().await.is_empty());
    stage.set_time("2026-03-02T15:00:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    assert_eq!(times(&stage.runs().await), ["2026-03-02T15:00:00Z"]);
}

#[tokio::test]
async fn the_clock_changes_of_a_time_zone_neither_lose_nor_double_a_run() {
    // Zurich: 2026-03-29 02:00 does not exist, 2026-10-25 02:30 comes twice.
    let stage = Stage::new(snapshot(spec("30 2 * * *", "Europe/Zurich"))).await;
    for (begin, hours, expected) in [
        ("2026-03-28T00:00:00Z", 72, vec!["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("2026-10-24T00:00:00Z", 72, vec!["2026-10-24T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"]),
    ] {
        let before = stage.runs().await.len();
        stage.set_time(begin);
        let stopped = catchment_core::instigator::InstigatorStatus::Stopped;
        stage.instance.set_status(&hourly(), stopped, false, stage.now()).await.unwrap();
        let mut schedule = stage.schedule("hourly").await;
        for _ in 0..hours * 6 {
            schedule.step().await.unwrap();
            stage.pass(Duration::from_secs(600));
        }
        assert_eq!(times(&stage.runs().await[before..]), expected);
    }
}

#[tokio::test]
async fn user_code_says_what_to_run_and_each_key_is_run_once_for_its_time() {
    let stage = Stage::new(snapshot(ScheduleSpec { has_body: true, ..spec("0 * * * *", "UTC") })).await;
    stage.fake.on_schedule("hourly", |time| {
        assert!(time == at("2026-03-02T11:00:00Z") || time == at("2026-03-02T12:00:00Z"));
        let mut result = runs_for(["a", "b"]);
        result.run_requests.push(RunRequest::default());
        Ok(result)
    });
    stage.schedule("hourly").await.step().await.unwrap();
    for time in ["2026-03-02T11:00:00Z", "2026-03-02T12:00:00Z"] {
        stage.set_time(time);
        stage.schedule_again("hourly").step().await.unwrap();
    }
    let runs = stage.runs().await;
    assert_eq!(runs.len(), 6, "two keys and one without, at two times");
    assert!(runs.iter().all(|run| run.job_name == "job" && run.tags["team"] == "maps"));
    assert_eq!(runs[0].tags[tags::RUN_KEY], "a");
}

#[tokio::test]
async fn no_request_is_a_skipped_tick() {
    let stage = Stage::new(snapshot(ScheduleSpec { has_body: true, ..spec("0 * * * *", "UTC") })).await;
    stage.fake.on_schedule("hourly", |_| {
        Ok(SensorResult { skip_reason: Some("a holiday".into()), ..SensorResult::default() })
    });
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T11:00:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    let [tick] = stage.ticks(&hourly()).await.try_into().unwrap();
    assert_eq!((tick.status, tick.skip_reason.as_deref()), (TickStatus::Skipped, Some("a holiday")));
}

#[tokio::test]
async fn unreachable_user_code_is_asked_without_end_and_the_time_is_not_lost() {
    let stage = Stage::new(snapshot(ScheduleSpec { has_body: true, ..spec("0 * * * *", "UTC") })).await;
    stage.fake.on_schedule("hourly", |_| Ok(runs_for(["a"])));
    let mut schedule = stage.schedule("hourly").await;
    schedule.step().await.unwrap();
    stage.fake.set_away(true);
    stage.set_time("2026-03-02T11:00:00Z");
    for _ in 0..50 {
        assert_eq!(schedule.step().await.unwrap_err().code, Code::Unavailable);
        stage.pass(seconds(30));
    }
    assert_eq!(stage.statuses(&hourly()).await, [TickStatus::Failure]);
    stage.fake.set_away(false);
    schedule.step().await.unwrap();
    assert_eq!(times(&stage.runs().await), ["2026-03-02T11:00:00Z"]);
}

#[tokio::test]
async fn an_error_of_user_code_ends_the_time_unless_retries_are_set() {
    for (config, tries) in [("", 1), ("schedules: {max_tick_retries: 2}", 3)] {
        let stage = Stage::with(snapshot(ScheduleSpec { has_body: true, ..spec("0 * * * *", "UTC") }), config).await;
        stage.fake.on_schedule("hourly", |_| Err(problem("no")));
        let mut schedule = stage.schedule("hourly").await;
        schedule.step().await.unwrap();
        stage.set_time("2026-03-02T11:00:00Z");
        for _ in 0..6 {
            schedule.step().await.ok();
        }
        assert_eq!(stage.statuses(&hourly()).await, vec![TickStatus::Failure; tries], "{config}");
        assert_eq!(stage.cursor(&hourly()).await.as_deref(), Some("2026-03-02T11:00:00Z"));
    }
}

#[tokio::test]
async fn without_user_code_it_asks_while_the_location_is_away() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    stage.fake.set_away(true);
    let mut schedule = stage.schedule("hourly").await;
    schedule.step().await.unwrap();
    stage.set_time("2026-03-02T11:00:00Z");
    schedule.step().await.unwrap();
    assert_eq!(stage.runs().await.len(), 1);
}

#[tokio::test]
async fn a_job_with_named_partitions_is_run_for_each_of_them() {
    let stage = Stage::new(partitioned(PartitionsDefinition::with_keys(["red", "blue"]).unwrap())).await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T11:00:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    let keys: Vec<_> = stage.runs().await.iter().map(|run| run.partition_key.clone().unwrap()).collect();
    assert_eq!(keys, ["red", "blue"]);
}

#[tokio::test]
async fn the_newest_window_goes_with_each_key_of_the_other_dimension() {
    let colours = PartitionsDefinition::with_keys(["red", "blue"]).unwrap();
    let both = PartitionsDefinition::multi([("colour", colours), ("hour", hours())]).unwrap();
    let stage = Stage::new(partitioned(both)).await;
    stage.schedule("hourly").await.step().await.unwrap();
    stage.set_time("2026-03-02T11:00:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    let runs = stage.runs().await;
    let keys: Vec<_> = runs.iter().map(|run| run.partition_key.clone().unwrap()).collect();
    assert_eq!(keys, ["red|2026-03-02-10:00", "blue|2026-03-02-10:00"]);
    assert_eq!(runs[1].tags["dagster/partition"], keys[1]);
    assert_eq!(runs[1].tags["dagster/partition/colour"], "blue");
    assert_eq!(runs[1].tags["dagster/partition/hour"], "2026-03-02-10:00");
}

#[tokio::test]
async fn a_schedule_that_was_never_switched_on_does_nothing() {
    let stage = Stage::new(snapshot(spec("0 * * * *", "UTC"))).await;
    stage.set_time("2026-03-02T11:00:00Z");
    stage.schedule_again("hourly").step().await.unwrap();
    assert!(stage.runs().await.is_empty() && stage.ticks(&hourly()).await.is_empty());
    assert!(!ScheduleSpec { run_config: Value::Null, ..spec("@daily", "UTC") }.running_by_default);
}

#[tokio::test]
async fn a_time_that_comes_while_user_code_is_at_work_is_not_passed_over() {
    let stage = Stage::new(snapshot(ScheduleSpec { has_body: true, ..spec("* * * * *", "UTC") })).await;
    let mut schedule = stage.schedule("hourly").await;
    schedule.step().await.unwrap();
    let pass = stage.passing();
    stage.fake.on_schedule("hourly", move |time| {
        pass(seconds(65));
        Ok(runs_for([time.to_string()]))
    });
    stage.set_time("2026-03-02T11:00:00Z");
    assert_eq!(schedule.step().await.unwrap(), Duration::ZERO);
    schedule.step().await.unwrap();
    assert_eq!(times(&stage.runs().await), ["2026-03-02T11:00:00Z", "2026-03-02T11:01:00Z"]);
}

#[tokio::test]
async fn requests_for_the_same_partition_all_run_and_only_a_given_run_key_is_a_tag() {
    let stage = Stage::new(snapshot(ScheduleSpec { has_body: true, ..spec("0 * * * *", "UTC") })).await;
    let mut schedule = stage.schedule("hourly").await;
    stage.fake.on_schedule("hourly", |_| {
        let of = |key: &str| RunRequest { partition_key: Some(key.into()), ..RunRequest::default() };
        let given = RunRequest { run_key: Some("given".into()), ..of("a") };
        Ok(SensorResult { run_requests: vec![of("a"), of("a"), given, of("b")], ..SensorResult::default() })
    });
    stage.set_time("2026-03-02T11:00:00Z");
    schedule.step().await.unwrap();
    let runs = stage.runs().await;
    let keys: Vec<_> = runs.iter().map(|run| run.tags.get(tags::RUN_KEY).map(String::as_str)).collect();
    assert_eq!(keys, [None, None, Some("given"), None]);
}
