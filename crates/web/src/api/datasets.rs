//! Datasets, their versions, and how their bytes are had.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use catchment_ledger::DatasetSummary;
use catchment_model::{Asset, Dataset, DatasetId};
use catchment_settings::clock;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid, not_found};
use crate::extract::{Params, page_size};
use crate::views::{DatasetList, DatasetView, Download, VersionList};

/// How long a signed address is good.
const GOOD_FOR: Duration = Duration::from_secs(3600);

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::Get;
    vec![
        Endpoint::json::<DatasetList, _, _>(
            Get,
            "/api/v1/datasets",
            "Datasets by name, with their newest versions",
            list,
        )
        .query::<DatasetsQuery>(),
        Endpoint::json::<DatasetView, _, _>(Get, "/api/v1/datasets/{dataset_id}", "One dataset", show),
        Endpoint::json::<VersionList, _, _>(
            Get,
            "/api/v1/datasets/{dataset_id}/versions",
            "The versions of a dataset, newest first; those whose bytes were given up have `deleted_at`",
            versions,
        ),
        Endpoint::json::<Asset, _, _>(
            Get,
            "/api/v1/datasets/{dataset_id}/versions/{version}",
            "One version, by its number or `latest`",
            version,
        ),
        Endpoint::json::<Download, _, _>(
            Get,
            "/api/v1/datasets/{dataset_id}/versions/{version}/download",
            "A signed address for the bytes of a version, by its number or `latest`",
            download,
        ),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct DatasetsQuery {
    /// The last dataset of the page before.
    after: Option<String>,
    /// How many: 1 to 500, 100 where it is not given.
    limit: Option<u32>,
}

async fn list(State(app): State<App>, Params(query): Params<DatasetsQuery>) -> ApiResult<Json<DatasetList>> {
    let after = query.after.as_deref().map(dataset_id).transpose()?;
    let page = app.ledger().datasets(after.as_ref(), page_size(query.limit, 100, 500)).await?;
    let datasets = page
        .items
        .into_iter()
        .map(|DatasetSummary { dataset, versions, latest }| view(dataset, versions, Some(latest)));
    Ok(Json(DatasetList { datasets: datasets.collect(), next: page.next.map(|id| id.to_string()) }))
}

fn view(dataset: Dataset, version_count: u64, latest: Option<Asset>) -> DatasetView {
    DatasetView {
        dataset_id: dataset.dataset_id.to_string(),
        title: dataset.title,
        created_at: dataset.created_at,
        version_count,
        latest,
    }
}

fn dataset_id(text: &str) -> ApiResult<DatasetId> {
    DatasetId::new(text).map_err(|e| invalid(e.to_string(), "the path", "see the names with `catchment dataset list`"))
}

/// The dataset; one that has only reserved versions so far does not exist for readers.
async fn find(app: &App, id: &str) -> ApiResult<(Dataset, Vec<Asset>)> {
    let id = dataset_id(id)?;
    let missing =
        || not_found(format!("there is no dataset `{id}`"), "see what there is with `catchment dataset list`");
    let dataset = app.ledger().dataset(&id).await?.ok_or_else(missing)?;
    let versions = app.ledger().versions(&id).await?;
    if versions.is_empty() { Err(missing()) } else { Ok((dataset, versions)) }
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<DatasetView>> {
    let (dataset, versions) = find(&app, &id).await?;
    let live: Vec<Asset> = versions.into_iter().filter(|v| v.deleted_at.is_none()).collect();
    Ok(Json(view(dataset, live.len() as u64, live.into_iter().next())))
}

async fn versions(State(app): State<App>, Path(id): Path<String>) -> ApiResult<Json<VersionList>> {
    let (dataset, versions) = find(&app, &id).await?;
    Ok(Json(VersionList { dataset_id: dataset.dataset_id.to_string(), versions }))
}

async fn find_version(app: &App, id: &str, version: &str) -> ApiResult<Asset> {
    let id = dataset_id(id)?;
    let found = match version {
        "latest" => app.ledger().latest_asset(&id).await?,
        number => {
            let number = number
                .parse()
                .map_err(|_| invalid(format!("`{number}` is no version"), "the path", "give a number, or `latest`"))?;
            app.ledger().asset_version(&id, number).await?
        }
    };
    found.ok_or_else(|| {
        not_found(
            format!("there is no version {version} of the dataset `{id}`"),
            format!("see what there is with `catchment dataset versions {id}`"),
        )
    })
}

async fn version(State(app): State<App>, Path((id, version)): Path<(String, String)>) -> ApiResult<Json<Asset>> {
    Ok(Json(find_version(&app, &id, &version).await?))
}

async fn download(State(app): State<App>, Path((id, version)): Path<(String, String)>) -> ApiResult<Json<Download>> {
    let asset = find_version(&app, &id, &version).await?;
    if let Some(at) = asset.deleted_at {
        return Err(not_found(
            format!("the bytes of version {} of `{id}` were given up at {at}", asset.version),
            format!("take another version: `catchment dataset versions {id}`"),
        ));
    }
    let now = clock::now();
    let url = app.lake_store()?.presign_get(&asset.s3_key, GOOD_FOR, now)?;
    let extension = asset.format.file_name().rsplit('.').next().unwrap_or("bin");
    Ok(Json(Download {
        file_name: format!("{}-v{}.{extension}", asset.dataset_id, asset.version),
        dataset_id: asset.dataset_id.to_string(),
        version: asset.version,
        url,
        expires_at: now + GOOD_FOR,
        s3_path: format!("s3://{}/{}", app.environment().lake_bucket, asset.s3_key),
        content_hash: asset.content_hash.to_string(),
        bytes: asset.bytes,
    }))
}
