//! Sensors and schedules: whether they run, what they did, what they would ask for.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::Instigator;
use catchment_core::definitions::{ScheduleSpec, SensorKind, SensorSpec};
use catchment_core::instigator::{InstigatorKind, InstigatorState, InstigatorStatus};
use catchment_core::sensor::SensorInput;
use catchment_instance::TickFilter;
use catchment_model::Problem;
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::find::{Known, defining, locations};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid, not_found};
use crate::extract::{Params, Payload, page_size};
use crate::views::{DryRun, InstigatorList, InstigatorView, TickList};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<InstigatorList, _, _>(
            Get,
            "/api/v1/instigators/{kind}",
            "All of a kind (`sensor` or `schedule`): whether they run, and their last ticks",
            list,
        )
        .query::<LocationQuery>(),
        Endpoint::json::<InstigatorView, _, _>(
            Post,
            "/api/v1/instigators/{kind}/{name}/status",
            "Starts or stops a sensor or schedule, or leaves that to its code again",
            set_status,
        )
        .body::<NewStatus>(),
        Endpoint::json::<InstigatorView, _, _>(
            Post,
            "/api/v1/instigators/{kind}/{name}/cursor",
            "Sets the cursor of a sensor, or forgets it",
            set_cursor,
        )
        .body::<NewCursor>(),
        Endpoint::json::<DryRun, _, _>(
            Post,
            "/api/v1/instigators/{kind}/{name}/dry-run",
            "Evaluates a sensor or schedule and keeps nothing of it",
            dry_run,
        )
        .body::<DryRunOf>(),
        Endpoint::json::<TickList, _, _>(
            Get,
            "/api/v1/instigators/{kind}/{name}/ticks",
            "Evaluations of a sensor or schedule, newest first",
            ticks,
        )
        .query::<TicksQuery>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct LocationQuery {
    /// Only of this code location.
    location: Option<String>,
}

/// What is to become of a sensor or schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    /// `RUNNING`, `STOPPED`, or `DECLARED_IN_CODE` for what its definition says.
    status: String,
    /// The code location, where several define it.
    location: Option<String>,
}

/// Where a sensor is to go on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewCursor {
    /// The cursor; none forgets it.
    cursor: Option<String>,
    /// The code location, where several define it.
    location: Option<String>,
}

/// An evaluation that nothing is kept of.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DryRunOf {
    /// The cursor, in the place of the sensor's own.
    cursor: Option<String>,
    /// The time that a schedule's tick stands for, in the place of now.
    scheduled_for: Option<jiff::Timestamp>,
    /// The code location, where several define it.
    location: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct TicksQuery {
    /// The last tick of the page before.
    before: Option<i64>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
    /// The code location, where several define it.
    location: Option<String>,
}

/// The definition of a sensor or schedule.
enum Spec<'a> {
    Sensor(&'a SensorSpec),
    Schedule(&'a ScheduleSpec),
}

impl Spec<'_> {
    fn running_by_default(&self) -> bool {
        match self {
            Self::Sensor(spec) => spec.running_by_default,
            Self::Schedule(spec) => spec.running_by_default,
        }
    }
}

fn kind_of(text: &str) -> ApiResult<InstigatorKind> {
    match text {
        "sensor" => Ok(InstigatorKind::Sensor),
        "schedule" => Ok(InstigatorKind::Schedule),
        other => Err(not_found(format!("`{other}` is no kind"), "use sensor or schedule")),
    }
}

fn spec<'a>(known: &'a Known, instigator: &Instigator) -> Option<Spec<'a>> {
    let snapshot = &known.snapshot;
    match instigator.kind {
        InstigatorKind::Sensor => snapshot.sensors.iter().find(|s| s.name == instigator.name).map(Spec::Sensor),
        InstigatorKind::Schedule => snapshot.schedules.iter().find(|s| s.name == instigator.name).map(Spec::Schedule),
    }
}

