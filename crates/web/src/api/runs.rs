//! Runs, their events and their raw output.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::state::Command;
use catchment_core::{Run, RunId, RunStatus, tags};
use catchment_instance::{InstanceError, RunFilter};
use catchment_model::Problem;
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid, not_found};
use crate::extract::{Params, Payload, page_size, run_id};
use crate::views::{AssetList, EventList, RunList, RunView};

/// How often a waiting reader looks again.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How long a reader may wait for events.
const WAIT_MOST: Duration = Duration::from_secs(30);

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<RunList, _, _>(Get, "/api/v1/runs", "Runs, newest first", list).query::<RunsQuery>(),
        Endpoint::json::<RunView, _, _>(Get, "/api/v1/runs/{run_id}", "One run, with its config", show),
        Endpoint::json::<EventList, _, _>(
            Get,
            "/api/v1/runs/{run_id}/events",
            "Events of a run in order; waits for new ones where asked to",
            events,
        )
        .query::<EventsQuery>(),
        Endpoint::json::<AssetList, _, _>(
            Get,
            "/api/v1/runs/{run_id}/assets",
            "What a run has committed to the lake",
            assets,
        ),
        Endpoint::json::<RunView, _, _>(
            Post,
            "/api/v1/runs/{run_id}/cancel",
            "Ends a run early: one that waits at once, one that works as soon as its process has let go",
            cancel,
        )
        .body::<Cancel>(),
        Endpoint::json::<RunView, _, _>(
            Verb::Delete,
            "/api/v1/runs/{run_id}",
            "Removes a run that has ended, with its events; what it made stays",
            delete,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct RunsQuery {
    /// Any of these statuses, separated by commas.
    status: Option<String>,
    /// This job.
    job: Option<String>,
    /// This code location.
    location: Option<String>,
    /// This partition (dataset).
    partition: Option<String>,
    /// This batch.
    batch_id: Option<String>,
    /// This tag, as `name=value`.
    tag: Option<String>,
    /// The last run of the page before.
    before: Option<String>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn list(State(app): State<App>, Params(query): Params<RunsQuery>) -> ApiResult<Json<RunList>> {
    let filter = query.filter()?;
    let before = query.before.as_deref().map(run_id).transpose()?;
    let limit = page_size(query.limit, 50, 500);
    let mut runs = app.instance().runs(&filter, before, limit + 1).await?;
    let more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| more).map(|run| run.run_id.to_string());
    Ok(Json(RunList { runs: runs.into_iter().map(|run| RunView::new(run, false)).collect(), next }))
}

impl RunsQuery {
    fn filter(&self) -> ApiResult<RunFilter> {
        let statuses = self.status.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|s| !s.is_empty());
        let statuses = statuses
            .map(|text| {
                let known = RunStatus::ALL.map(RunStatus::as_str).join(", ");
                text.to_ascii_uppercase().parse().map_err(|e: String| invalid(e, "status", format!("use {known}")))
            })
            .collect::<ApiResult<Vec<RunStatus>>>()?;
        let mut all_tags = Vec::new();
        if let Some(tag) = &self.tag {
            let (name, value) =
                tag.split_once('=').ok_or_else(|| invalid(format!("`{tag}` is no tag"), "tag", "write name=value"))?;
            all_tags.push((name.to_owned(), value.to_owned()));
        }
        if let Some(batch_id) = &self.batch_id {
            all_tags.push((tags::RUN_KEY.to_owned(), batch_id.clone()));
        }
        Ok(RunFilter {
            statuses,
            job_name: self.job.clone(),
            location: self.location.clone(),
            partition_key: self.partition.clone(),
            tags: all_tags,
            ..RunFilter::default()
        })
    }
}

/// The run of that id, or the problem that there is none.
pub(super) async fn find(app: &App, id: RunId) -> ApiResult<Run> {
    let found = app.instance().run(id).await?;
    found.ok_or_else(|| not_found(format!("there is no run {id}"), "see the runs with `catchment run list`"))
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<RunView>> {
    Ok(Json(RunView::new(find(&app, run_id(&id)?).await?, true)))
}

#[derive(Deserialize, JsonSchema)]
struct EventsQuery {
    /// The cursor of the answer before; 0 is the beginning.
    #[serde(default)]
    after: i64,
    /// How many at most: 1 to 5000, 500 where it is not given.
    limit: Option<u32>,
    /// How long to wait where there is nothing new yet, in milliseconds: 30,000 at most.
    #[serde(default)]
    wait_ms: u64,
}

async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<EventsQuery>,
) -> ApiResult<Json<EventList>> {
    let id = run_id(&id)?;
    let limit = page_size(query.limit, 500, 5000);
    let until = clock::monotonic() + Duration::from_millis(query.wait_ms).min(WAIT_MOST);
    loop {
        // The status is read first: what is written before a run ends is then among the events.
        let status = find(&app, id).await?.status;
        let events = app.instance().run_events(id, query.after, limit).await?;
        let all = events.len() < limit as usize;
        if !events.is_empty() || status.is_final() || clock::monotonic() >= until || app.is_stopping() {
            let cursor = events.last().map_or(query.after, |event| event.id);
            let events = events.into_iter().map(Into::into).collect();
            let ended = status.is_final() && all;
            return Ok(Json(EventList { events, cursor, status: status.as_str().into(), ended }));
        }
        app.pause(LOOK_EVERY).await;
    }
}

async fn assets(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<AssetList>> {
    let id = run_id(&id)?;
    find(&app, id).await?;
    Ok(Json(AssetList { assets: app.ledger().run_assets(&id.to_string()).await? }))
}

/// How a run is ended.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// At once, whatever its process does: it can write nothing more, and is killed.
    #[serde(default)]
    force: bool,
}

/// A run that does not take what was asked for, by its id.
fn about(run_id: RunId, error: InstanceError) -> ApiError {
    ApiError(Problem::from(error).place(format!("run {run_id}")))
}

async fn delete(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<RunView>> {
    let run = find(&app, run_id(&id)?).await?;
    app.instance().delete_run(run.run_id).await.map_err(|error| about(run.run_id, error))?;
    // The daemon looks for these as well, and for what else the run has left.
    let logs = app.home().run_log_dir(&run.run_id.to_string());
    if let Err(error) = tokio::fs::remove_dir_all(&logs).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %logs.display(), %error, "the output of a deleted run could not be removed");
    }
    app.record("run.delete", "run", &id, json!({"status": run.status.as_str()})).await;
    Ok(Json(RunView::new(run, false)))
}

async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    Payload(asked): Payload<Cancel>,
) -> ApiResult<Json<RunView>> {
    let id = run_id(&id)?;
    let before = find(&app, id).await?;
    let command = if asked.force { Command::ForceCancel } else { Command::Cancel };
    let changed = app.instance().command(id, command, None, None, clock::now()).await;
    let run = changed.map_err(|error| about(id, error))?;
    if asked.force && before.launched_at.is_some() {
        // The daemon does this too, and kills the process; until then nothing more may be committed.
        app.ledger().close_run(&id.to_string(), run.lease_epoch, clock::now()).await?;
    }
    let details = json!({"status": before.status.as_str(), "force": asked.force});
    app.record("run.cancel", "run", &id.to_string(), details).await;
    wake::wake_for_runs(&app.home().daemon_socket());
    Ok(Json(RunView::new(run, false)))
}
