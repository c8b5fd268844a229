//! Makes runs: of jobs, of assets, of runs again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::definitions::{ASSET_JOB, JobSpec};
use catchment_core::partitions::PartitionContext;
use catchment_core::rerun::{Strategy, rerun};
use catchment_core::{Event, NewRun, RunId, Selection, tags};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::find::{Known, defining, locations};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid};
use crate::extract::{Payload, run_id};
use crate::views::RunView;

/// Reserved tags that users may set.
const USERS_OWN: &[&str] =
    &[tags::PRIORITY, tags::MAX_RETRIES, tags::RETRY_STRATEGY, tags::MAX_RUNTIME, tags::RETRY_ON_STEP_FAILURE];

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
            "Puts a run that makes the selected assets into the queue",
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
    /// Tags. Of those that begin with `dagster/`, only priority, max_retries, retry_strategy, max_runtime and
    /// retry_on_asset_or_op_failure may be set.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// The partition.
    partition_key: Option<String>,
    /// Only these steps.
    #[serde(default)]
    steps: Vec<String>,
}

async fn job(
    State(app): State<App>,
    Path(name): Path<String>,
    Payload(asked): Payload<Launch>,
) -> ApiResult<Json<RunView>> {
    let what = format!("job `{name}`");
    let known = defining(&app, asked.location.as_deref(), &what, |s| s.job(&name).is_some()).await?;
    let selection = Selection { steps: asked.steps, ..Selection::default() };
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
    /// Which assets, in Dagster's selection syntax: `*`, `a`, `+a`, `a+1`, `group:"g" and not b`.
    selection: String,
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
    let (known, assets) = selected(&app, asked.location.as_deref(), &asked.selection).await?;
    let run = Wanted {
        job: ASSET_JOB.into(),
        selection: Selection { assets, ..Selection::default() },
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
    let unknown = selection.steps.iter().find(|key| !spec.steps.iter().any(|step| step.key == **key));
    if let Some(unknown) = unknown {
        let steps = spec.steps.iter().map(|step| step.key.as_str()).collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("the job has no step `{unknown}`"), job, format!("its steps are {steps}")));
    }
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
    app.record(action, "run", &run.run_id.to_string(), json!({"job": run.job_name})).await?;
    wake::wake_for_runs(&app.home().daemon_socket());
    Ok(Json(RunView::new(run, true)))
}

/// Tags that a user may not set are refused, so that none is mistaken for what the system says.
pub(super) fn check_tags(own: &BTreeMap<String, String>) -> ApiResult<()> {
    let reserved = |key: &str| key.starts_with(tags::SYSTEM_PREFIX) || key.starts_with(tags::HIDDEN_PREFIX);
    for (key, value) in own {
        if let Some(allowed) = tags::unreadable(key, value) {
            let what = format!("the tag `{key}` does not take the value `{value}`");
            return Err(invalid(what, "tags", format!("it takes {allowed}")));
        }
    }
    match own.keys().find(|key| reserved(key) && !USERS_OWN.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(invalid(
            format!("the tag `{key}` is set by the system"),
            "tags",
            format!("of those that begin with dagster/, these may be set: {}", USERS_OWN.join(", ")),
        )),
    }
}

/// Checks the partition against the definitions of what is to run; answers its tags.
async fn check_partition(
    app: &App,
    known: &Known,
    job: &JobSpec,
    selection: &Selection,
    key: Option<&str>,
) -> ApiResult<BTreeMap<String, String>> {
    let snapshot = &known.snapshot;
    let of_assets = selection.assets.iter().filter_map(|key| snapshot.asset(key)?.partitions.as_deref());
    let names: std::collections::BTreeSet<&str> = of_assets.chain(job.partitions.as_deref()).collect();
    let definitions: Vec<_> = names.iter().filter_map(|name| Some((*name, snapshot.partitions(name)?))).collect();
    let Some(key) = key else {
        return match definitions.first() {
            None => Ok(BTreeMap::new()),
            Some((name, _)) => Err(invalid(
                format!("what is to run has partitions (`{name}`), and none was named"),
                "partition_key",
                "name one (--partition); `catchment partition list` shows them, `catchment backfill create` runs many",
            )),
        };
    };
    if definitions.is_empty() {
        return Err(invalid("what is to run has no partitions", key, "leave the partition out"));
    }
    let dynamic = known.dynamic_keys(app).await?;
    let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
    let mut all = BTreeMap::new();
    for (name, definition) in definitions {
        if !definition.contains(key, cx) {
            return Err(invalid(
                format!("`{key}` is no partition of `{name}`"),
                "partition_key",
                format!("see `catchment partition list {name}`"),
            ));
        }
        all.extend(tags::of_partition(Some(definition), key));
    }
    Ok(all)
}

/// Has the code location check run config.
pub(super) async fn check_config(
    app: &App,
    known: &Known,
    job: &str,
    run_config: &Value,
    selection: &Selection,
) -> ApiResult<()> {
    let client = known.client(app)?;
    let faults = client.validate_run_config(job, run_config, selection).await.map_err(Problem::from)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError(
        Problem::new(Code::InvalidInput, format!("the run config does not fit the job `{job}`"))
            .place(known.record.name.clone())
            .faults(faults)
            .remedy("mend what is listed; the job's config schema says what it takes"),
    ))
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