/// The sensor or schedule of that name, with the location that defines it.
async fn find(app: &App, kind: &str, name: &str, location: Option<&str>) -> ApiResult<(Known, Instigator)> {
    let kind = kind_of(kind)?;
    let what = format!("{} `{name}`", kind.as_str());
    let known = defining(app, location, &what, |snapshot| match kind {
        InstigatorKind::Sensor => snapshot.sensors.iter().any(|spec| spec.name == name),
        InstigatorKind::Schedule => snapshot.schedules.iter().any(|spec| spec.name == name),
    });
    let known = known.await?;
    let instigator = Instigator { kind, location: known.record.name.clone(), name: name.to_owned() };
    Ok((known, instigator))
}

async fn view(app: &App, spec: &Spec<'_>, state: &InstigatorState) -> ApiResult<InstigatorView> {
    let last = app.instance().ticks(&state.instigator, &TickFilter::default(), None, 1).await?;
    let running = state.status.runs(spec.running_by_default());
    let (follows, description, targets, next_at) = match spec {
        Spec::Sensor(sensor) => {
            let follows = match &sensor.kind {
                SensorKind::Standard => "standard",
                SensorKind::RunStatus { .. } => "run_status",
                SensorKind::Asset { .. } => "asset",
                SensorKind::Automation { .. } => "automation",
            };
            let targets = sensor.jobs.iter().chain(&sensor.assets).cloned().collect();
            (follows.to_owned(), sensor.description.clone(), targets, None)
        }
        Spec::Schedule(schedule) => {
            let cron = &schedule.cron;
            let follows = format!("{} ({})", cron.expressions().join(", "), cron.timezone());
            let next = cron.next_after(clock::now()).filter(|_| running);
            (follows, schedule.description.clone(), vec![schedule.job.clone()], next)
        }
    };
    Ok(InstigatorView {
        name: state.instigator.name.clone(),
        location: state.instigator.location.clone(),
        kind: state.instigator.kind.as_str().into(),
        follows,
        description,
        running,
        status: state.status.as_str().into(),
        targets,
        cursor: state.cursor.clone(),
        next_at,
        last_tick: last.into_iter().next().map(Into::into),
    })
}

async fn list(
    State(app): State<App>,
    Path(kind): Path<String>,
    Params(query): Params<LocationQuery>,
) -> ApiResult<Json<InstigatorList>> {
    let kind = kind_of(&kind)?;
    let states = app.instance().instigators().await?;
    let states: BTreeMap<_, _> = states.into_iter().map(|state| (state.instigator.clone(), state)).collect();
    let mut instigators = Vec::new();
    for known in locations(&app, query.location.as_deref()).await? {
        let specs: Vec<(String, Spec<'_>)> = match kind {
            InstigatorKind::Sensor => {
                known.snapshot.sensors.iter().map(|spec| (spec.name.clone(), Spec::Sensor(spec))).collect()
            }
            InstigatorKind::Schedule => {
                known.snapshot.schedules.iter().map(|spec| (spec.name.clone(), Spec::Schedule(spec))).collect()
            }
        };
        for (name, spec) in specs {
            let instigator = Instigator { kind, location: known.record.name.clone(), name };
            let state = match states.get(&instigator) {
                Some(state) => state.clone(),
                None => app.instance().instigator(&instigator).await?,
            };
            instigators.push(view(&app, &spec, &state).await?);
        }
    }
    Ok(Json(InstigatorList { instigators }))
}

async fn answer(app: &App, known: &Known, instigator: &Instigator) -> ApiResult<Json<InstigatorView>> {
    let state = app.instance().instigator(instigator).await?;
    let gone = || not_found(format!("{instigator} is not defined any more"), "see `catchment location list`");
    let spec = spec(known, instigator).ok_or_else(gone)?;
    Ok(Json(view(app, &spec, &state).await?))
}

