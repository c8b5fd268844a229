//! Sensors and schedules, called without a daemon.

use catchment::{
    Definitions, Event, EventKind, Input, Level, PartitionsDefinition, Problem, Resources, Run, RunId, RunRequest,
    ScheduleContext, ScheduleDefinition, SensorContext, SensorDefinition, SkipReason, Surroundings, asset, asset_job,
    asset_sensor, run_status_sensor, schedule, schedule_from_partitioned_job, sensor,
};
use catchment_core::definitions::{ScheduleSpec, SensorKind};
use catchment_core::{NewEvent, RunStatus};
use catchment_settings::{Environment, Home};
use jiff::Timestamp;
use serde_json::json;

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01").timezone("Europe/Zurich")
}

#[asset(partitions = days)]
async fn rows() -> Result<u32, Problem> {
    Ok(1)
}

#[asset]
async fn plain() -> Result<u32, Problem> {
    Ok(1)
}

#[asset(deps = ["plain"])]
async fn more(plain: Input<u32>) -> Result<u32, Problem> {
    Ok(*plain)
}

/// Names no job: there is only one.
#[sensor(jobs = ["daily"], default = running)]
async fn asks() -> Result<RunRequest, Problem> {
    Ok(RunRequest::new("once").partition("2026-01-02").tag("a", "b"))
}

#[sensor(assets = ["plain"])]
async fn asks_for_assets() -> Result<Vec<RunRequest>, Problem> {
    Ok(vec![RunRequest::new("a").assets(["plain"])])
}

#[run_status_sensor(statuses = [Failure], monitored_jobs = ["daily"], jobs = ["plain_job"])]
async fn on_failure(ctx: SensorContext, run: Run) -> Result<RunRequest, Problem> {
    ctx.log_at(Level::Warning, format!("{} failed", run.job_name));
    if run.job_name == "bad" {
        return Err(Problem::new(catchment::Code::Unavailable, "no pager"));
    }
    Ok(RunRequest::new(run.run_id.to_string()))
}

#[asset_sensor(assets = ["plain", "more"], jobs = ["plain_job"])]
async fn on_assets(ctx: SensorContext, event: Event) -> Result<SkipReason, Problem> {
    Ok(SkipReason::new(format!("{} of {}", event.id, ctx.newest_by_asset().len())))
}

#[schedule(cron = ["0 3 * * *", "0 12 * * SUN"], timezone = "Europe/Zurich", job = "plain_job", tags = [("a", "b")])]
async fn nightly(ctx: ScheduleContext) -> Result<RunRequest, Problem> {
    ctx.log("asked");
    Ok(RunRequest::default().config(json!({"at": ctx.scheduled_for().to_string()})))
}

fn definitions() -> Definitions {
    Definitions::new("asks")
        .assets([rows(), plain(), more()])
        .job(asset_job("daily", ["rows"]))
        .job(asset_job("plain_job", ["plain"]))
        .sensor(asks())
        .sensor(asks_for_assets())
        .sensor(on_failure())
        .sensor(on_assets())
        .sensor(SensorDefinition::automation("own_automation", ["more"]).running_by_default(true))
        .schedule(nightly())
        .schedule(schedule_from_partitioned_job("daily"))
        .schedule(ScheduleDefinition::new("always_the_same", ["@hourly"], "plain_job").config(json!({})))
}

fn resources(folder: &tempfile::TempDir) -> Resources {
    let environment = Environment::from_lookup(|_| None).unwrap();
    let home = Home::open(folder.path()).unwrap();
    Resources::of(&definitions(), Surroundings { environment, home })
}

#[test]
fn the_snapshot_says_what_wakes_a_sensor_and_when_a_schedule_asks() {
    assert_eq!(definitions().check(), []);
    let snapshot = definitions().snapshot();
    let sensor = |name: &str| snapshot.sensors.iter().find(|sensor| sensor.name == name).unwrap();
    assert_eq!(sensor("asks").kind, SensorKind::Standard);
    assert!(sensor("asks").running_by_default);
    let expected = SensorKind::RunStatus {
        statuses: vec![RunStatus::Failure],
        monitored_jobs: vec!["daily".into()],
        monitor_all_locations: false,
    };
    assert_eq!(sensor("on_failure").kind, expected);
    assert_eq!(sensor("on_assets").kind, SensorKind::Asset { assets: vec!["plain".into(), "more".into()] });
    assert_eq!(sensor("own_automation").kind, SensorKind::Automation { assets: vec!["more".into()] });
    let schedule = |name: &str| -> &ScheduleSpec { snapshot.schedules.iter().find(|s| s.name == name).unwrap() };
    assert_eq!(schedule("nightly").cron.expressions().len(), 2);
    assert!(schedule("nightly").has_body && !schedule("nightly").partitioned);
    let daily = schedule("daily_schedule");
    assert!(daily.partitioned && !daily.has_body);
    assert_eq!((daily.cron.expressions(), daily.cron.timezone()), (&["0 0 * * *".to_owned()][..], "Europe/Zurich"));
}

