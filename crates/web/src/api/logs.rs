//! The raw output of a run's process, as files, whole or by range.

use std::io::SeekFrom;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use catchment_model::{Code, Problem};
use http::{HeaderMap, StatusCode, header};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::{ApiError, ApiResult, invalid};
use crate::extract::run_id;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::other(
        Verb::Get,
        "/api/v1/runs/{run_id}/logs/{stream}",
        "What the run's process wrote to `stdout` or `stderr`; takes `Range: bytes=…`",
        "text/plain",
        log,
    )]
}

async fn log(
    State(app): State<App>,
    Path((id, stream)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let id = run_id(&id)?;
    if !matches!(stream.as_str(), "stdout" | "stderr") {
        return Err(invalid(format!("`{stream}` is no output of a run"), "the path", "use stdout or stderr"));
    }
    super::runs::find(&app, id).await?;
    let path = app.home().run_log_dir(&id.to_string()).join(format!("{stream}.log"));
    let unreadable = |e: std::io::Error| {
        ApiError(
            Problem::new(Code::Io, "the log cannot be read").place(path.display().to_string()).cause(e.to_string()),
        )
    };
    let mut file = match File::open(&path).await {
        Ok(file) => file,
        // A run that has not begun has written nothing.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(text(StatusCode::OK, Body::empty(), 0, None)),
        Err(e) => return Err(unreadable(e)),
    };
    let size = file.metadata().await.map_err(unreadable)?.len();
    let range = headers.get(header::RANGE).and_then(|v| v.to_str().ok()).and_then(|text| parse_range(text, size));
    let (status, first, length) = match range {
        None => (StatusCode::OK, 0, size),
        Some(Some((first, last))) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Some(None) => {
            let range = format!("bytes */{size}");
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response());
        }
    };
    file.seek(SeekFrom::Start(first)).await.map_err(unreadable)?;
    let body = Body::from_stream(ReaderStream::new(file.take(length)));
    let range = (status == StatusCode::PARTIAL_CONTENT).then(|| format!("bytes {first}-{}/{size}", first + length - 1));
    Ok(text(status, body, length, range))
}

fn text(status: StatusCode, body: Body, length: u64, range: Option<String>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let mut response = (status, headers, body).into_response();
    if let Some(value) = range.and_then(|r| r.parse().ok()) {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}

/// One byte range (RFC 9110, 14.1.2): `None` where the header is to be ignored, `Some(None)` where the range lies
/// outside, else its first and last byte.
fn parse_range(text: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = if first.is_empty() {
        let length: u64 = last.parse().ok()?;
        (length > 0 && size > 0).then(|| (size.saturating_sub(length), size - 1))
    } else {
        let first: u64 = first.parse().ok()?;
        let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
        if last < first {
            return None;
        }
        (first < size).then(|| (first, last.min(size.saturating_sub(1))))
    };
    Some(range)
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(parse_range("bytes=0-3", 10), Some(Some((0, 3))));
        assert_eq!(parse_range("bytes=4-", 10), Some(Some((4, 9))));
        assert_eq!(parse_range("bytes=-4", 10), Some(Some((6, 9))));
        assert_eq!(parse_range("bytes=8-99", 10), Some(Some((8, 9))));
        assert_eq!(parse_range("bytes=10-", 10), Some(None));
        assert_eq!(parse_range("bytes=0-", 0), Some(None));
        for ignored in ["bytes=5-4", "lines=1-2", "bytes=1-2,4-5", "bytes=x-"] {
            assert_eq!(parse_range(ignored, 10), None, "{ignored}");
        }
    }
}
