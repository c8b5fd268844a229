//! What handlers take from a request; what is wrong with it is answered as a problem.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use catchment_core::RunId;
use catchment_model::{Code, Problem};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, invalid};

/// The largest body of a request, in bytes: twice the largest manifest.
pub const MAX_BODY: usize = 2 << 20;

/// The query of the address.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(value)| Self(value)).map_err(|e| {
            let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            ApiError(
                Problem::new(Code::InvalidInput, "the query is not understood")
                    .place(parts.uri.to_string())
                    .cause(cause)
                    .remedy("see /api/v1/openapi.json for what this address takes"),
            )
        })
    }
}

/// The body as JSON, whatever its content type.
pub(crate) struct Payload<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Payload<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let value = serde_path_to_error::deserialize(&mut json)
            .map_err(|e| not_as_expected(&e.path().to_string(), e.inner()))?;
        json.end().map_err(|e| not_as_expected(".", &e))?;
        Ok(Self(value))
    }
}

fn not_as_expected(path: &str, error: &serde_json::Error) -> ApiError {
    let place = if path == "." { "the body".to_owned() } else { format!("`{path}` in the body") };
    ApiError(
        Problem::new(Code::InvalidInput, "the body is not the JSON that is expected here")
            .place(place)
            .cause(error.to_string())
            .remedy("see /api/v1/openapi.json for what this address takes"),
    )
}

/// The body as it is.
pub(crate) struct Raw(pub(crate) bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        to_bytes(request.into_body(), MAX_BODY).await.map(Self).map_err(|e| {
            ApiError(
                Problem::new(Code::LimitExceeded, format!("the body has more than {MAX_BODY} bytes, or is cut off"))
                    .cause(e.to_string()),
            )
        })
    }
}

/// A run's id from the path.
pub(crate) fn run_id(text: &str) -> Result<RunId, ApiError> {
    text.parse().map_err(|_| {
        invalid(
            format!("`{text}` is not the id of a run"),
            "the path",
            "a run's id is a UUID; see `catchment run list`",
        )
    })
}

/// How many entries a page has: `asked`, between 1 and `most`.
pub(crate) fn page_size(asked: Option<u32>, usual: u32, most: u32) -> u32 {
    asked.unwrap_or(usual).clamp(1, most)
}