#[test]
fn a_wrong_schedule_is_a_fault_of_the_definitions_and_the_rest_is_still_shown() {
    let wrong = definitions()
        .schedule(ScheduleDefinition::new("never", ["61 * * * *"], "plain_job"))
        .schedule(ScheduleDefinition::new("of_nothing", ["@daily"], "no_job"))
        .schedule(schedule_from_partitioned_job("plain_job"))
        .partitions(PartitionsDefinition::daily("broken", "yesterday"));
    let places: Vec<_> = wrong.check().into_iter().map(|problem| problem.place.unwrap_or_default()).collect();
    let expected = ["partitions broken", "schedule never", "schedule of_nothing", "schedule plain_job_schedule"];
    assert_eq!(places, expected);
    assert!(wrong.snapshot().schedules.iter().any(|schedule| schedule.name == "nightly"));
}

fn event(id: i64, run: &Run) -> Event {
    let event = NewEvent {
        run_id: run.run_id,
        timestamp: Timestamp::UNIX_EPOCH,
        kind: EventKind::AssetMaterialization,
        step_key: None,
        level: Level::Info,
        message: String::new(),
        data: json!({"asset_key": "plain"}),
    };
    Event { id, event }
}

fn run(job: &str) -> Run {
    Run {
        run_id: RunId::random(),
        job_name: job.into(),
        location: "asks".into(),
        status: RunStatus::Failure,
        run_config: json!({}),
        tags: Default::default(),
        partition_key: None,
        selection: Default::default(),
        parent_run_id: None,
        root_run_id: None,
        created_at: Timestamp::UNIX_EPOCH,
        launched_at: None,
        started_at: None,
        ended_at: None,
        lease_epoch: 1,
        lease_until: None,
        process: None,
        problem: None,
    }
}

#[tokio::test]
async fn a_request_that_names_no_job_is_for_the_sensors_own() {
    let folder = tempfile::tempdir().unwrap();
    let context = SensorContext::new("asks", "1", None, resources(&folder));
    let asked = asks().evaluate(context.clone()).await.unwrap().run_requests.remove(0);
    assert_eq!((asked.job_name.as_str(), asked.partition_key.as_deref()), ("daily", Some("2026-01-02")));
    let asked = asks_for_assets().evaluate(context).await.unwrap().run_requests.remove(0);
    assert_eq!((asked.job_name.as_str(), asked.selection.assets), ("", vec!["plain".to_owned()]));
}

#[tokio::test]
async fn a_run_status_sensor_is_called_for_each_run_and_stops_before_the_one_it_fails_on() {
    let folder = tempfile::tempdir().unwrap();
    let runs = vec![run("daily"), run("daily"), run("bad"), run("daily")];
    let events: Vec<_> = runs.iter().zip(5..).map(|(run, id)| event(id, run)).collect();
    let of = |events: &[Event]| {
        let input =
            catchment_core::sensor::SensorInput { events: events.to_vec(), runs: runs.clone(), last_tick_at: None };
        SensorContext::new("on_failure", "1", Some("4".into()), resources(&folder)).with_input(input)
    };
    let context = of(&events);
    let asked = on_failure().evaluate(context.clone()).await.unwrap();
    assert_eq!((asked.run_requests.len(), asked.cursor.as_deref(), asked.more), (2, Some("6"), true));
    assert_eq!(asked.run_requests[0].job_name, "plain_job");
    assert_eq!(context.log_lines().len(), 3);
    let failed = on_failure().evaluate(of(&events[2..])).await.err().unwrap();
    assert_eq!(failed.what, "no pager");
    let asked = on_failure().evaluate(of(&events[3..])).await.unwrap();
    assert_eq!((asked.run_requests.len(), asked.cursor.as_deref()), (1, Some("8")));
}

#[tokio::test]
async fn an_asset_sensor_is_told_the_newest_of_each_asset() {
    let folder = tempfile::tempdir().unwrap();
    let run = run("plain_job");
    let input = catchment_core::sensor::SensorInput {
        events: vec![event(5, &run), event(9, &run)],
        runs: vec![run],
        last_tick_at: None,
    };
    let context = SensorContext::new("on_assets", "1", None, resources(&folder)).with_input(input);
    assert_eq!(on_assets().evaluate(context).await.unwrap().skip_reason.as_deref(), Some("9 of 1"));
}

#[tokio::test]
async fn a_schedule_is_asked_for_one_of_its_times() {
    let folder = tempfile::tempdir().unwrap();
    let at: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
    let context = ScheduleContext::new("nightly", "1", at, None, resources(&folder));
    let asked = nightly().evaluate(context.clone()).await.unwrap().run_requests.remove(0);
    assert_eq!(asked.job_name, "plain_job");
    assert_eq!(asked.run_config["at"], "2026-01-02T03:00:00Z");
    assert_eq!(context.log_lines()[0].message, "asked");
}
