//! Putting, getting and deleting single objects.

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::refuse;
use super::{Answer, Store, now_ms, principal, to_its_end};
use crate::attributes::Attributes;
use crate::body::{self, Claims};
use crate::checksums::{self, Checksums};
use crate::conditions::{ReadConditions, Window, timestamp, window};
use crate::index::{IndexError, Layout, NewObject, Object, Segment, WriteCondition};
use crate::read;

/// `If-Match` and `If-None-Match` of a write; of the second, S3 knows only `*`.
pub(super) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<WriteCondition> {
    match if_none_match {
        Some(ETagCondition::ETag(_)) => Err(s3_error!(NotImplemented, "If-None-Match of a write takes only *")),
        other => Ok(WriteCondition { if_match, if_absent: other.is_some() }),
    }
}

/// The answered checksums: all of them, where the client asks and gets the whole object.
pub(super) fn shown(checksums: &Checksums, asked: bool) -> Checksum {
    if !asked || checksums.is_empty() {
        return Checksum::default();
    }
    let sums = checksums.clone();
    Checksum {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: Some(ChecksumType::from_static(kind(sums.composite))),
    }
}

pub(super) fn kind(composite: bool) -> &'static str {
    if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT }
}

impl Store {
    pub(super) async fn do_put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        refuse::unsupported(&request.headers)?;
        let principal = principal(&request)?.name;
        let input = request.input;
        let condition = write_condition(input.if_match, input.if_none_match.as_ref())?;
        let (bucket, key) = (input.bucket, input.key);
        self.index.bucket(&bucket).await?;
        if condition.if_absent || condition.if_match.is_some() {
            let current = self.index.current(&bucket, &key).await?;
            condition.check(&key, current.as_ref().map(|(_, etag)| etag.as_str()))?;
        }
        let mut attributes = Attributes {
            content_type: input.content_type,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            ..Attributes::default()
        };
        attributes.set_encoding(input.content_encoding);
        attributes.set_expires(input.expires.as_ref());
        attributes.set_metadata(input.metadata)?;
        let claimed = Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
            composite: false,
        };
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let claims = Claims {
            length: input.content_length.map(i64::unsigned_abs),
            md5: input.content_md5.as_deref().map(checksums::parse_md5).transpose()?,
            wanted: checksums::wanted(&claimed, algorithm, &request.headers)?,
            checksums: claimed,
            trailers: request.trailing_headers,
        };
        let received = body::receive(&self.blobs, input.body, claims).await?;
        let new = NewObject {
            bucket,
            key,
            size: received.size,
            etag: received.etag.clone(),
            modified_ms: now_ms(),
            principal,
            attributes,
            checksums: received.checksums.clone(),
            layout: Layout::single(received.draft.as_ref().map(|d| d.name()), received.size),
        };
        let sums = shown(&received.checksums, true);
        let etag = received.etag.clone();
        let store = self.clone();
        to_its_end(async move {
            let freed = store.index.put(&new, &condition).await?;
            if let Some(draft) = received.draft {
                draft.keep();
            }
            store.announce(&new.bucket, &new.key);
            store.discard(freed);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        }))
    }

    /// The object with a lease on its bytes: what is read is what was found, whatever happens meanwhile.
    pub(super) async fn leased(&self, bucket: &str, key: &str) -> S3Result<(Object, crate::blobs::Lease)> {
        loop {
            let object = self.index.object(bucket, key).await?;
            let lease = self.blobs.lease(object.layout.segments.iter().map(|s| s.blob.clone()));
            // Replaced between the two: its blobs may be gone already, so look again.
            if self.index.current(bucket, key).await?.is_some_and(|(id, _)| id == object.id) {
                return Ok((object, lease));
            }
        }
    }

    pub(super) async fn do_get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        refuse::version(request.input.version_id.as_deref())?;
        let input = request.input;
        let (object, lease) = self.leased(&input.bucket, &input.key).await?;
        ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        }
        .check_read(&object)?;
        let Window { bytes, content_range } = window(&object, input.range, input.part_number)?;
        let segments: Vec<Segment> = read::cut(&object.layout.segments, &bytes);
        let whole = bytes == (0..object.size);
        let sums = shown(&object.checksums, input.checksum_mode.is_some() && whole);
        let body = StreamingBlob::wrap(read::stream(self.blobs.clone(), lease, segments));
        let attributes = &object.attributes;
        Ok(S3Response::new(GetObjectOutput {
            body: Some(body),
            accept_ranges: Some("bytes".into()),
            content_length: Some(length(bytes.end - bytes.start)),
            content_range,
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            content_type: Some(attributes.answered_type()),
            content_encoding: attributes.content_encoding.clone(),
            content_disposition: attributes.content_disposition.clone(),
            content_language: attributes.content_language.clone(),
            cache_control: attributes.cache_control.clone(),
            expires: attributes.answered_expires(),
            metadata: Some(attributes.answered_metadata(&object.principal)),
            parts_count: input.part_number.and(parts_count(&object)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        }))
    }

    pub(super) async fn do_head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        refuse::version(request.input.version_id.as_deref())?;
        let input = request.input;
        let object = self.index.object(&input.bucket, &input.key).await?;
        ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        }
        .check_read(&object)?;
        let Window { bytes, content_range } = window(&object, input.range, input.part_number)?;
        let whole = bytes == (0..object.size);
        let sums = shown(&object.checksums, input.checksum_mode.is_some() && whole);
        let status = content_range.as_ref().map(|_| http::StatusCode::PARTIAL_CONTENT);
        let attributes = &object.attributes;
        let mut response = S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(length(bytes.end - bytes.start)),
            content_range,
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            content_type: Some(input.response_content_type.unwrap_or_else(|| attributes.answered_type())),
            content_encoding: input.response_content_encoding.or_else(|| attributes.content_encoding.clone()),
            content_disposition: input.response_content_disposition.or_else(|| attributes.content_disposition.clone()),
            content_language: input.response_content_language.or_else(|| attributes.content_language.clone()),
            cache_control: input.response_cache_control.or_else(|| attributes.cache_control.clone()),
            expires: input.response_expires.or_else(|| attributes.answered_expires()),
            metadata: Some(attributes.answered_metadata(&object.principal)),
            parts_count: input.part_number.and(parts_count(&object)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            checksum_type: sums.checksum_type,
            ..Default::default()
        });
        response.status = status;
        Ok(response)
    }

    pub(super) async fn do_get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Answer<GetObjectTaggingOutput> {
        refuse::version(request.input.version_id.as_deref())?;
        self.index.object(&request.input.bucket, &request.input.key).await?;
        Ok(S3Response::new(GetObjectTaggingOutput::default()))
    }

    pub(super) async fn do_get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> Answer<GetObjectAttributesOutput> {
        refuse::version(request.input.version_id.as_deref())?;
        let input = request.input;
        let object = self.index.object(&input.bucket, &input.key).await?;
        let asked =
            |name: &str| input.object_attributes.iter().any(|a| a.as_str().split(',').any(|a| a.trim() == name));
        let parts = (asked(ObjectAttributes::OBJECT_PARTS) && !object.layout.parts.is_empty()).then(|| {
            let limit = usize::try_from(input.max_parts.unwrap_or(1000)).unwrap_or(0).min(1000);
            let marker = input.part_number_marker.unwrap_or(0);
            let numbered = (1..).zip(&object.layout.parts).filter(|(n, _)| *n > marker);
            let page: Vec<ObjectPart> = numbered
                .take(limit)
                .map(|(n, part)| ObjectPart {
                    part_number: Some(n),
                    size: Some(length(part.size)),
                    checksum_crc32: part.checksums.crc32.clone(),
                    checksum_crc32c: part.checksums.crc32c.clone(),
                    checksum_crc64nvme: part.checksums.crc64nvme.clone(),
                    checksum_sha1: part.checksums.sha1.clone(),
                    checksum_sha256: part.checksums.sha256.clone(),
                })
                .collect();
            let last = page.last().and_then(|p| p.part_number);
            GetObjectAttributesParts {
                is_truncated: Some(last.is_some_and(|n| Some(n) < parts_count(&object))),
                max_parts: Some(i32::try_from(limit).unwrap_or(1000)),
                next_part_number_marker: last,
                part_number_marker: Some(marker),
                total_parts_count: parts_count(&object),
                parts: Some(page),
            }
        });
        let checksum =
            (asked(ObjectAttributes::CHECKSUM) && !object.checksums.is_empty()).then(|| shown(&object.checksums, true));
        Ok(S3Response::new(GetObjectAttributesOutput {
            checksum,
            e_tag: asked(ObjectAttributes::ETAG).then(|| ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified_ms)),
            object_parts: parts,
            object_size: asked(ObjectAttributes::OBJECT_SIZE).then(|| length(object.size)),
            storage_class: asked(ObjectAttributes::STORAGE_CLASS)
                .then(|| StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        }))
    }

    pub(super) async fn do_delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        refuse::version(request.input.version_id.as_deref())?;
        let input = request.input;
        if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
            return Err(s3_error!(NotImplemented, "a delete takes If-Match alone as its condition"));
        }
        let condition = WriteCondition { if_match: input.if_match, if_absent: false };
        self.delete(input.bucket, vec![(input.key, condition)]).await?.pop().unwrap_or(Ok(()))?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn do_delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let input = request.input;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML, "at most 1000 objects can be deleted at once"));
        }
        let mut errors = Vec::new();
        let mut keys = Vec::new();
        for object in input.delete.objects {
            match refuse::version(object.version_id.as_deref()) {
                Ok(()) => {
                    let if_match = object.e_tag.map(ETagCondition::ETag);
                    keys.push((object.key, WriteCondition { if_match, if_absent: false }));
                }
                Err(error) => errors.push(deletion_error(object.key, &error)),
            }
        }
        let names: Vec<String> = keys.iter().map(|(key, _)| key.clone()).collect();
        let mut deleted = Vec::new();
        for (key, outcome) in names.into_iter().zip(self.delete(input.bucket, keys).await?) {
            match outcome {
                Ok(()) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
                Err(error) => errors.push(deletion_error(key, &error.into())),
            }
        }
        if input.delete.quiet == Some(true) {
            deleted.clear();
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() }))
    }

    async fn delete(
        &self,
        bucket: String,
        keys: Vec<(String, WriteCondition)>,
    ) -> S3Result<Vec<Result<(), IndexError>>> {
        let store = self.clone();
        to_its_end(async move {
            let (outcomes, freed) = store.index.delete(&bucket, &keys).await?;
            store.discard(freed);
            Ok(outcomes)
        })
        .await
    }
}

fn deletion_error(key: String, error: &S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        key: Some(key),
        version_id: None,
    }
}

/// A size as the S3 layer has it.
pub(super) fn length(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn parts_count(object: &Object) -> Option<i32> {
    let count = object.layout.parts.len();
    (count > 0).then(|| i32::try_from(count).unwrap_or(i32::MAX))
}
