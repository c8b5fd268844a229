//! What became of assets: evaluations of conditions and checks, freshness, and the forgetting of materialisations.

use axum::Json;
use axum::extract::State;
use catchment_core::{Event, EventKind};
use catchment_instance::EventFilter;
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::find::locations;
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid, not_found};
use crate::extract::{Params, Payload, page_size};
use crate::views::{CheckExecutionList, EvaluationList, EvaluationView, Freshness, Wiped};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<EvaluationList, _, _>(
            Get,
            "/api/v1/evaluations",
            "Evaluations of the automation condition of an asset or check, newest first",
            evaluations,
        )
        .query::<EvaluationsQuery>(),
        Endpoint::json::<CheckExecutionList, _, _>(
            Get,
            "/api/v1/checks/executions",
            "Evaluations of a check, newest first",
            check_executions,
        )
        .query::<ExecutionsQuery>(),
        Endpoint::json::<Wiped, _, _>(
            Post,
            "/api/v1/wipes",
            "Forgets that an asset, or partitions of it, was made; what is in the lake stays",
            wipe,
        )
        .body::<Wipe>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EvaluationsQuery {
    /// The asset, or `asset:check`.
    key: String,
    /// The last evaluation of the page before.
    before: Option<i64>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn evaluations(
    State(app): State<App>,
    Params(query): Params<EvaluationsQuery>,
) -> ApiResult<Json<EvaluationList>> {
    let limit = page_size(query.limit, 50, 500);
    let mut found = app.instance().evaluations(&query.key, query.before, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|one| one.id);
    Ok(Json(EvaluationList { evaluations: found.into_iter().map(Into::into).collect(), next }))
}

/// The newest evaluation of an asset's condition.
pub(super) async fn newest_evaluation(app: &App, key: &str) -> ApiResult<Option<EvaluationView>> {
    Ok(app.instance().evaluations(key, None, 1).await?.pop().map(Into::into))
}

/// How the freshness of an asset with a policy stands, as the daemon has said last.
pub(super) async fn freshness(app: &App, key: &str) -> ApiResult<Freshness> {
    let filter = EventFilter {
        kinds: vec![EventKind::FreshnessStateChange],
        asset_key: Some(key.to_owned()),
        ..EventFilter::default()
    };
    let said: Option<Event> = app.instance().events(&filter, None, 1).await?.pop();
    let state = said.as_ref().and_then(|said| said.event.data["to"].as_str());
    Ok(Freshness {
        state: state.unwrap_or("UNKNOWN").to_owned(),
        since: said.as_ref().map(|said| said.event.timestamp),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecutionsQuery {
    /// The asset.
    asset_key: String,
    /// The check.
    name: String,
    /// The last evaluation of the page before.
    before: Option<i64>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn check_executions(
    State(app): State<App>,
    Params(query): Params<ExecutionsQuery>,
) -> ApiResult<Json<CheckExecutionList>> {
    let limit = page_size(query.limit, 50, 500);
    let mut found = app.instance().check_executions(&query.asset_key, &query.name, query.before, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|one| one.id);
    Ok(Json(CheckExecutionList { executions: found.into_iter().map(Into::into).collect(), next }))
}

/// What is to be forgotten.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wipe {
    /// The asset.
    asset_key: String,
    /// Only these partitions; everything where none is named.
    #[serde(default)]
    partitions: Vec<String>,
}

async fn wipe(State(app): State<App>, Payload(asked): Payload<Wipe>) -> ApiResult<Json<Wiped>> {
    let Wipe { asset_key, partitions } = asked;
    let recorded = app.instance().assets(std::slice::from_ref(&asset_key), None, 1).await?;
    let is_defined = || async {
        ApiResult::Ok(locations(&app, None).await?.iter().any(|known| known.snapshot.asset(&asset_key).is_some()))
    };
    if recorded.is_empty() && !is_defined().await? {
        return Err(not_found(format!("there is no asset `{asset_key}`"), "see `catchment asset list`"));
    }
    if !partitions.is_empty() {
        let known = app.instance().asset_partitions(&asset_key, &partitions).await?;
        if let Some(unknown) = partitions.iter().find(|key| !known.iter().any(|state| state.partition == **key)) {
            return Err(invalid(
                format!("nothing is known of the partition `{unknown}` of `{asset_key}`"),
                "partitions",
                "name partitions that were made",
            ));
        }
    }
    let only = (!partitions.is_empty()).then_some(partitions.as_slice());
    app.instance().wipe_asset(&asset_key, only, clock::now()).await?;
    app.record("asset.wipe", "asset", &asset_key, json!({"partitions": partitions})).await;
    wake::wake(&app.home().daemon_socket());
    Ok(Json(Wiped { asset_key, partitions }))
}
