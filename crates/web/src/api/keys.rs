//! The named keys of the embedded S3 server.

use axum::Json;
use axum::extract::{Path, State};
use catchment_model::{Code, Problem};
use catchment_s3_server::keys::{self, Key, Role};
use serde_json::json;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid};
use crate::extract::Payload;
use crate::views::{KeyList, KeyView, NewKey};

pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Delete, Get, Post};
    vec![
        Endpoint::json::<KeyList, _, _>(
            Get,
            "/api/v1/s3/keys",
            "The keys of the S3 server, without their secrets",
            list,
        ),
        Endpoint::json::<KeyView, _, _>(
            Post,
            "/api/v1/s3/keys",
            "Makes a key; its secret is in this answer alone",
            add,
        )
        .body::<NewKey>(),
        Endpoint::json::<KeyView, _, _>(Delete, "/api/v1/s3/keys/{name}", "Takes a key back", revoke),
    ]
}

fn view(key: Key, secret: bool) -> KeyView {
    KeyView {
        name: key.name,
        access_key: key.access_key,
        role: key.role.to_string(),
        created_at: key.created_at,
        revoked_at: key.revoked_at,
        secret_key: secret.then(|| key.secret_key.reveal().to_owned()),
    }
}

/// Runs what touches the file of the keys off the threads that answer.
async fn with_file<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&std::path::Path) -> Result<T, Problem> + Send + 'static,
) -> ApiResult<T> {
    let path = app.home().s3_dir().join("keys.json");
    let done = tokio::task::spawn_blocking(move || work(&path)).await;
    done.map_err(|e| ApiError(Problem::new(Code::Bug, "the work on the keys broke off").cause(e.to_string())))?
        .map_err(ApiError)
}

async fn list(State(app): State<App>) -> ApiResult<Json<KeyList>> {
    let keys = with_file(&app, keys::list).await?;
    Ok(Json(KeyList { keys: keys.into_iter().map(|key| view(key, false)).collect() }))
}

async fn add(State(app): State<App>, Payload(new): Payload<NewKey>) -> ApiResult<Json<KeyView>> {
    let role: Role = new.role.parse()?;
    if role == Role::Admin {
        return Err(invalid("a key for a person is no admin's", "role", "use uploader or reader"));
    }
    let key = with_file(&app, move |path| keys::add(path, &new.name, role)).await?;
    let details = json!({"role": role.to_string(), "access_key": key.access_key});
    app.record("s3_key.add", "s3_key", &key.name, details).await;
    Ok(Json(view(key, true)))
}

async fn revoke(State(app): State<App>, Path(name): Path<String>) -> ApiResult<Json<KeyView>> {
    let key = with_file(&app, move |path| keys::revoke(path, &name)).await?;
    app.record("s3_key.revoke", "s3_key", &key.name, json!({"access_key": key.access_key})).await;
    Ok(Json(view(key, false)))
}
