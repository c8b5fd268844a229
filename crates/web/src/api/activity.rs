//! Who changed what.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiResult, invalid};
use crate::extract::Params;
use crate::views::ActivityList;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::json::<ActivityList, _, _>(
            Verb::Get,
            "/api/v1/activity",
            "Who changed what, newest first; of one resource where its type and id are given",
            list,
        )
        .query::<ActivityQuery>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
struct ActivityQuery {
    /// The kind of thing: `asset`, `manifest`, `run`, `s3_key`, `lake`.
    resource_type: Option<String>,
    /// Which one; with `resource_type`.
    resource_id: Option<String>,
    /// The `_id` of the last entry of the page before.
    after: Option<String>,
    /// How many: 1 to 500, 50 where it is not given.
    limit: Option<u32>,
}

async fn list(State(app): State<App>, Params(query): Params<ActivityQuery>) -> ApiResult<Json<ActivityList>> {
    let resource = match (query.resource_type.as_deref(), query.resource_id.as_deref()) {
        (None, None) => None,
        (Some(kind), Some(id)) => Some((kind, id)),
        _ => {
            return Err(invalid(
                "resource_type and resource_id belong together",
                "the query",
                "give both, or none of them",
            ));
        }
    };
    let page = super::manifests::newest(query.after.as_deref(), query.limit)?;
    let page = app.ledger().activities(page, resource).await?;
    Ok(Json(ActivityList { activity: page.items, next: page.next.map(|id| id.to_string()) }))
}
