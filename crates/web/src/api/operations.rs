//! What an operator looks after: concurrency pools, alerts, daemons.

use axum::Json;
use axum::extract::{Path, State};
use catchment_settings::{clock, wake};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::health::DAEMON_BEATS_WITHIN;
use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid};
use crate::extract::{Params, Payload, page_size};
use crate::views::{AlertList, AlertView, DaemonList, DaemonView, PoolList, PoolView};

/// The largest limit of a pool.
const LARGEST_LIMIT: u32 = 1000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Get, Post};
    vec![
        Endpoint::json::<PoolList, _, _>(Get, "/api/v1/pools", "Concurrency pools: limits, holders, waiters", pools),
        Endpoint::json::<PoolList, _, _>(
            Post,
            "/api/v1/pools/{name}",
            "Sets the limit of a concurrency pool, or takes it away; those who hold slots keep them",
            set_pool,
        )
        .body::<Limit>(),
        Endpoint::json::<AlertList, _, _>(Get, "/api/v1/alerts", "Alerts, newest first", alerts).query::<AlertsQuery>(),
        Endpoint::json::<DaemonList, _, _>(
            Get,
            "/api/v1/daemons",
            "Which daemon leads, and the signs of life of its concerns",
            daemons,
        ),
    ]
}

/// The limit of a pool.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// How many steps may hold a slot: 0 to 1000; none takes the limit away.
    limit: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
struct AlertsQuery {
    /// The last alert of the page before.
    before: Option<i64>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn pools(State(app): State<App>) -> ApiResult<Json<PoolList>> {
    let pools = app.instance().pools().await?.into_iter().map(|pool| PoolView {
        name: pool.name,
        limit: pool.limit,
        held: pool.slots.len() as u64,
        waiting: pool.waiting.len() as u64,
    });
    Ok(Json(PoolList { pools: pools.collect() }))
}

async fn set_pool(
    State(app): State<App>,
    Path(name): Path<String>,
    Payload(asked): Payload<Limit>,
) -> ApiResult<Json<PoolList>> {
    if asked.limit.is_some_and(|limit| limit > LARGEST_LIMIT) {
        let remedy = format!("give 0 to {LARGEST_LIMIT}");
        return Err(invalid("the limit is too large", "limit", remedy));
    }
    app.instance().set_pool_limit(&name, asked.limit).await?;
    app.record("pool.limit", "pool", &name, json!({"limit": asked.limit})).await;
    wake::wake_for_runs(&app.home().daemon_socket());
    pools(State(app)).await
}

async fn alerts(State(app): State<App>, Params(query): Params<AlertsQuery>) -> ApiResult<Json<AlertList>> {
    let limit = page_size(query.limit, 50, 500);
    let mut alerts = app.instance().alerts(query.before, limit + 1).await?;
    let more = alerts.len() > limit as usize;
    alerts.truncate(limit as usize);
    let next = alerts.last().filter(|_| more).map(|alert| alert.id);
    let alerts = alerts.into_iter().map(|alert| AlertView {
        id: alert.id,
        rule: alert.alert.rule,
        channel: alert.alert.channel,
        status: match json!(alert.status) {
            Value::String(status) => status,
            _ => String::new(),
        },
        attempts: alert.attempts,
        created_at: alert.created_at,
        last_error: alert.last_error,
        event: alert.alert.event,
    });
    Ok(Json(AlertList { alerts: alerts.collect(), next }))
}

async fn daemons(State(app): State<App>) -> ApiResult<Json<DaemonList>> {
    let now = clock::now();
    let leader = app.instance().leader().await?;
    let beats = app.instance().heartbeats().await?.into_iter().map(|beat| DaemonView {
        healthy: beat.problem.is_none() && now.duration_since(beat.at).unsigned_abs() <= DAEMON_BEATS_WITHIN,
        daemon: beat.daemon,
        at: beat.at,
        lag: beat.lag,
        problem: beat.problem,
    });
    Ok(Json(DaemonList {
        leading: leader.as_ref().is_some_and(|leader| leader.until > now),
        epoch: leader.as_ref().map(|leader| leader.epoch),
        leader: leader.map(|leader| leader.holder),
        daemons: beats.collect(),
    }))
}
