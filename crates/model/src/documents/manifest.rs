//! What the ledger keeps of manifests, valid and invalid.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Status;
use crate::id::ObjectId;
use crate::manifest::{FileEntry, Manifest, ManifestMetadata};
use crate::problem::Problem;

/// A batch that was admitted (collection `manifests`); unique by `batch_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestDoc {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// The manifest's `batch_id`.
    #[schemars(length(min = 1, max = 256))]
    pub batch_id: String,
    /// Who the manifest says put the files there.
    #[schemars(length(min = 1, max = 256))]
    pub uploader: String,
    /// What was to be done.
    #[schemars(length(min = 1, max = 128))]
    pub intent: String,
    /// The files.
    pub files: Vec<FileEntry>,
    /// What the uploader knows about the data.
    pub metadata: ManifestMetadata,
    /// Where it stands.
    pub status: Status,
    /// The key of the manifest's object in the landing bucket, as it was announced.
    #[schemars(length(min = 1, max = 1024))]
    pub s3_key: String,
    /// The entity tag of that object, without quotes.
    #[schemars(length(min = 1, max = 256))]
    pub etag: String,
    /// Whose key put it, where the server tells.
    pub principal: Option<String>,
    /// When it was admitted.
    pub ingested_at: jiff::Timestamp,
    /// When its run ended.
    pub completed_at: Option<jiff::Timestamp>,
    /// When this document was last written.
    pub updated_at: jiff::Timestamp,
    /// Why it failed.
    pub error_message: Option<String>,
}

impl ManifestDoc {
    /// The document of a manifest that was just admitted.
    pub fn queued(
        id: ObjectId,
        manifest: Manifest,
        s3_key: String,
        etag: String,
        principal: Option<String>,
        now: jiff::Timestamp,
    ) -> Self {
        let Manifest { batch_id, uploader, intent, files, metadata } = manifest;
        Self {
            id,
            batch_id,
            uploader,
            intent,
            files,
            metadata,
            status: Status::Queued,
            s3_key,
            etag,
            principal,
            ingested_at: now,
            completed_at: None,
            updated_at: now,
            error_message: None,
        }
    }

    /// The manifest as its uploader wrote it.
    pub fn manifest(&self) -> Manifest {
        Manifest {
            batch_id: self.batch_id.clone(),
            uploader: self.uploader.clone(),
            intent: self.intent.clone(),
            files: self.files.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// A manifest that was refused (collection `rejected_manifests`); unique by object key and entity tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectedManifest {
    /// The document's id.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// The key of its object in the landing bucket, as it was announced.
    #[schemars(length(min = 1, max = 1024))]
    pub s3_key: String,
    /// The entity tag of that object, without quotes.
    #[schemars(length(min = 1, max = 256))]
    pub etag: String,
    /// Whose key put it, where the server tells.
    pub principal: Option<String>,
    /// Its `batch_id`, where it could be read.
    pub batch_id: Option<String>,
    /// Why it was refused, with every fault.
    pub problem: Problem,
    /// When it was refused.
    pub rejected_at: jiff::Timestamp,
}
