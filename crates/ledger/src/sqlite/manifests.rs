//! Manifests, admitted and refused.

use async_trait::async_trait;
use catchment_model::{ManifestDoc, RejectedManifest, Status};

use super::SqliteLedger;
use super::documents::{Bind, find, insert, page, replace};
use crate::{LedgerError, Manifests, Page, PageRequest, Result, StatusChange};

const BY_BATCH: &str = "doc ->> '$.batch_id' = ?";
const BY_OBJECT: &str = "doc ->> '$.s3_key' = ? AND doc ->> '$.etag' = ?";

#[async_trait]
impl Manifests for SqliteLedger {
    async fn record_manifest(&self, doc: ManifestDoc) -> Result<ManifestDoc> {
        self.write(async |tx| {
            let found: Option<ManifestDoc> =
                find(&mut **tx, "manifests", BY_BATCH, &[doc.batch_id.as_str().into()]).await?;
            match found {
                Some(found) if found.etag == doc.etag => Ok(found),
                Some(found) => Err(LedgerError::Conflict(format!(
                    "batch `{}`, from the object `{}`",
                    found.batch_id, found.s3_key
                ))),
                None => {
                    insert(&mut **tx, "manifests", doc.id, &doc).await?;
                    Ok(doc)
                }
            }
        })
        .await
    }

    async fn manifest(&self, batch_id: &str) -> Result<Option<ManifestDoc>> {
        find(&self.readers, "manifests", BY_BATCH, &[batch_id.into()]).await
    }

    async fn manifests(&self, request: PageRequest, status: Option<Status>) -> Result<Page<ManifestDoc>> {
        match status {
            None => page(&self.readers, "manifests", "true", Vec::new(), request).await,
            Some(status) => {
                let binds = vec![status.as_str().into()];
                page(&self.readers, "manifests", "doc ->> '$.status' = ?", binds, request).await
            }
        }
    }

    async fn set_manifest_status(&self, batch_id: &str, change: StatusChange) -> Result<bool> {
        self.write(async |tx| {
            let found: Option<ManifestDoc> = find(&mut **tx, "manifests", BY_BATCH, &[batch_id.into()]).await?;
            let Some(mut doc) = found else { return Ok(false) };
            doc.status = change.status;
            doc.error_message = change.error_message;
            doc.completed_at = change.status.is_final().then_some(change.at);
            doc.updated_at = change.at;
            replace(&mut **tx, "manifests", doc.id, &doc).await?;
            Ok(true)
        })
        .await
    }

    async fn reject_manifest(&self, doc: RejectedManifest) -> Result<RejectedManifest> {
        self.write(async |tx| {
            let binds: [Bind<'_>; 2] = [doc.s3_key.as_str().into(), doc.etag.as_str().into()];
            if let Some(found) = find(&mut **tx, "rejected_manifests", BY_OBJECT, &binds).await? {
                return Ok(found);
            }
            insert(&mut **tx, "rejected_manifests", doc.id, &doc).await?;
            Ok(doc)
        })
        .await
    }

    async fn rejected_manifests(&self, request: PageRequest) -> Result<Page<RejectedManifest>> {
        page(&self.readers, "rejected_manifests", "true", Vec::new(), request).await
    }
}
