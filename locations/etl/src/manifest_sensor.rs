//! The sensor that admits manifests: what lies under `manifests/` becomes a run request or a refusal.

use catchment::{AddPartitions, ClaimKey, Rejection, Res, RunRequest, SensorContext, SensorResult};
use catchment_core::tags;
use catchment_model::manifest::{MAX_BYTES, Rules, TagValue};
use catchment_model::{Code, Manifest, Problem};
use catchment_store::{Listed, Store, StoreError};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::admission::{Admitted, ManifestObject, job_for};

/// Where manifests are announced.
pub const INBOX: &str = "manifests/";
/// The user metadata in which the server tells whose key put an object.
pub const PRINCIPAL: &str = "catchment-principal";
/// How many manifests one evaluation reads; more are left to the next, which follows at once.
const AT_ONCE: usize = 500;
/// How many are read at a time.
const READING: usize = 16;

/// Admits every manifest that lies in the inbox. One that is invalid is refused with all its faults and does not use
/// its `batch_id` up. Whether an object was handled before is the state's to say, by its key and ETag.
#[catchment::sensor(jobs = ["spatial_asset_job"], default = running)]
pub async fn manifest_sensor(_ctx: SensorContext, landing: Res<Store>) -> Result<SensorResult, Problem> {
    let store: &Store = &landing;
    let listed: Vec<Listed> = store
        .list(INBOX)
        .try_filter(|object| std::future::ready(!object.key.ends_with('/')))
        .take(AT_ONCE.saturating_add(1))
        .try_collect()
        .await?;
    let more = listed.len() > AT_ONCE;
    let rules = Rules { landing_bucket: store.bucket().to_owned() };
    let answers: Vec<Option<Answer>> = futures::stream::iter(listed.into_iter().take(AT_ONCE))
        .map(|object| admit(store, &rules, object))
        .buffered(READING)
        .try_collect()
        .await?;
    let mut result = SensorResult { more, ..SensorResult::default() };
    let mut datasets = Vec::new();
    for answer in answers.into_iter().flatten() {
        match answer {
            Answer::Request(request) => {
                datasets.extend(request.partition_key.clone());
                result.run_requests.push(*request);
            }
            Answer::Refusal(rejection) => result.rejections.push(rejection),
        }
    }
    if result.run_requests.is_empty() && result.rejections.is_empty() {
        result.skip_reason = Some(format!("nothing new under {INBOX}"));
    }
    if !datasets.is_empty() {
        result.add_partitions.push(AddPartitions { definition: "dataset_id".to_owned(), keys: datasets });
    }
    Ok(result)
}

enum Answer {
    Request(Box<RunRequest>),
    Refusal(Rejection),
}

/// Reads one manifest; `None` where it has vanished since it was listed (another evaluation has archived it).
async fn admit(store: &Store, rules: &Rules, object: Listed) -> Result<Option<Answer>, Problem> {
    let (bytes, info) = match store.get_bytes(&object.key, MAX_BYTES as u64).await {
        Ok(read) => read,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error @ StoreError::TooLarge { .. }) => {
            let claim = ClaimKey { key: object.key, etag: object.etag };
            let problem = Problem::new(Code::InvalidManifest, "the manifest is too large").cause(error.to_string());
            return Ok(Some(Answer::Refusal(Rejection { claim, problem })));
        }
        Err(error) => return Err(Problem::from(error)),
    };
    let claim = ClaimKey { key: object.key.clone(), etag: info.etag };
    let principal = info.metadata.get(PRINCIPAL).cloned();
    let parsed = if object.key.ends_with(".json") {
        Manifest::parse(&bytes, rules)
    } else {
        Err(Problem::new(Code::InvalidManifest, "the name of a manifest ends in .json")
            .place(object.key.clone())
            .remedy("put files anywhere but under manifests/, and manifests as manifests/<name>.json"))
    };
    let answer = match parsed.and_then(|manifest| Ok((job_for(&manifest)?, manifest))) {
        Ok((job, manifest)) => Answer::Request(Box::new(request(job, manifest, claim, principal))),
        Err(problem) => Answer::Refusal(Rejection { claim, problem }),
    };
    Ok(Some(answer))
}

fn request(job: &str, manifest: Manifest, claim: ClaimKey, principal: Option<String>) -> RunRequest {
    let dataset = manifest.dataset_id().as_str().to_owned();
    let run_key = manifest.batch_id.clone();
    let mut run_tags = std::collections::BTreeMap::from([
        ("batch_id".to_owned(), manifest.batch_id.clone()),
        ("intent".to_owned(), manifest.intent.clone()),
        ("uploader".to_owned(), manifest.uploader.clone()),
    ]);
    if let Some(TagValue::Integer(priority)) = manifest.metadata.tag("priority") {
        run_tags.insert(tags::PRIORITY.to_owned(), priority.to_string());
    }
    if let Some(principal) = &principal {
        run_tags.insert("catchment/principal".to_owned(), principal.clone());
    }
    let object = Some(ManifestObject { key: claim.key.clone(), etag: claim.etag.clone(), principal });
    let config = Admitted { manifest, object };
    RunRequest {
        run_key: Some(run_key),
        job_name: job.to_owned(),
        run_config: json!({"ops": {"raw_manifest_json": {"config": config}}}),
        tags: run_tags,
        partition_key: Some(dataset),
        claim: Some(claim),
        ..RunRequest::default()
    }
}