async fn set_status(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    Payload(asked): Payload<NewStatus>,
) -> ApiResult<Json<InstigatorView>> {
    let status: InstigatorStatus =
        asked.status.parse().map_err(|e: String| invalid(e, "status", "use RUNNING, STOPPED or DECLARED_IN_CODE"))?;
    let (known, instigator) = find(&app, &kind, &name, asked.location.as_deref()).await?;
    let by_default = spec(&known, &instigator).is_some_and(|spec| spec.running_by_default());
    app.instance().set_status(&instigator, status, status.runs(by_default), clock::now()).await?;
    app.record("instigator.status", &kind, &instigator.to_string(), json!({"status": status.as_str()})).await;
    wake::wake(&app.home().daemon_socket());
    answer(&app, &known, &instigator).await
}

async fn set_cursor(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    Payload(asked): Payload<NewCursor>,
) -> ApiResult<Json<InstigatorView>> {
    let (known, instigator) = find(&app, &kind, &name, asked.location.as_deref()).await?;
    if instigator.kind == InstigatorKind::Schedule {
        return Err(invalid("a schedule has no cursor of its own", name, "stop it and start it again"));
    }
    app.instance().set_cursor(&instigator, asked.cursor.as_deref(), clock::now()).await?;
    app.record("instigator.cursor", &kind, &instigator.to_string(), json!({"cursor": asked.cursor})).await;
    wake::wake(&app.home().daemon_socket());
    answer(&app, &known, &instigator).await
}

async fn dry_run(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    Payload(asked): Payload<DryRunOf>,
) -> ApiResult<Json<DryRun>> {
    let (known, instigator) = find(&app, &kind, &name, asked.location.as_deref()).await?;
    let state = app.instance().instigator(&instigator).await?;
    let evaluated = match spec(&known, &instigator) {
        Some(Spec::Sensor(SensorSpec { kind: SensorKind::Standard, .. })) => {
            let cursor = asked.cursor.as_deref().or(state.cursor.as_deref());
            let input = SensorInput { last_tick_at: state.last_tick_at, ..SensorInput::default() };
            known.client(&app)?.evaluate_sensor(&name, cursor, 0, &input).await
        }
        Some(Spec::Schedule(schedule)) if schedule.has_body => {
            let at = asked.scheduled_for.unwrap_or_else(clock::now);
            known.client(&app)?.evaluate_schedule(&name, at, 0, state.last_tick_at).await
        }
        Some(Spec::Schedule(schedule)) => {
            let request = json!({"job_name": schedule.job, "run_config": schedule.run_config, "tags": schedule.tags});
            return Ok(Json(DryRun {
                run_requests: vec![request],
                skip_reason: None,
                cursor: None,
                problem: None,
                log: Vec::new(),
            }));
        }
        _ => {
            return Err(invalid(
                format!("{instigator} reacts to what happens here, so there is nothing to evaluate by itself"),
                name,
                "see what it did: its ticks",
            ));
        }
    };
    let evaluated = evaluated.map_err(Problem::from)?;
    let log = evaluated.log.iter().map(|line| format!("{} {}", line.level.as_str(), line.message)).collect();
    let (result, problem) = match evaluated.outcome {
        Ok(result) => (result, None),
        Err(problem) => (Default::default(), Some(problem)),
    };
    Ok(Json(DryRun {
        run_requests: result.run_requests.iter().map(|request| json!(request)).collect(),
        skip_reason: result.skip_reason,
        cursor: result.cursor,
        problem,
        log,
    }))
}

async fn ticks(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    Params(query): Params<TicksQuery>,
) -> ApiResult<Json<TickList>> {
    let (_, instigator) = find(&app, &kind, &name, query.location.as_deref()).await?;
    let limit = page_size(query.limit, 50, 500);
    let mut ticks = app.instance().ticks(&instigator, &TickFilter::default(), query.before, limit + 1).await?;
    let more = ticks.len() > limit as usize;
    ticks.truncate(limit as usize);
    let next = ticks.last().filter(|_| more).map(|tick| tick.id);
    Ok(Json(TickList { ticks: ticks.into_iter().map(Into::into).collect(), next }))
}
