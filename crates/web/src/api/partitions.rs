//! Partitions definitions and their keys.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::partitions::{PartitionContext, PartitionsDefinition};
use catchment_instance::PartitionStatus;
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::find::{Known, defining, locations};
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid, not_found};
use crate::extract::{Params, Payload, page_size};
use crate::views::{ChangedKeys, PartitionKeyView, PartitionKeys, PartitionsList, PartitionsView};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Post};
    vec![
        Endpoint::json::<PartitionsList, _, _>(Get, "/api/v1/partitions", "Partitions definitions", list),
        Endpoint::json::<PartitionKeys, _, _>(
            Get,
            "/api/v1/partitions/{name}",
            "The keys of a partitions definition, with how an asset's partitions stand where one is named",
            keys,
        )
        .query::<KeysQuery>(),
        Endpoint::json::<ChangedKeys, _, _>(
            Post,
            "/api/v1/partitions/{name}",
            "Adds keys to dynamic partitions; those that are there already are left",
            add,
        )
        .body::<Keys>(),
        Endpoint::json::<ChangedKeys, _, _>(
            Delete,
            "/api/v1/partitions/{name}",
            "Takes keys out of dynamic partitions; what was made of them stays",
            delete,
        )
        .body::<Keys>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct KeysQuery {
    /// The code location, where several have a definition of that name.
    location: Option<String>,
    /// Say of each key how it stands for this asset.
    asset: Option<String>,
    /// The last key of the page before.
    after: Option<String>,
    /// How many: 1 to 5000, 500 where it is not given.
    limit: Option<u32>,
}

/// Keys of dynamic partitions.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// The keys.
    keys: Vec<String>,
    /// The code location, where several have a definition of that name.
    location: Option<String>,
}

async fn list(State(app): State<App>) -> ApiResult<Json<PartitionsList>> {
    let mut partitions = Vec::new();
    for known in locations(&app, None).await? {
        let dynamic = known.dynamic_keys(&app).await?;
        let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
        partitions.extend(known.snapshot.partitions.iter().map(|spec| PartitionsView {
            name: spec.name.clone(),
            location: known.record.name.clone(),
            kind: kind(&spec.definition).into(),
            count: spec.definition.count(cx),
        }));
    }
    Ok(Json(PartitionsList { partitions }))
}

fn kind(definition: &PartitionsDefinition) -> &'static str {
    match definition {
        PartitionsDefinition::Static { .. } => "static",
        PartitionsDefinition::TimeWindow(_) => "time_window",
        PartitionsDefinition::Dynamic { .. } => "dynamic",
        PartitionsDefinition::Multi { .. } => "multi",
    }
}

async fn find(app: &App, name: &str, location: Option<&str>) -> ApiResult<(Known, PartitionsDefinition)> {
    let what = format!("partitions definition `{name}`");
    let known = defining(app, location, &what, |snapshot| snapshot.partitions(name).is_some()).await?;
    let definition = known.snapshot.partitions(name).cloned();
    let definition = definition.ok_or_else(|| not_found(format!("there is no {what}"), "see the list"))?;
    Ok((known, definition))
}

async fn keys(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<KeysQuery>,
) -> ApiResult<Json<PartitionKeys>> {
    let (known, definition) = find(&app, &name, query.location.as_deref()).await?;
    let dynamic = known.dynamic_keys(&app).await?;
    let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
    let limit = page_size(query.limit, 500, 5000) as usize;
    let page = definition.page(query.after.as_deref(), limit, false, cx)?;
    let states: Option<HashMap<String, PartitionStatus>> = match &query.asset {
        None => None,
        Some(asset) => {
            if known.snapshot.asset(asset).is_none() {
                return Err(not_found(format!("there is no asset `{asset}`"), "see `catchment asset list`"));
            }
            let states = app.instance().asset_partitions(asset, &page.keys).await?;
            Some(states.into_iter().map(|state| (state.partition, state.status)).collect())
        }
    };
    let keys = page.keys.into_iter().map(|key| PartitionKeyView {
        status: states.as_ref().map(|states| status(states.get(&key).copied()).to_owned()),
        key,
    });
    Ok(Json(PartitionKeys { keys: keys.collect(), name, next: page.cursor }))
}

pub(super) fn status(status: Option<PartitionStatus>) -> &'static str {
    match status {
        Some(PartitionStatus::Materialized) => "MATERIALIZED",
        Some(PartitionStatus::Failed) => "FAILED",
        Some(PartitionStatus::Materializing) => "MATERIALIZING",
        None => "MISSING",
    }
}

/// The name under which the state keeps the keys of dynamic partitions.
async fn dynamic(app: &App, name: &str, asked: &Keys) -> ApiResult<String> {
    match find(app, name, asked.location.as_deref()).await?.1 {
        PartitionsDefinition::Dynamic { name } => Ok(name),
        other => Err(invalid(
            format!("the keys of `{name}` follow from its definition ({})", kind(&other)),
            name,
            "only keys of dynamic partitions are added and taken out",
        )),
    }
}

async fn add(
    State(app): State<App>,
    Path(name): Path<String>,
    Payload(asked): Payload<Keys>,
) -> ApiResult<Json<ChangedKeys>> {
    let set = dynamic(&app, &name, &asked).await?;
    for key in &asked.keys {
        catchment_core::partitions::check_key(key)?;
    }
    let changed = app.instance().add_partitions(&set, &asked.keys).await?;
    app.record("partitions.add", "partitions", &set, json!({"keys": changed})).await;
    wake::wake(&app.home().daemon_socket());
    Ok(Json(ChangedKeys { changed }))
}

async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    Payload(asked): Payload<Keys>,
) -> ApiResult<Json<ChangedKeys>> {
    let set = dynamic(&app, &name, &asked).await?;
    let changed = app.instance().delete_partitions(&set, &asked.keys).await?;
    app.record("partitions.delete", "partitions", &set, json!({"keys": changed})).await;
    Ok(Json(ChangedKeys { changed }))
}
