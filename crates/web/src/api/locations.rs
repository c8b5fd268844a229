//! Code locations.

use axum::Json;
use axum::extract::{Path, State};
use catchment_core::definitions::ASSET_JOB;
use catchment_instance::LocationRecord;
use catchment_settings::{clock, wake};
use serde_json::json;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, not_found};
use crate::views::{LocationList, LocationView};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::json::<LocationList, _, _>(
            Verb::Get,
            "/api/v1/locations",
            "The code locations, with what is wrong with them",
            list,
        ),
        Endpoint::json::<LocationView, _, _>(
            Verb::Post,
            "/api/v1/locations/{name}/reload",
            "Has a code location loaded anew; its `loaded_at` says when that was done",
            reload,
        ),
    ]
}

async fn list(State(app): State<App>) -> ApiResult<Json<LocationList>> {
    let records = app.instance().locations().await?;
    Ok(Json(LocationList { locations: records.into_iter().map(view).collect() }))
}

async fn reload(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<LocationView>> {
    let record = app.instance().locations().await?.into_iter().find(|record| record.name == name);
    let Some(record) = record else {
        return Err(not_found(format!("there is no code location `{name}`"), "see `catchment location list`"));
    };
    let cursor = catchment_locations::reload_cursor(&name);
    app.instance().set_follow_cursor(&cursor, clock::now().as_microsecond()).await?;
    app.record("location.reload", "location", &name, json!({})).await;
    wake::wake(&app.home().daemon_socket());
    Ok(Json(view(record)))
}

fn view(record: LocationRecord) -> LocationView {
    let here = record.is_here();
    let snapshot = record.snapshot.unwrap_or_default();
    let jobs = snapshot.jobs.iter().filter(|job| job.name != ASSET_JOB).count();
    let counts = [
        ("assets", snapshot.assets.len()),
        ("checks", snapshot.checks.len()),
        ("jobs", jobs),
        ("sensors", snapshot.sensors.len()),
        ("schedules", snapshot.schedules.len()),
    ];
    LocationView {
        name: record.name,
        here,
        since: record.since,
        loaded_at: record.loaded_at,
        code_version: Some(snapshot.code_version).filter(|version| !version.is_empty()),
        counts: counts.into_iter().map(|(what, count)| (what.to_owned(), count as u64)).collect(),
        problem: record.problem,
    }
}
