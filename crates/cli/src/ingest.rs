//! `catchment ingest` and `catchment manifest submit`: upload, announce, follow, sum up.

mod follow;
mod format;
mod landing;
mod plan;
mod shapefile;
mod summary;

use catchment_model::{Code, Manifest, Problem};
use catchment_settings::clock;
use serde::Serialize;
use serde_json::json;

use crate::Context;
use crate::args::IngestArgs;
use crate::client::Api;
use crate::dataset::segment;
use crate::progress::Progress;
use landing::Landing;
use plan::Plan;
use summary::Batch;

/// A manifest that lies in the landing zone.
struct Announced {
    batch_id: String,
    dataset_id: String,
    file: Option<String>,
    key: String,
    etag: String,
    began: std::time::Instant,
}

/// What came of all batches.
#[derive(Serialize)]
struct Answer {
    batches: Vec<Batch>,
}

/// Carries `catchment ingest` out; answers the exit code.
pub(crate) async fn ingest(args: IngestArgs, context: &Context) -> Result<u8, Problem> {
    let plans = plan::plans(&args)?;
    let api = context.api()?;
    for plan in &plans {
        refuse_used(&api, &plan.batch_id).await?;
    }
    let landing = Landing::open(&api, context).await?;
    let mut announced = Vec::new();
    for plan in &plans {
        announced.push(upload(plan, &landing, context.global.json).await?);
    }
    finish(announced, args.no_wait, &api, context).await
}

/// Carries `catchment manifest submit` out; answers the exit code.
pub(crate) async fn submit(
    manifest: Manifest,
    bytes: Vec<u8>,
    no_wait: bool,
    context: &Context,
) -> Result<u8, Problem> {
    let api = context.api()?;
    refuse_used(&api, &manifest.batch_id).await?;
    let landing = Landing::open(&api, context).await?;
    let (batch_id, dataset_id) = (manifest.batch_id.clone(), manifest.dataset_id().to_string());
    let began = clock::monotonic();
    let (key, etag) = landing.announce(&batch_id, bytes).await?;
    let announced = Announced { batch_id, dataset_id, file: None, key, etag, began };
    finish(vec![announced], no_wait, &api, context).await
}

/// A batch is processed once: what has that name already is said before anything is uploaded.
async fn refuse_used(api: &Api, batch_id: &str) -> Result<(), Problem> {
    let first: catchment_web::views::RunList =
        api.get("/runs", &[("batch_id", batch_id.to_owned()), ("limit", "1".into())]).await?;
    match first.runs.first() {
        None => Ok(()),
        Some(run) => Err(Problem::new(Code::DuplicateBatch, format!("the batch `{batch_id}` was used before"))
            .place(format!("run {}", run.run_id))
            .cause(format!("that run is {}", run.status))
            .remedy("choose another --batch-id; a batch is processed once")),
    }
}

async fn upload(plan: &Plan, landing: &Landing, json: bool) -> Result<Announced, Problem> {
    let began = clock::monotonic();
    let mut progress = Progress::new(&plan.name, json);
    progress.bytes("uploading", plan.size);
    let sent = landing.upload(&plan.batch_id, &plan.name, plan.path(), |done| progress.at(done)).await;
    progress.done();
    let place = sent?;
    let manifest = plan.manifest(place)?;
    let bytes = serde_json::to_vec_pretty(&manifest)
        .map_err(|e| Problem::new(Code::Bug, "the manifest cannot be written").cause(e.to_string()))?;
    let (key, etag) = landing.announce(&plan.batch_id, bytes).await?;
    Ok(Announced {
        batch_id: plan.batch_id.clone(),
        dataset_id: plan.dataset_id.to_string(),
        file: Some(plan.source.display().to_string()),
        key,
        etag,
        began,
    })
}

/// Follows what was announced to its end, and sums up.
async fn finish(announced: Vec<Announced>, no_wait: bool, api: &Api, context: &Context) -> Result<u8, Problem> {
    let mut answer = Answer { batches: Vec::new() };
    for one in announced {
        let batch =
            if no_wait { Batch::announced(&one) } else { follow::follow(&one, api, context.global.json).await? };
        if !context.global.json {
            batch.print();
        }
        answer.batches.push(batch);
    }
    if context.global.json {
        println!("{}", json!(answer));
    }
    Ok(answer.batches.iter().map(Batch::exit_code).find(|code| *code != 0).unwrap_or(0))
}

/// The address of a run.
fn run_path(run_id: &str) -> String {
    format!("/runs/{}", segment(run_id))
}
