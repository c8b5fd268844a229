//! What may enter: a manifest that is valid, and that this version can process.

use catchment_model::manifest::FileType;
use catchment_model::{Code, Fault, Manifest, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The job that takes vector batches.
pub const SPATIAL_ASSET_JOB: &str = "spatial_asset_job";

/// Config of `raw_manifest_json`: a manifest, and the object that announced it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admitted {
    /// The manifest.
    pub manifest: Manifest,
    /// The object in the landing zone; absent where a run was launched by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ManifestObject>,
}

/// The object that holds a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestObject {
    /// Its key in the landing zone, such as `manifests/a.json`.
    pub key: String,
    /// Its ETag.
    pub etag: String,
    /// Whose key put it, where the server tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}

/// The job for a manifest.
///
/// # Errors
/// Where this version cannot process it: every reason with its place.
pub fn job_for(manifest: &Manifest) -> Result<&'static str, Problem> {
    let mut faults = Vec::new();
    let mut fault = |path: String, what: &str, allowed: &str| {
        faults.push(Fault { path, what: what.to_owned(), allowed: allowed.to_owned() });
    };
    if manifest.intent == "join_datasets" || manifest.metadata.join_config.is_some() {
        fault("$.intent".into(), "joins are not available in this version", "an intent for one vector file");
    } else if manifest.files.len() > 1 {
        fault("$.files".into(), "several files in a manifest are not available in this version", "exactly one file");
    }
    for (i, file) in manifest.files.iter().enumerate().filter(|(_, f)| f.kind != FileType::Vector) {
        fault(
            format!("$.files[{i}].type"),
            &format!("{} files are not available in this version", file.kind),
            "vector",
        );
    }
    if faults.is_empty() {
        return Ok(SPATIAL_ASSET_JOB);
    }
    Err(Problem::new(Code::Unsupported, "this version cannot process the manifest")
        .faults(faults)
        .remedy("announce each vector file with a manifest of its own"))
}

#[cfg(test)]
mod tests {
    use super::{SPATIAL_ASSET_JOB, job_for};
    use catchment_model::Manifest;
    use serde_json::json;

    fn manifest(intent: &str, types: &[&str]) -> Manifest {
        let files: Vec<_> = types
            .iter()
            .enumerate()
            .map(|(i, t)| json!({"path": format!("s3://landing-zone/b/{i}"), "type": t, "format": "GPKG"}))
            .collect();
        serde_json::from_value(
            json!({"batch_id": "b", "uploader": "u", "intent": intent, "files": files, "metadata": {}}),
        )
        .unwrap()
    }

    #[test]
    fn one_vector_file_of_any_intent_goes_to_the_spatial_job() {
        assert_eq!(job_for(&manifest("whatever", &["vector"])).unwrap(), SPATIAL_ASSET_JOB);
    }

    #[test]
    fn what_is_not_there_yet_is_refused_with_every_place() {
        let problem = job_for(&manifest("ingest_vector", &["vector", "raster"])).unwrap_err();
        let places: Vec<&str> = problem.faults.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(places, ["$.files", "$.files[1].type"]);
    }
}
