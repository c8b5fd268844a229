//! How the parts are: for people, for load balancers, for `catchment doctor`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use catchment_instance::Heartbeat;
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use http::{StatusCode, header};
use tokio::net::TcpStream;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::ApiResult;
use crate::views::{Health, InstanceView, PartHealth};

/// How old the last sign of life of a daemon may be.
pub(super) const DAEMON_BEATS_WITHIN: Duration = Duration::from_secs(60);
/// How long a service may take to accept a connection.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::Get;
    vec![
        Endpoint::other(Get, "/healthz", "Whether the web server lives", "text/plain", healthz),
        Endpoint::other(Get, "/readyz", "Whether the web server can serve: its databases answer", "text/plain", readyz),
        Endpoint::json::<Health, _, _>(Get, "/api/v1/health", "How each part of the installation is", health),
        Endpoint::json::<InstanceView, _, _>(Get, "/api/v1/instance", "What this installation is", instance),
        Endpoint::other(Get, "/api/v1/openapi.json", "This document", "application/json", openapi),
    ]
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(app): State<App>) -> Response {
    let parts = [state(&app).await, ledger(&app).await];
    match parts.into_iter().find(|part| !part.healthy) {
        None => "ready\n".into_response(),
        Some(part) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}: {}\n", part.name, part.detail)).into_response(),
    }
}

async fn health(State(app): State<App>) -> Json<Health> {
    let endpoints = app.home().endpoints().unwrap_or_default();
    let (state, ledger, s3, daemon, locations) = tokio::join!(
        state(&app),
        ledger(&app),
        reachable("s3", endpoints.s3.as_deref(), "start it with `catchment dev` or `catchment s3`"),
        daemon(&app),
        locations(&app),
    );
    let parts: Vec<_> = [state, ledger, s3, daemon].into_iter().chain(locations).collect();
    Json(Health { healthy: parts.iter().all(|part| part.healthy), parts })
}

async fn instance(State(app): State<App>) -> ApiResult<Json<InstanceView>> {
    let endpoints = app.home().endpoints().unwrap_or_default();
    Ok(Json(InstanceView {
        version: env!("CARGO_PKG_VERSION").into(),
        home: app.home().root().display().to_string(),
        landing_bucket: app.environment().landing_bucket.clone(),
        lake_bucket: app.environment().lake_bucket.clone(),
        s3_url: endpoints.s3,
        now: clock::now(),
    }))
}

async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi()).into_response()
}

fn well(name: &str, detail: impl Into<String>) -> PartHealth {
    PartHealth { name: name.into(), healthy: true, detail: detail.into(), problem: None }
}

fn unwell(name: &str, problem: Problem) -> PartHealth {
    PartHealth { name: name.into(), healthy: false, detail: problem.what.clone(), problem: Some(problem) }
}

async fn state(app: &App) -> PartHealth {
    match app.instance().last_event_id().await {
        Ok(id) => well("state", format!("answers; the last event is {id}")),
        Err(error) => unwell("state", error.into()),
    }
}

async fn ledger(app: &App) -> PartHealth {
    match app.ledger().datasets(None, 1).await {
        Ok(_) => well("ledger", "answers"),
        Err(error) => unwell("ledger", error.into()),
    }
}

async fn daemon(app: &App) -> PartHealth {
    let beats = match app.instance().heartbeats().await {
        Ok(beats) => beats,
        Err(error) => return unwell("daemon", error.into()),
    };
    let remedy =
        "start it with `catchment dev` or `catchment daemon`; without it nothing is admitted and no run starts";
    let Some(Heartbeat { daemon: name, at: seen, .. }) = beats.into_iter().max_by_key(|beat| beat.at) else {
        return unwell("daemon", Problem::new(Code::Unavailable, "no daemon ever gave a sign of life").remedy(remedy));
    };
    let age = clock::now().duration_since(seen).unsigned_abs();
    if age <= DAEMON_BEATS_WITHIN {
        well("daemon", format!("{name} gave a sign of life {:.1} s ago", age.as_secs_f64()))
    } else {
        let what = format!("the daemon gave its last sign of life at {seen}, {} s ago", age.as_secs());
        unwell("daemon", Problem::new(Code::Unavailable, what).remedy(remedy))
    }
}

/// The code locations, as the daemon sees them.
async fn locations(app: &App) -> Vec<PartHealth> {
    match app.instance().locations().await {
        Ok(records) => records
            .into_iter()
            .map(|record| match record.problem {
                None => well(&record.name, "the code location answers"),
                Some(problem) => unwell(&record.name, problem),
            })
            .collect(),
        Err(error) => vec![unwell("code_locations", error.into())],
    }
}

/// Whether a service takes connections. Only addresses that this installation wrote down are tried.
async fn reachable(name: &str, url: Option<&str>, remedy: &str) -> PartHealth {
    let Some(url) = url else {
        return unwell(name, Problem::new(Code::Unavailable, "its address is not known").remedy(remedy));
    };
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    let refused = |cause: String| {
        unwell(name, Problem::new(Code::Unavailable, "it takes no connections").place(url).cause(cause).remedy(remedy))
    };
    match tokio::time::timeout(CONNECTS_WITHIN, TcpStream::connect(authority)).await {
        Ok(Ok(_)) => well(name, format!("takes connections at {url}")),
        Ok(Err(error)) => refused(error.to_string()),
        Err(_) => refused(format!("no answer within {} s", CONNECTS_WITHIN.as_secs())),
    }
}
