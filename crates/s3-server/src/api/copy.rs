//! Copying: a copy shares the bytes of its source, so it takes no time and no space.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::objects::{shown, write_condition};
use super::{Answer, Store, now_ms, principal, refuse, to_its_end};
use crate::attributes::Attributes;
use crate::conditions::{ReadConditions, timestamp};
use crate::index::{NewObject, WriteCondition};

/// The bucket and key of a copy's source.
pub(super) fn source(source: &CopySource) -> S3Result<(&str, &str)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            refuse::version(version_id.as_deref())?;
            Ok((bucket, key))
        }
        _ => Err(s3_error!(NotImplemented, "the source of a copy must be a bucket and a key")),
    }
}

impl Store {
    pub(super) async fn do_copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        refuse::unsupported(&request.headers)?;
        let principal = principal(&request)?.name;
        let condition = copy_condition(&request)?;
        let input = request.input;
        let (from_bucket, from_key) = source(&input.copy_source)?;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(other) => {
                return Err(s3_error!(InvalidArgument, "the metadata directive {other} is neither COPY nor REPLACE"));
            }
        };
        if !replace && from_bucket == input.bucket && from_key == input.key {
            return Err(s3_error!(
                InvalidRequest,
                "an object is copied onto itself only with new metadata (metadata directive REPLACE)"
            ));
        }
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match.clone(),
            if_none_match: input.copy_source_if_none_match.clone(),
            if_modified_since: input.copy_source_if_modified_since.clone(),
            if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
        };
        let mut given = Attributes {
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            ..Attributes::default()
        };
        given.set_encoding(input.content_encoding);
        given.set_expires(input.expires.as_ref());
        given.set_metadata(input.metadata)?;
        // Where the source is replaced between the look at it and the copy, the look is taken again.
        loop {
            let object = self.index.object(from_bucket, from_key).await?;
            conditions.check_source(&object)?;
            let new = NewObject {
                bucket: input.bucket.clone(),
                key: input.key.clone(),
                size: object.size,
                etag: object.etag.clone(),
                modified_ms: now_ms(),
                principal: principal.clone(),
                attributes: if replace { given.clone() } else { object.attributes.clone() },
                checksums: object.checksums.clone(),
                layout: object.layout.clone(),
            };
            let (store, condition) = (self.clone(), condition.clone());
            let modified_ms = new.modified_ms;
            let copied = to_its_end(async move {
                let Some(freed) = store.index.copy(object.id, &new, &condition).await? else { return Ok(false) };
                store.announce(&new.bucket, &new.key);
                store.discard(freed);
                Ok(true)
            })
            .await?;
            if copied {
                let sums = shown(&object.checksums, true);
                let result = CopyObjectResult {
                    e_tag: Some(ETag::Strong(object.etag)),
                    last_modified: Some(timestamp(modified_ms)),
                    checksum_crc32: sums.checksum_crc32,
                    checksum_crc32c: sums.checksum_crc32c,
                    checksum_crc64nvme: sums.checksum_crc64nvme,
                    checksum_sha1: sums.checksum_sha1,
                    checksum_sha256: sums.checksum_sha256,
                    checksum_type: sums.checksum_type,
                };
                return Ok(S3Response::new(CopyObjectOutput {
                    copy_object_result: Some(result),
                    ..Default::default()
                }));
            }
        }
    }
}

/// The conditions on the target, which the S3 layer leaves in the headers.
fn copy_condition(request: &S3Request<CopyObjectInput>) -> S3Result<WriteCondition> {
    let header = |name: http::HeaderName| {
        request
            .headers
            .get(&name)
            .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
            .transpose()
            .map_err(|_| s3_error!(InvalidArgument, "the header {name} is neither * nor an ETag"))
    };
    write_condition(header(http::header::IF_MATCH)?, header(http::header::IF_NONE_MATCH)?.as_ref())
}
