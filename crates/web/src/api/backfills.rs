//! Backfills: asked for, seen, paused, resumed, cancelled.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::backfill::{Backfill, BackfillId, BackfillPolicy, BackfillStatus, BackfillTarget, NewBackfill};
use catchment_core::backfill_plan::Progress;
use catchment_core::definitions::ASSET_JOB;
use catchment_core::partitions::{PartitionContext, PartitionsDefinition};
use catchment_core::{RunId, Selection};
use catchment_instance::{BackfillFilter, InstanceError, PartitionStatus};
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::find::{Known, defining};
use super::launch::selected;
use super::launchable::{check_config, check_tags};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid, not_found};
use crate::extract::{Params, Payload, page_size};
use crate::views::{BackfillList, BackfillView};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<BackfillList, _, _>(Get, "/api/v1/backfills", "Backfills, newest first", list)
            .query::<BackfillsQuery>(),
        Endpoint::json::<BackfillView, _, _>(
            Post,
            "/api/v1/backfills",
            "Asks for many partitions of a job or of assets, run in order and under control",
            create,
        )
        .body::<Ask>(),
        Endpoint::json::<BackfillView, _, _>(Get, "/api/v1/backfills/{id}", "One backfill", show),
        Endpoint::json::<BackfillView, _, _>(
            Post,
            "/api/v1/backfills/{id}/pause",
            "Asks for no further run until it is resumed; those that exist go on",
            pause,
        ),
        Endpoint::json::<BackfillView, _, _>(Post, "/api/v1/backfills/{id}/resume", "Goes on after a pause", resume),
        Endpoint::json::<BackfillView, _, _>(
            Post,
            "/api/v1/backfills/{id}/cancel",
            "Asks for no further run and cancels those that exist",
            cancel,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct BackfillsQuery {
    /// Any of these statuses, separated by commas.
    status: Option<String>,
    /// Only of this code location.
    location: Option<String>,
    /// The last backfill of the page before.
    before: Option<String>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

/// A backfill that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// The job, or else a selection of assets.
    job: Option<String>,
    /// Assets, in Dagster's selection syntax.
    selection: Option<String>,
    /// The code location, where several define them.
    location: Option<String>,
    /// These partitions.
    #[serde(default)]
    partitions: Vec<String>,
    /// The first partition of a range.
    from: Option<String>,
    /// The last partition of a range.
    to: Option<String>,
    /// Of the partitions (all, where none is named) only those that are `missing` (never made) or `failed`; of assets.
    only: Option<String>,
    /// So many partitions to a run; 0 puts all into one run. Without, each asset's own policy.
    partitions_per_run: Option<u32>,
    /// Run config of every run.
    #[serde(default)]
    run_config: Value,
    /// Tags of every run.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// For people.
    title: Option<String>,
    /// An id of one's own: asking again with the same id asks once.
    id: Option<String>,
}

async fn list(State(app): State<App>, Params(query): Params<BackfillsQuery>) -> ApiResult<Json<BackfillList>> {
    let texts = query.status.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let known = BackfillStatus::ALL.map(BackfillStatus::as_str).join(", ");
    let statuses = texts
        .map(|text| text.to_ascii_uppercase().parse().map_err(|e: String| invalid(e, "status", format!("use {known}"))))
        .collect::<ApiResult<Vec<BackfillStatus>>>()?;
    let filter = BackfillFilter { statuses, location: query.location };
    let limit = page_size(query.limit, 50, 500);
    let before = query.before.map(BackfillId);
    let mut found = app.instance().backfills(&filter, before.as_ref(), limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|backfill| backfill.request.id.to_string());
    Ok(Json(BackfillList { backfills: found.iter().map(view).collect(), next }))
}

fn view(backfill: &Backfill) -> BackfillView {
    let request = &backfill.request;
    let (job, assets, partitions) = match &request.target {
        BackfillTarget::Job { job, partitions } => (Some(job.clone()), Vec::new(), partitions.len()),
        BackfillTarget::Assets { assets, partitions } => (None, assets.clone(), partitions.len()),
    };
    let progress = serde_json::from_value::<Progress>(backfill.progress.clone()).ok();
    let counts = progress.map_or_else(BTreeMap::new, |progress| {
        let counts = progress.counts();
        let named = [
            ("total", counts.total),
            ("pending", counts.pending),
            ("requested", counts.requested),
            ("done", counts.done),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
        ];
        named.into_iter().map(|(name, count)| (name.to_owned(), count as u64)).collect()
    });
    BackfillView {
        id: request.id.to_string(),
        location: request.location.clone(),
        status: backfill.status.as_str().into(),
        job,
        assets,
        partitions: partitions as u64,
        counts,
        title: request.title.clone(),
        created_at: backfill.created_at,
        ended_at: backfill.ended_at,
        problem: backfill.problem.clone(),
    }
}

async fn create(State(app): State<App>, Payload(asked): Payload<Ask>) -> ApiResult<Json<BackfillView>> {
    check_tags(&asked.tags)?;
    let (known, target) = match (&asked.job, &asked.selection) {
        (Some(job), None) => {
            let what = format!("job `{job}`");
            let known = defining(&app, asked.location.as_deref(), &what, |s| s.job(job).is_some()).await?;
            let definition = known.snapshot.job(job).and_then(|job| job.partitions.clone());
            let definition = definition.into_iter().collect();
            let partitions = partitions(&app, &known, &asked, &definition, &[]).await?;
            (known, BackfillTarget::Job { job: job.clone(), partitions })
        }
        (None, Some(selection)) => {
            let (known, assets) = selected(&app, asked.location.as_deref(), selection).await?;
            let definitions = assets.iter().filter_map(|key| known.snapshot.asset(key)?.partitions.clone()).collect();
            let partitions = partitions(&app, &known, &asked, &definitions, &assets).await?;
            (known, BackfillTarget::Assets { assets, partitions })
        }
        _ => return Err(invalid("a backfill fills a job or assets", "job, selection", "give one of the two")),
    };
    let (job, selection) = match &target {
        BackfillTarget::Job { job, .. } => (job.as_str(), Selection::default()),
        BackfillTarget::Assets { assets, .. } => {
            (ASSET_JOB, Selection { assets: assets.clone(), ..Selection::default() })
        }
    };
    let run_config = if asked.run_config.is_null() { json!({}) } else { asked.run_config };
    check_config(&app, &known, job, &run_config, &selection).await?;
    let new_id = || RunId::random().to_string().chars().take(8).collect();
    let request = NewBackfill {
        id: BackfillId(asked.id.unwrap_or_else(new_id)),
        location: known.record.name.clone(),
        target,
        policy: asked.partitions_per_run.map(|most| match most {
            0 => BackfillPolicy::SingleRun,
            most => BackfillPolicy::MultiRun { max_partitions_per_run: most },
        }),
        run_config,
        tags: asked.tags,
        title: asked.title,
        description: None,
    };
    let backfill = app.instance().request_backfill(request, clock::now()).await?;
    app.record("backfill.create", "backfill", &backfill.request.id.to_string(), json!({})).await;
    wake::wake_for_runs(&app.home().daemon_socket());
    Ok(Json(view(&backfill)))
}

/// The keys that are asked for, in the order of their definition.
async fn partitions(
    app: &App,
    known: &Known,
    asked: &Ask,
    names: &BTreeSet<String>,
    assets: &[String],
) -> ApiResult<Vec<String>> {
    let definitions: Vec<&PartitionsDefinition> =
        names.iter().filter_map(|name| known.snapshot.partitions(name)).collect();
    let Some(first) = definitions.first() else {
        if asked.partitions.is_empty() && asked.from.is_none() && asked.job.is_none() {
            return Ok(Vec::new());
        }
        return Err(invalid("what is to be filled has no partitions", "partitions", "launch a run of it instead"));
    };
    let dynamic = known.dynamic_keys(app).await?;
    let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
    let mut keys = match (&asked.from, &asked.to) {
        (None, None) if asked.partitions.is_empty() => first.keys(cx),
        (None, None) => {
            let unknown = |key: &&String| !definitions.iter().any(|definition| definition.contains(key, cx));
            if let Some(key) = asked.partitions.iter().find(unknown) {
                let remedy = "see `catchment partition list`";
                return Err(invalid(format!("there is no partition `{key}`"), "partitions", remedy));
            }
            asked.partitions.clone()
        }
        (from, to) => {
            let empty = || not_found("there are no partitions", "see `catchment partition list`");
            let from = from.clone().or_else(|| first.first_key(cx)).ok_or_else(empty)?;
            let to = to.clone().or_else(|| first.last_key(cx)).ok_or_else(empty)?;
            first.range(&from, &to, cx)?
        }
    };
    if let Some(only) = &asked.only {
        let wanted = match only.as_str() {
            "missing" => None,
            "failed" => Some(PartitionStatus::Failed),
            other => return Err(invalid(format!("`{other}` is no status"), "only", "use missing or failed")),
        };
        if assets.is_empty() {
            return Err(invalid("only partitions of assets have a status", "only", "name assets"));
        }
        let mut fitting = BTreeSet::new();
        for asset in assets {
            let states = app.instance().asset_partitions(asset, &keys).await?;
            let states: BTreeMap<_, _> = states.into_iter().map(|s| (s.partition, s.status)).collect();
            fitting.extend(keys.iter().filter(|key| states.get(*key).copied() == wanted).cloned());
        }
        keys.retain(|key| fitting.contains(key));
        if keys.is_empty() {
            return Err(invalid(format!("no partition is {only}"), "only", "there is nothing to fill"));
        }
    }
    Ok(keys)
}

async fn find(app: &App, id: &str) -> ApiResult<Backfill> {
    let found = app.instance().backfill(&BackfillId(id.to_owned())).await?;
    found.ok_or_else(|| not_found(format!("there is no backfill {id}"), "see `catchment backfill list`"))
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<BackfillView>> {
    Ok(Json(view(&find(&app, &id).await?)))
}

async fn pause(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<BackfillView>> {
    change(&app, &id, &[BackfillStatus::Requested], BackfillStatus::Paused).await
}

async fn resume(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<BackfillView>> {
    change(&app, &id, &[BackfillStatus::Paused], BackfillStatus::Requested).await
}

async fn cancel(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<BackfillView>> {
    let from = [BackfillStatus::Requested, BackfillStatus::Paused];
    change(&app, &id, &from, BackfillStatus::Canceling).await
}

/// Changes the status, against a daemon that may be noting progress at the same time.
async fn change(app: &App, id: &str, from: &[BackfillStatus], to: BackfillStatus) -> ApiResult<Json<BackfillView>> {
    for _ in 0..20 {
        let mut backfill = find(app, id).await?;
        if backfill.status != to {
            if !from.contains(&backfill.status) {
                let what = format!("a backfill that is {} cannot become {}", backfill.status.as_str(), to.as_str());
                let remedy = match backfill.status.is_final() {
                    true => "nothing: it has ended; ask for a new one for what is missing",
                    false => "see how it stands with `catchment backfill show`, then try again",
                };
                let problem =
                    catchment_model::Problem::new(catchment_model::Code::Conflict, what).place(id).remedy(remedy);
                return Err(ApiError(problem));
            }
            backfill.status = to;
            backfill = match app.instance().update_backfill(&backfill).await {
                Ok(backfill) => backfill,
                Err(InstanceError::Changed(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            app.record("backfill.status", "backfill", id, json!({"status": to.as_str()})).await;
            wake::wake_for_runs(&app.home().daemon_socket());
        }
        return Ok(Json(view(&backfill)));
    }
    Err(InstanceError::Changed(format!("backfill {id}")).into())
}
