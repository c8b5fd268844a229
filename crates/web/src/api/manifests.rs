//! Manifests: admitted, refused, checked, and what became of one that was just put.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::instigator::TickStatus;
use catchment_core::{Instigator, Run, tags};
use catchment_instance::{RunFilter, TickFilter};
use catchment_ledger::PageRequest;
use catchment_model::manifest::Rules;
use catchment_model::{Manifest, ManifestDoc, ObjectId, Status};
use catchment_settings::clock;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid, not_found};
use crate::extract::{Params, Raw, page_size};
use crate::views::{BatchView, ManifestList, RejectedList, RunView, Submission, Validation};

/// The code location of the platform, and its sensor that admits manifests.
const SENSOR: (&str, &str) = ("etl_pipelines", "manifest_sensor");
/// How often a waiting reader looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a reader may wait.
const WAIT_MOST: Duration = Duration::from_secs(30);

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<ManifestList, _, _>(Get, "/api/v1/manifests", "Admitted batches, newest first", list)
            .query::<ManifestsQuery>(),
        Endpoint::json::<BatchView, _, _>(
            Get,
            "/api/v1/manifests/{batch_id}",
            "One batch, with its run and what it brought into the lake",
            show,
        ),
        Endpoint::json::<RejectedList, _, _>(
            Get,
            "/api/v1/rejected-manifests",
            "Manifests that were refused, newest first, with every fault",
            rejected,
        )
        .query::<PageQuery>(),
        Endpoint::json::<Submission, _, _>(
            Get,
            "/api/v1/submissions",
            "What became of a manifest's object: waits for the sensor where asked to",
            submission,
        )
        .query::<SubmissionQuery>(),
        Endpoint::json::<Validation, _, _>(
            Post,
            "/api/v1/manifests/validate",
            "Checks a manifest as the sensor would, and changes nothing",
            validate,
        )
        .body::<Manifest>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct ManifestsQuery {
    /// `queued`, `running`, `success`, `failure` or `canceled`.
    status: Option<String>,
    /// The `_id` of the last record of the page before.
    after: Option<String>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
struct PageQuery {
    /// The `_id` of the last record of the page before.
    after: Option<String>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

/// The page that a query asks for.
pub(super) fn newest(after: Option<&str>, limit: Option<u32>) -> ApiResult<PageRequest> {
    let after = after
        .map(|text| text.parse::<ObjectId>().map_err(|e| invalid(e.to_string(), "after", "give the _id of a record")))
        .transpose()?;
    Ok(PageRequest::newest(page_size(limit, 50, 500)).after(after))
}

async fn list(State(app): State<App>, Params(query): Params<ManifestsQuery>) -> ApiResult<Json<ManifestList>> {
    let status = query
        .status
        .map(|text| {
            serde_json::from_value::<Status>(serde_json::Value::String(text.to_lowercase())).map_err(|_| {
                invalid(format!("`{text}` is no status"), "status", "use queued, running, success, failure or canceled")
            })
        })
        .transpose()?;
    let page = app.ledger().manifests(newest(query.after.as_deref(), query.limit)?, status).await?;
    Ok(Json(ManifestList { manifests: page.items, next: page.next.map(|id| id.to_string()) }))
}

async fn show(State(app): State<App>, Path(batch_id): Path<String>) -> ApiResult<Json<BatchView>> {
    let Some(manifest) = app.ledger().manifest(&batch_id).await? else {
        return Err(not_found(
            format!("no batch `{batch_id}` was admitted"),
            "see /api/v1/rejected-manifests where it may have been refused, and `catchment doctor` where nothing is admitted",
        ));
    };
    let run = run_of(&app, &manifest).await?;
    let assets = match &run {
        Some(run) => app.ledger().run_assets(&run.run_id.to_string()).await?,
        None => Vec::new(),
    };
    Ok(Json(BatchView { manifest, run: run.map(|run| RunView::new(run, false)), assets }))
}

async fn run_of(app: &App, manifest: &ManifestDoc) -> ApiResult<Option<Run>> {
    let filter = RunFilter { tags: vec![(tags::RUN_KEY.into(), manifest.batch_id.clone())], ..RunFilter::default() };
    Ok(app.instance().runs(&filter, None, 1).await?.into_iter().next())
}

async fn rejected(State(app): State<App>, Params(query): Params<PageQuery>) -> ApiResult<Json<RejectedList>> {
    let page = app.ledger().rejected_manifests(newest(query.after.as_deref(), query.limit)?).await?;
    let next = page.next.map(|id| id.to_string());
    Ok(Json(RejectedList { rejected: page.items.into_iter().map(Into::into).collect(), next }))
}

#[derive(Deserialize, JsonSchema)]
struct SubmissionQuery {
    /// The key of the manifest's object in the landing bucket, such as `manifests/a.json`.
    key: String,
    /// Its entity tag, without quotes.
    etag: String,
    /// The manifest's `batch_id`.
    batch_id: String,
    /// How long to wait where there is nothing yet, in milliseconds: 30,000 at most.
    #[serde(default)]
    wait_ms: u64,
}

async fn submission(State(app): State<App>, Params(query): Params<SubmissionQuery>) -> ApiResult<Json<Submission>> {
    let until = clock::monotonic() + Duration::from_millis(query.wait_ms).min(WAIT_MOST);
    loop {
        if let Some(found) = look(&app, &query).await? {
            return Ok(Json(found));
        }
        if clock::monotonic() >= until || app.is_stopping() {
            break;
        }
        app.pause(LOOK_EVERY).await;
    }
    let last = app
        .instance()
        .ticks(&Instigator::sensor(SENSOR.0, SENSOR.1), &TickFilter::default(), None, 1)
        .await?
        .into_iter()
        .next();
    let sensor_problem = last.filter(|tick| tick.status == TickStatus::Failure).and_then(|tick| tick.problem);
    let daemon_seen_at = app.instance().heartbeats().await?.into_iter().map(|beat| beat.at).max();
    Ok(Json(Submission::Waiting { sensor_problem, daemon_seen_at }))
}

/// The run or the refusal of exactly this object: another object may have used the same `batch_id` before.
async fn look(app: &App, query: &SubmissionQuery) -> ApiResult<Option<Submission>> {
    let etag = query.etag.trim_matches('"');
    let filter = RunFilter { tags: vec![(tags::RUN_KEY.into(), query.batch_id.clone())], ..RunFilter::default() };
    for run in app.instance().runs(&filter, None, 5).await? {
        let object = run.run_config.pointer("/ops/raw_manifest_json/config/object");
        let is = |name: &str, value: &str| object.and_then(|o| o.get(name)).and_then(|v| v.as_str()) == Some(value);
        if is("key", &query.key) && is("etag", etag) {
            return Ok(Some(Submission::Accepted { run: Box::new(RunView::new(run, false)) }));
        }
    }
    let refused = app.ledger().rejected_manifests(PageRequest::newest(100)).await?;
    let refused = refused.items.into_iter().find(|doc| doc.s3_key == query.key && doc.etag == etag);
    Ok(refused.map(|doc| Submission::Rejected { problem: doc.problem }))
}

async fn validate(State(app): State<App>, Raw(bytes): Raw) -> Json<Validation> {
    let rules = Rules { landing_bucket: app.environment().landing_bucket.clone() };
    Json(match Manifest::parse(&bytes, &rules) {
        Ok(manifest) => Validation {
            valid: true,
            dataset_id: Some(manifest.dataset_id().to_string()),
            batch_id: Some(manifest.batch_id),
            problem: None,
        },
        Err(problem) => Validation { valid: false, batch_id: None, dataset_id: None, problem: Some(problem) },
    })
}
