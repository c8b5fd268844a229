//! What the sensors did.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::ApiResult;
use crate::extract::{Params, page_size};
use crate::views::TickList;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::json::<TickList, _, _>(
            Verb::Get,
            "/api/v1/sensors/{name}/ticks",
            "Evaluations of a sensor, newest first",
            ticks,
        )
        .query::<TicksQuery>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct TicksQuery {
    /// The last tick of the page before.
    before: Option<i64>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn ticks(
    State(app): State<App>,
    Path(name): Path<String>,
    Params(query): Params<TicksQuery>,
) -> ApiResult<Json<TickList>> {
    let limit = page_size(query.limit, 50, 500);
    let mut ticks = app.instance().ticks(&name, query.before, limit + 1).await?;
    let more = ticks.len() > limit as usize;
    ticks.truncate(limit as usize);
    let next = ticks.last().filter(|_| more).map(|tick| tick.id);
    Ok(Json(TickList { ticks: ticks.into_iter().map(Into::into).collect(), next }))
}
