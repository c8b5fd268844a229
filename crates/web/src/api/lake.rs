//! Care of the lake: long work that answers as a stream of lines (NDJSON): progress, then the report or the problem.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use catchment_lake::{GcOptions, Lake, Progress, VerifyOptions};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, task};
use futures::StreamExt as _;
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::App;
use crate::endpoint::{Endpoint, Verb};
use crate::error::ApiResult;
use crate::extract::Payload;
use crate::views::WorkLine;

/// The least time between two lines of progress.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// What a person may ask to be kept at most: ten years.
const GRACE_MOST: u64 = 10 * 366 * 86_400;
const NDJSON: &str = "application/x-ndjson";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::other(
            Verb::Post,
            "/api/v1/lake/verify",
            "Proves that ledger and lake agree; answers lines of progress, then a report",
            NDJSON,
            verify,
        )
        .body::<VerifyBody>(),
        Endpoint::other(
            Verb::Post,
            "/api/v1/lake/gc",
            "Removes what no ledger record names; answers lines of progress, then a report",
            NDJSON,
            gc,
        )
        .body::<GcBody>(),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct VerifyBody {
    /// Mend what can be mended without loss.
    #[serde(default)]
    repair: bool,
    /// Do not read the bytes: compare sizes and links.
    #[serde(default)]
    quick: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GcBody {
    /// Only say what would be removed.
    #[serde(default)]
    dry_run: bool,
    /// How old garbage must be, in seconds; a day where it is not given.
    grace_s: Option<u64>,
}

async fn verify(State(app): State<App>, Payload(body): Payload<VerifyBody>) -> ApiResult<Response> {
    let lake = Lake::new(app.lake_store()?, app.ledger().clone());
    let options = VerifyOptions { repair: body.repair, quick: body.quick, ..VerifyOptions::default() };
    if body.repair {
        app.record("lake.repair", "lake", lake.store().bucket(), json!({"quick": body.quick})).await;
    }
    Ok(work(move |tell| async move {
        let report = lake.verify(options, &|progress| tell.progress(progress)).await?;
        let mut value = to_value(&report)?;
        value["clean"] = report.is_clean().into();
        Ok(value)
    }))
}

async fn gc(State(app): State<App>, Payload(body): Payload<GcBody>) -> ApiResult<Response> {
    let lake = Lake::new(app.lake_store()?, app.ledger().clone());
    let mut options = GcOptions { dry_run: body.dry_run, ..GcOptions::default() };
    if let Some(grace) = body.grace_s {
        options.grace = Duration::from_secs(grace.min(GRACE_MOST));
    }
    Ok(work(move |tell| async move {
        let report = lake.gc(options, &|progress| tell.progress(progress)).await?;
        if !options.dry_run {
            let details =
                json!({"objects": report.removed.len(), "bytes": report.bytes, "grace_s": options.grace.as_secs()});
            app.record("lake.gc", "lake", lake.store().bucket(), details).await;
        }
        Ok(json!({
            "dry_run": options.dry_run,
            "objects": report.objects,
            "pending": report.pending,
            "garbage": to_value(&report.removed)?,
            "bytes": report.bytes,
        }))
    }))
}

fn to_value(report: &impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(report)
        .map_err(|e| Problem::new(Code::Bug, "a report cannot be written as JSON").cause(e.to_string()))
}

/// Tells the client how far the work is; never waits for it.
struct Tell {
    lines: mpsc::Sender<WorkLine>,
    last: std::sync::Mutex<Option<std::time::Instant>>,
}

impl Tell {
    fn progress(&self, progress: Progress<'_>) {
        let now = clock::monotonic();
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
            *last = Some(now);
            let line = WorkLine::Progress { stage: progress.phase.into(), done: progress.done, total: None };
            // A client that does not keep up misses progress, not the report.
            drop(self.lines.try_send(line));
        }
    }
}

/// Starts the work as a task, which goes on to its end where the client goes away: a repair is not left half done.
fn work<F, W>(start: F) -> Response
where
    F: FnOnce(std::sync::Arc<Tell>) -> W + Send + 'static,
    W: Future<Output = Result<Value, Problem>> + Send,
{
    let (lines, answered) = mpsc::channel(16);
    let tell = std::sync::Arc::new(Tell { lines: lines.clone(), last: std::sync::Mutex::new(None) });
    task::spawn("lake work", async move {
        let line = match start(tell).await {
            Ok(report) => WorkLine::Report { report },
            Err(problem) => WorkLine::Problem { problem },
        };
        if lines.send(line).await.is_err() {
            tracing::info!("the client of a long work went away before its end");
        }
    });
    let body = ReceiverStream::new(answered).map(|line| {
        serde_json::to_vec(&line).map(|mut bytes| {
            bytes.push(b'\n');
            bytes
        })
    });
    ([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(body)).into_response()
}
