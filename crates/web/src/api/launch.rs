//! Makes runs: of jobs, of assets, of runs again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::definitions::{ASSET_JOB, LocationSnapshot};
use catchment_core::rerun::{Strategy, rerun};
use catchment_core::{Event, NewRun, RunId, Selection, tags};
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::find::{Known, defining, locations};
use super::launchable::{check_config, check_partition, check_selection, check_tags};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid};
use crate::extract::{Payload, run_id};
use crate::views::RunView;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::Post;
    vec![
        Endpoint::json::<RunView, _, _>(
            Post,
            "/api/v1/jobs/{name}/launch",
            "Puts a run of a job into the queue; its run config is checked first",
            job,
        )
        .body::<Launch>(),
        Endpoint::json::<RunView, _, _>(
            Post,
            "/api/v1/materializations",
            "Puts a run that makes the selected assets, or evaluates the named checks, into the queue",
            materialize,
        )
        .body::<Materialize>(),
        Endpoint::json::<RunView, _, _>(
            Post,
            "/api/v1/runs/{run_id}/reexecute",
            "Puts a run into the queue that runs another again, whole or in part",
            reexecute,
        )
        .body::<Reexecute>(),
    ]
}

/// A run of a job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Launch {
    /// The code location, where several define the job.
    location: Option<String>,
    /// Run config.
    #[serde(default)]
    run_config: Value,
    /// Tags. Of those that begin with `dagster/`, only priority, max_retries, retry_strategy, max_runtime,
    /// retry_on_asset_or_op_failure and isolation may be set; none that begins with `catchment/`.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// The partition.
    partition_key: Option<String>,
    /// Only these steps.
    #[serde(default)]
    steps: Vec<String>,
    /// Only these checks, as `asset:check`.
    #[serde(default)]
    checks: Vec<String>,
}

async fn job(
    State(app): State<App>,
    Path(name): Path<String>,
    Payload(asked): Payload<Launch>,
) -> ApiResult<Json<RunView>> {
    let what = format!("job `{name}`");
    let known = defining(&app, asked.location.as_deref(), &what, |s| s.job(&name).is_some()).await?;
    let selection = Selection { steps: asked.steps, checks: asked.checks, ..Selection::default() };
    let run = Wanted {
        job: name,
        selection,
        run_config: asked.run_config,
        tags: asked.tags,
        partition_key: asked.partition_key,
    };
    launch(&app, &known, run).await
}

/// A run that makes assets.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Materialize {
    /// Which assets, in Dagster's selection syntax: `*`, `a`, `+a`, `a+1`, `group:"g" and not b`. May be left out where
    /// checks are named: they are evaluated alone then.
    #[serde(default)]
    selection: String,
    /// Of the checks only these, as `asset:check`; all of the selected assets where none is named.
    #[serde(default)]
    checks: Vec<String>,
    /// The code location, where several define them.
    location: Option<String>,
    /// The partition.
    partition_key: Option<String>,
    /// Run config.
    #[serde(default)]
    run_config: Value,
    /// Tags, as for a run of a job.
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

async fn materialize(State(app): State<App>, Payload(asked): Payload<Materialize>) -> ApiResult<Json<RunView>> {
    let location = asked.location.as_deref();
    let (known, assets) = match asked.checks.first() {
        Some(check) if asked.selection.is_empty() => {
            let what = format!("check `{check}`");
            let defines = |s: &LocationSnapshot| s.checks.iter().any(|spec| spec.key() == *check);
            (defining(&app, location, &what, defines).await?, Vec::new())
        }
        _ => selected(&app, location, &asked.selection).await?,
    };
    let run = Wanted {
        job: ASSET_JOB.into(),
        selection: Selection { assets, checks: asked.checks, steps: Vec::new() },
        run_config: asked.run_config,
        tags: asked.tags,
        partition_key: asked.partition_key,
    };
    launch(&app, &known, run).await
}

/// The assets that a selection names, of the one code location that has such.
pub(super) async fn selected(app: &App, only: Option<&str>, text: &str) -> ApiResult<(Known, Vec<String>)> {
    let mut found: Option<(Known, Vec<String>)> = None;
    let mut wrong = None;
    for known in locations(app, only).await? {
        match catchment_core::selection::assets(text, &known.snapshot) {
            Ok(mut keys) => {
                keys.retain(|key| known.snapshot.asset(key).is_some_and(|asset| !asset.step.is_empty()));
                if keys.is_empty() {
                    continue;
                }
                if let Some((other, _)) = &found {
                    let both = format!("{} and {}", other.record.name, known.record.name);
                    return Err(invalid(
                        format!("the selection names assets of several code locations: {both}"),
                        text,
                        "say which one is meant (--location); a run makes assets of one",
                    ));
                }
                found = Some((known, keys));
            }
            Err(problem) => wrong = Some(problem),
        }
    }
    match (found, wrong) {
        (Some(found), _) => Ok(found),
        (None, Some(problem)) => Err(ApiError(problem)),
        (None, None) => {
            Err(invalid("the selection names no asset that can be made", text, "see `catchment asset list`"))
        }
    }
}

