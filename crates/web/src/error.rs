//! Every error of the API: a [`Problem`] as JSON under the HTTP status of its code.

use axum::Json;
use axum::response::{IntoResponse, Response};
use catchment_model::{Code, Problem};
use http::{HeaderValue, StatusCode, header};

/// An answer that is a problem.
#[derive(Debug, Clone)]
pub struct ApiError(pub Problem);

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl<E: Into<Problem>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = StatusCode::from_u16(problem.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(code = %problem.code, %problem, "a request failed");
        }
        let code = problem.code;
        let mut response = (status, Json(problem)).into_response();
        if code == Code::Unauthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A request or argument that is wrong.
pub(crate) fn invalid(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> ApiError {
    ApiError(Problem::new(Code::InvalidInput, what).place(place).remedy(remedy))
}

/// What was asked for is not there.
pub(crate) fn not_found(what: impl Into<String>, remedy: impl Into<String>) -> ApiError {
    ApiError(Problem::new(Code::NotFound, what).remedy(remedy))
}
