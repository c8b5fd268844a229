//! What is done outside the state once it has admitted or refused a manifest: the ledger's record, then the move to the
//! archive. Each step can be repeated; what is cut off in between is taken up again.

use catchment::{Claim, ClaimContext, ClaimKey, ClaimOutcome, Res, RunRequest};
use catchment_ledger::{Ledger, new_id};
use catchment_model::documents::{ManifestDoc, RejectedManifest};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, failpoint};
use catchment_store::{Attributes, PutMode, Store, StoreError};
use jiff::Timestamp;
use serde_json::json;

use crate::admission::Admitted;
use crate::manifest_sensor::{INBOX, PRINCIPAL};

/// Where handled manifests lie.
const ARCHIVE: &str = "archive/manifests/";

/// Finishes one claim of `manifest_sensor`. Where the ledger or the landing zone is out of reach, it is asked for again.
#[catchment::claim_handler]
pub async fn finish_manifest(ctx: ClaimContext, landing: Res<Store>, ledger: Res<dyn Ledger>) -> Result<(), Problem> {
    let now = clock::now();
    let (claim, landing): (&Claim, &Store) = (ctx.claim(), &landing);
    match &claim.outcome {
        ClaimOutcome::Accepted { request, .. } => {
            let Admitted { manifest, object } = admitted(request)?;
            let principal = object.and_then(|o| o.principal);
            let ClaimKey { key, etag } = claim.claim.clone();
            ledger.record_manifest(ManifestDoc::queued(new_id(now), manifest, key, etag, principal, now)).await?;
            failpoint::hit("etl.claim_recorded");
            archive(landing, &claim.claim).await?;
        }
        ClaimOutcome::Rejected { problem } => {
            let principal = match landing.head(&claim.claim.key).await {
                Ok(info) => info.metadata.get(PRINCIPAL).cloned(),
                Err(StoreError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            ledger.reject_manifest(rejected(claim, problem, principal, now)).await?;
            failpoint::hit("etl.claim_recorded");
            let archived = archive(landing, &claim.claim).await?;
            explain(landing, &archived, claim, problem).await?;
        }
    }
    failpoint::hit("etl.claim_archived");
    Ok(())
}

fn admitted(request: &RunRequest) -> Result<Admitted, Problem> {
    let config = &request.run_config["ops"]["raw_manifest_json"]["config"];
    serde_json::from_value(config.clone()).map_err(|e| {
        Problem::new(Code::Bug, "a run was requested with a manifest that cannot be read again").cause(e.to_string())
    })
}

fn rejected(claim: &Claim, problem: &Problem, principal: Option<String>, now: Timestamp) -> RejectedManifest {
    RejectedManifest {
        id: new_id(now),
        s3_key: claim.claim.key.clone(),
        etag: claim.claim.etag.clone(),
        principal,
        batch_id: None,
        problem: problem.clone(),
        rejected_at: now,
    }
}

/// Moves the object to the archive, unless that was done before or another object now has its key. Answers the archive's
/// key.
async fn archive(landing: &Store, claim: &ClaimKey) -> Result<String, Problem> {
    let name = claim.key.strip_prefix(INBOX).unwrap_or(&claim.key);
    let target = free_name(landing, name, claim).await?;
    match landing.copy_if_match(&claim.key, &target, &claim.etag).await {
        Ok(()) => {}
        // Moved before, or replaced by its uploader: the newer object is a claim of its own.
        Err(StoreError::NotFound { .. } | StoreError::PreconditionFailed { .. }) => return Ok(target),
        Err(error) => return Err(error.into()),
    }
    match landing.delete_if_match(&claim.key, &claim.etag).await {
        Ok(()) | Err(StoreError::NotFound { .. } | StoreError::PreconditionFailed { .. }) => Ok(target),
        Err(error) => Err(error.into()),
    }
}

/// `archive/manifests/<name>`, or with the beginning of the ETag in it where another manifest of that name lies there.
async fn free_name(landing: &Store, name: &str, claim: &ClaimKey) -> Result<String, Problem> {
    let plain = format!("{ARCHIVE}{name}");
    match landing.head(&plain).await {
        Ok(info) if info.etag != claim.etag => {
            let mark: String = claim.etag.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
            let stem = plain.strip_suffix(".json").unwrap_or(&plain);
            Ok(format!("{stem}.{mark}.json"))
        }
        Ok(_) => Ok(plain),
        Err(StoreError::NotFound { .. }) => Ok(plain),
        Err(error) => Err(error.into()),
    }
}

/// Puts `<name>.error.json` beside the archived manifest.
async fn explain(landing: &Store, archived: &str, claim: &Claim, problem: &Problem) -> Result<(), Problem> {
    let stem = archived.strip_suffix(".json").unwrap_or(archived);
    let mut body = json!({"s3_key": claim.claim.key, "etag": claim.claim.etag});
    if let (Some(body), Ok(serde_json::Value::Object(problem))) = (body.as_object_mut(), serde_json::to_value(problem))
    {
        body.extend(problem);
        body.entry("faults").or_insert_with(|| json!([]));
    }
    let bytes = serde_json::to_vec_pretty(&body)
        .map_err(|e| Problem::new(Code::Bug, "a refusal cannot be written as JSON").cause(e.to_string()))?;
    let attributes = Attributes::of_type("application/json");
    landing.put_bytes(&format!("{stem}.error.json"), bytes, &attributes, PutMode::Overwrite).await?;
    Ok(())
}