/// A run that somebody wants.
struct Wanted {
    job: String,
    selection: Selection,
    run_config: Value,
    tags: BTreeMap<String, String>,
    partition_key: Option<String>,
}

async fn launch(app: &App, known: &Known, wanted: Wanted) -> ApiResult<Json<RunView>> {
    let Wanted { job, selection, run_config, tags: own, partition_key } = wanted;
    check_tags(&own)?;
    let Some(spec) = known.snapshot.job(&job) else {
        return Err(invalid(format!("the code location has no job `{job}`"), job, "see `catchment job list`"));
    };
    check_selection(&known.snapshot, spec, &selection)?;
    let partition_tags = check_partition(app, known, spec, &selection, partition_key.as_deref()).await?;
    let run_config = if run_config.is_null() { json!({}) } else { run_config };
    check_config(app, known, &job, &run_config, &selection).await?;
    let mut run_tags = spec.tags.clone();
    run_tags.extend(own);
    run_tags.extend(partition_tags);
    run_tags.insert(tags::CODE_LOCATION.into(), known.record.name.clone());
    let run = NewRun {
        run_id: RunId::random(),
        job_name: job,
        location: known.record.name.clone(),
        run_config,
        tags: run_tags,
        partition_key,
        selection,
        parent_run_id: None,
        root_run_id: None,
    };
    enqueue(app, run, "run.launch").await
}

async fn enqueue(app: &App, run: NewRun, action: &str) -> ApiResult<Json<RunView>> {
    let run = app.instance().enqueue(run, clock::now()).await?;
    app.record(action, "run", &run.run_id.to_string(), json!({"job": run.job_name})).await;
    wake::wake_for_runs(&app.home().daemon_socket());
    Ok(Json(RunView::new(run, true)))
}

/// A run that runs another again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reexecute {
    /// `FROM_FAILURE` (what failed and everything downstream of it, the default), `FROM_ASSET_FAILURE` (assets and
    /// checks that were not made) or `ALL_STEPS`.
    strategy: Option<String>,
    /// These steps, with the values of the others taken over; in the place of a strategy.
    #[serde(default)]
    steps: Vec<String>,
    /// Run config in the place of the parent's.
    run_config: Option<Value>,
    /// Tags beside the parent's.
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Reexecute {
    fn strategy(&self) -> ApiResult<Strategy> {
        let allowed = "use FROM_FAILURE, FROM_ASSET_FAILURE or ALL_STEPS, or name steps";
        match (self.strategy.as_deref(), self.steps.is_empty()) {
            (None, false) => Ok(Strategy::Steps(self.steps.clone())),
            (None | Some("FROM_FAILURE"), true) => Ok(Strategy::FromFailure),
            (Some("FROM_ASSET_FAILURE"), true) => Ok(Strategy::FromAssetFailure),
            (Some("ALL_STEPS"), true) => Ok(Strategy::AllSteps),
            (Some(_), false) => Err(invalid("both a strategy and steps are given", "strategy", allowed)),
            (Some(other), true) => Err(invalid(format!("`{other}` is no strategy"), "strategy", allowed)),
        }
    }
}

async fn reexecute(
    State(app): State<App>,
    Path(id): Path<String>,
    Payload(asked): Payload<Reexecute>,
) -> ApiResult<Json<RunView>> {
    let strategy = asked.strategy()?;
    check_tags(&asked.tags)?;
    let parent = super::runs::find(&app, run_id(&id)?).await?;
    let what = format!("job `{}`", parent.job_name);
    let known = defining(&app, Some(&parent.location), &what, |s| s.job(&parent.job_name).is_some()).await?;
    let Some(job) = known.snapshot.job(&parent.job_name) else {
        return Err(invalid(format!("there is no {what} any more"), id, "see `catchment job list`"));
    };
    let events = match strategy {
        Strategy::FromFailure | Strategy::FromAssetFailure => all_events(&app, parent.run_id).await?,
        Strategy::AllSteps | Strategy::Steps(_) => Vec::new(),
    };
    let mut run = rerun(&parent, job, &events, strategy, RunId::random())?;
    if let Some(config) = asked.run_config {
        run.run_config = config;
    }
    run.tags.extend(asked.tags);
    check_config(&app, &known, &run.job_name, &run.run_config, &run.selection).await?;
    enqueue(&app, run, "run.reexecute").await
}

async fn all_events(app: &App, run_id: RunId) -> ApiResult<Vec<Event>> {
    const PAGE: u32 = 5000;
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = app.instance().run_events(run_id, after, PAGE).await?;
        let more = page.len() == PAGE as usize;
        after = page.last().map_or(after, |event| event.id);
        all.extend(page);
        if !more {
            return Ok(all);
        }
    }
}
