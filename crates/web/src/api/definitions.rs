//! What code locations define: assets, checks and jobs, with the newest of them.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::definitions::{ASSET_JOB, AssetSpec, CheckSpec};
use catchment_instance::{AssetRecord, CheckExecution, CheckStatus};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::asset_history;
use super::find::{defining, locations};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::ApiResult;
use crate::extract::Params;
use crate::views::{AssetDefinition, AssetDefinitionList, CheckList, CheckView, JobList, JobView};

/// How many assets are read at once.
const AT_ONCE: u32 = 100_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::Get;
    vec![
        Endpoint::json::<AssetDefinitionList, _, _>(
            Get,
            "/api/v1/assets",
            "Assets that the code locations define, with the newest of each",
            assets,
        )
        .query::<AssetsQuery>(),
        Endpoint::json::<AssetDefinition, _, _>(
            Get,
            "/api/v1/assets/{*key}",
            "One asset, with its checks and how its partitions stand",
            asset,
        )
        .query::<LocationQuery>(),
        Endpoint::json::<CheckList, _, _>(Get, "/api/v1/checks", "Checks of assets, with their newest results", checks)
            .query::<LocationQuery>(),
        Endpoint::json::<JobList, _, _>(Get, "/api/v1/jobs", "Jobs that the code locations define", jobs)
            .query::<LocationQuery>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct LocationQuery {
    /// Only of this code location.
    location: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct AssetsQuery {
    /// Only of this code location.
    location: Option<String>,
    /// Only these, in Dagster's selection syntax.
    selection: Option<String>,
}

async fn assets(State(app): State<App>, Params(query): Params<AssetsQuery>) -> ApiResult<Json<AssetDefinitionList>> {
    let records = app.instance().assets(&[], None, AT_ONCE).await?;
    let records: HashMap<&str, &AssetRecord> = records.iter().map(|r| (r.asset_key.as_str(), r)).collect();
    let mut all = Vec::new();
    let mut wrong = None;
    for known in locations(&app, query.location.as_deref()).await? {
        let keys = match query.selection.as_deref().map(|text| catchment_core::selection::assets(text, &known.snapshot))
        {
            None => None,
            Some(Ok(keys)) => Some(keys),
            Some(Err(problem)) => {
                wrong = Some(problem);
                continue;
            }
        };
        let wanted = |asset: &&AssetSpec| keys.as_ref().is_none_or(|keys| keys.contains(&asset.key));
        let named = |asset| view(asset, &known.record.name, records.get(asset_key(asset)).copied());
        all.extend(known.snapshot.assets.iter().filter(wanted).map(named));
    }
    match wrong {
        Some(problem) if all.is_empty() => Err(problem.into()),
        _ => Ok(Json(AssetDefinitionList { assets: all })),
    }
}

fn asset_key(asset: &AssetSpec) -> &str {
    &asset.key
}

fn view(asset: &AssetSpec, location: &str, record: Option<&AssetRecord>) -> AssetDefinition {
    AssetDefinition {
        key: asset.key.clone(),
        location: location.to_owned(),
        group: asset.group.clone(),
        kinds: asset.kinds.clone(),
        description: asset.description.clone(),
        deps: asset.deps.clone(),
        partitions: asset.partitions.clone(),
        executable: !asset.step.is_empty(),
        materialized_at: record.and_then(|record| Some(record.materialized?.1)),
        materialized_by: record.and_then(|record| Some(record.materialized_by?.to_string())),
        in_progress: record.and_then(|record| Some(record.in_progress?.to_string())),
        data_version: record.and_then(|record| record.data_version.clone()),
        partition_counts: None,
        freshness: None,
        evaluation: None,
        checks: Vec::new(),
        definition: None,
    }
}

async fn asset(
    State(app): State<App>,
    Path(key): Path<String>,
    Params(query): Params<LocationQuery>,
) -> ApiResult<Json<AssetDefinition>> {
    let what = format!("asset `{key}`");
    let known = defining(&app, query.location.as_deref(), &what, |s| s.asset(&key).is_some()).await?;
    let keys = [key.clone()];
    let record = app.instance().assets(&keys, None, 1).await?.into_iter().next();
    let results = newest(app.instance().latest_checks(&keys).await?);
    let Some(asset) = known.snapshot.asset(&key) else {
        return Err(crate::error::not_found(format!("there is no {what}"), "see `catchment asset list`"));
    };
    let mut view = view(asset, &known.record.name, record.as_ref());
    let of_asset = known.snapshot.checks.iter().filter(|check| check.asset_key == key);
    view.checks = of_asset.map(|check| check_view(check, &known.record.name, &results)).collect();
    if asset.partitions.is_some() {
        let counts = app.instance().count_partitions(&key).await?;
        let total = {
            let dynamic = known.dynamic_keys(&app).await?;
            let now = catchment_settings::clock::now();
            let cx = catchment_core::partitions::PartitionContext { now, dynamic: &dynamic };
            asset.partitions.as_deref().and_then(|name| known.snapshot.partitions(name)).map_or(0, |d| d.count(cx))
        };
        let named = [
            ("total", total),
            ("materialized", counts.materialized),
            ("failed", counts.failed),
            ("materializing", counts.materializing),
        ];
        view.partition_counts = Some(named.into_iter().map(|(name, count)| (name.to_owned(), count)).collect());
    }
    if asset.freshness.is_some() {
        view.freshness = Some(asset_history::freshness(&app, &key).await?);
    }
    if asset.automation.is_some() {
        view.evaluation = asset_history::newest_evaluation(&app, &key).await?;
    }
    view.definition = Some(json!(asset));
    Ok(Json(view))
}

/// The newest evaluations, by asset and check.
fn newest(executions: Vec<CheckExecution>) -> BTreeMap<(String, String), CheckExecution> {
    executions.into_iter().map(|one| ((one.asset_key.clone(), one.check_name.clone()), one)).collect()
}

fn check_view(check: &CheckSpec, location: &str, results: &BTreeMap<(String, String), CheckExecution>) -> CheckView {
    let result = results.get(&(check.asset_key.clone(), check.name.clone()));
    CheckView {
        asset_key: check.asset_key.clone(),
        name: check.name.clone(),
        location: location.to_owned(),
        description: check.description.clone(),
        blocking: check.blocking,
        status: result.map(|result| status(result.status)),
        evaluated_at: result.map(|result| result.timestamp),
        run_id: result.map(|result| result.run_id.to_string()),
    }
}

fn status(status: CheckStatus) -> String {
    match json!(status) {
        Value::String(text) => text,
        _ => String::new(),
    }
}

async fn checks(State(app): State<App>, Params(query): Params<LocationQuery>) -> ApiResult<Json<CheckList>> {
    let known = locations(&app, query.location.as_deref()).await?;
    let mut keys: Vec<String> =
        known.iter().flat_map(|known| known.snapshot.checks.iter().map(|check| check.asset_key.clone())).collect();
    keys.sort_unstable();
    keys.dedup();
    let results = if keys.is_empty() { BTreeMap::new() } else { newest(app.instance().latest_checks(&keys).await?) };
    let views = known.iter().flat_map(|known| {
        known.snapshot.checks.iter().map(|check| check_view(check, &known.record.name, &results)).collect::<Vec<_>>()
    });
    Ok(Json(CheckList { checks: views.collect() }))
}

async fn jobs(State(app): State<App>, Params(query): Params<LocationQuery>) -> ApiResult<Json<JobList>> {
    let known = locations(&app, query.location.as_deref()).await?;
    let jobs = known.into_iter().flat_map(|known| {
        let location = known.record.name;
        known.snapshot.jobs.into_iter().filter(|job| job.name != ASSET_JOB).map(move |job| JobView {
            name: job.name,
            location: location.clone(),
            description: job.description,
            steps: job.steps.into_iter().map(|step| step.key).collect(),
            is_asset_job: job.is_asset_job,
            partitions: job.partitions,
            tags: job.tags,
        })
    });
    Ok(Json(JobList { jobs: jobs.collect() }))
}
