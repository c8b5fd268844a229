//! Follows a batch from its manifest to its end.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::clock;
use catchment_web::views::{AssetList, EventList, EventView, RunView, Submission};

use super::summary::Batch;
use super::{Announced, run_path};
use crate::client::Api;
use crate::progress::Progress;

/// How long one request waits for news.
const WAIT_MS: &str = "10000";
/// After so long without a sensor, someone should look at the daemon.
const ADMITTED_WITHIN: Duration = Duration::from_secs(60);

/// Waits until the batch is in the lake, has failed or was refused.
pub(super) async fn follow(batch: &Announced, api: &Api, json: bool) -> Result<Batch, Problem> {
    let mut progress = Progress::new(&batch.batch_id, json);
    let done = to_the_end(batch, api, &mut progress).await;
    progress.done();
    done
}

async fn to_the_end(batch: &Announced, api: &Api, progress: &mut Progress) -> Result<Batch, Problem> {
    progress.stage("announced");
    let run_id = match admitted(batch, api).await? {
        Ok(run_id) => run_id,
        Err(problem) => return Ok(Batch::rejected(batch, problem)),
    };
    let mut after = 0;
    loop {
        let query = [("after", after.to_string()), ("wait_ms", WAIT_MS.into())];
        let list: EventList = api.get(&format!("{}/events", run_path(&run_id)), &query).await?;
        list.events.iter().for_each(|event| show(event, progress));
        after = list.cursor;
        if list.ended {
            break;
        }
    }
    let run: RunView = api.get(&run_path(&run_id), &[]).await?;
    let assets: AssetList = api.get(&format!("{}/assets", run_path(&run_id)), &[]).await?;
    Ok(Batch::ended(batch, run, assets.assets))
}

/// The run of the batch, or why it was refused.
async fn admitted(batch: &Announced, api: &Api) -> Result<Result<String, Problem>, Problem> {
    let query = [
        ("key", batch.key.clone()),
        ("etag", batch.etag.clone()),
        ("batch_id", batch.batch_id.clone()),
        ("wait_ms", WAIT_MS.into()),
    ];
    loop {
        match api.get::<Submission>("/submissions", &query).await? {
            Submission::Accepted { run } => return Ok(Ok(run.run_id)),
            Submission::Rejected { problem } => return Ok(Err(problem)),
            Submission::Waiting { sensor_problem, daemon_seen_at } => {
                let waited = clock::monotonic().duration_since(batch.began);
                if waited > ADMITTED_WITHIN {
                    return Err(not_admitted(batch, sensor_problem, daemon_seen_at));
                }
            }
        }
    }
}

fn not_admitted(batch: &Announced, sensor: Option<Problem>, seen: Option<jiff::Timestamp>) -> Problem {
    let cause = match (sensor, seen) {
        (Some(problem), _) => format!("the sensor failed: {problem}"),
        (None, Some(seen)) => format!("the daemon gave its last sign of life at {seen}"),
        (None, None) => "no daemon ever gave a sign of life".into(),
    };
    Problem::new(Code::Unavailable, format!("the batch was not admitted within {} s", ADMITTED_WITHIN.as_secs()))
        .place(batch.key.clone())
        .cause(cause)
        .remedy("see `catchment doctor`; the manifest stays where it is and is admitted as soon as a daemon runs")
}

/// Shows how far the run is by an event: a stage, or how much of one is done.
fn show(event: &EventView, progress: &mut Progress) {
    if let Some(text) = stage(event) {
        progress.stage(&text);
    }
    let counted = &event.data["progress"];
    if let (Some(done), Some(step)) = (counted["done"].as_u64(), &event.step_key) {
        let unit = counted["unit"].as_str().unwrap_or_default();
        progress.count(&format!("{step} {unit}"), done, counted["total"].as_u64());
    }
}

/// What an event says about how far the run is.
fn stage(event: &EventView) -> Option<String> {
    Some(match event.kind.as_str() {
        "PIPELINE_ENQUEUED" => "queued".into(),
        "PIPELINE_STARTING" => "starting".into(),
        "STEP_START" => event.step_key.clone()?,
        "PIPELINE_CANCELING" => "is being cancelled".into(),
        _ => return None,
    })
}
