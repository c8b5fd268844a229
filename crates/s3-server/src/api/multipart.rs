//! Multipart uploads.

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use uuid::Uuid;

use super::copy::source;
use super::objects::{kind, length, shown, write_condition};
use super::{Answer, Store, now_ms, principal, refuse, to_its_end};
use crate::attributes::Attributes;
use crate::body::{self, Claims};
use crate::checksums::{self, Algorithm, Checksums};
use crate::conditions::{ReadConditions, timestamp};
use crate::index::{
    ChecksumPlan, Completion, IndexError, Layout, NewObject, NewPart, ObjectPart, Part as StoredPart, Segment, Upload,
};
use crate::read;

/// All parts but the last have at least this many bytes.
const MIN_PART: u64 = 5 << 20;
const MAX_PART_NUMBER: i32 = 10_000;

fn part_number(number: i32) -> S3Result<i32> {
    if (1..=MAX_PART_NUMBER).contains(&number) {
        return Ok(number);
    }
    Err(s3_error!(InvalidArgument, "the part number {number} is not between 1 and {MAX_PART_NUMBER}"))
}

/// Which checksum an upload keeps. CRC64NVME is always of the whole object; the others of the parts unless asked.
fn plan(algorithm: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> S3Result<ChecksumPlan> {
    let algorithm = algorithm.map(|a| Algorithm::parse(a.as_str())).transpose()?;
    let full = match (kind.map(ChecksumType::as_str), algorithm) {
        (Some(ChecksumType::FULL_OBJECT), Some(Algorithm::Sha1 | Algorithm::Sha256)) => {
            return Err(s3_error!(InvalidRequest, "SHA checksums of a multipart object can only be COMPOSITE"));
        }
        (Some(ChecksumType::COMPOSITE), Some(Algorithm::Crc64nvme)) => {
            return Err(s3_error!(InvalidRequest, "the CRC64NVME of a multipart object can only be FULL_OBJECT"));
        }
        (Some(ChecksumType::FULL_OBJECT), _) | (None, Some(Algorithm::Crc64nvme)) => true,
        _ => false,
    };
    Ok(ChecksumPlan { algorithm, composite: !full })
}

impl Store {
    pub(super) async fn do_create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        refuse::unsupported(&request.headers)?;
        let principal = principal(&request)?.name;
        let input = request.input;
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
        let upload = Upload {
            id: Uuid::new_v4().simple().to_string(),
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            initiated_ms: now_ms(),
            principal,
            attributes,
            checksum: plan(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?,
        };
        let checksum_type =
            upload.checksum.algorithm.map(|_| ChecksumType::from_static(kind(upload.checksum.composite)));
        let id = upload.id.clone();
        let index = self.index.clone();
        to_its_end(async move { Ok(index.create_upload(&upload).await?) }).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type,
            ..Default::default()
        }))
    }

    pub(super) async fn do_upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let input = request.input;
        let number = part_number(input.part_number)?;
        let upload = self.index.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let claimed = Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
            composite: false,
        };
        let algorithm = input.checksum_algorithm.as_ref().map(ChecksumAlgorithm::as_str);
        let mut wanted = checksums::wanted(&claimed, algorithm, &request.headers)?;
        wanted.extend(upload.checksum.algorithm);
        let claims = Claims {
            length: input.content_length.map(i64::unsigned_abs),
            md5: input.content_md5.as_deref().map(checksums::parse_md5).transpose()?,
            checksums: claimed,
            wanted,
            trailers: request.trailing_headers,
        };
        let received = body::receive(&self.blobs, input.body, claims).await?;
        let part = StoredPart {
            number,
            size: received.size,
            etag: received.etag,
            modified_ms: now_ms(),
            checksums: received.checksums,
            segments: Layout::single(received.draft.as_ref().map(|d| d.name()), received.size).segments,
        };
        let (etag, sums) = (part.etag.clone(), shown(&part.checksums, true));
        let store = self.clone();
        to_its_end(async move {
            let new =
                NewPart { bucket: &upload.bucket, key: &upload.key, upload: &upload.id, part: &part, source_id: None };
            let freed = store.index.put_part(&new).await?;
            if let Some(draft) = received.draft {
                draft.keep();
            }
            store.discard(freed.unwrap_or_default());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            ..Default::default()
        }))
    }

    pub(super) async fn do_upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = request.input;
        let number = part_number(input.part_number)?;
        let upload = self.index.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let (from_bucket, from_key) = source(&input.copy_source)?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        loop {
            let (object, lease) = self.leased(from_bucket, from_key).await?;
            conditions.check_source(&object)?;
            let range = match input.copy_source_range.as_deref() {
                None => 0..object.size,
                Some(text) => match Range::parse(text) {
                    Ok(Range::Int { first, last: Some(last) }) if last < object.size => first..last + 1,
                    _ => {
                        return Err(s3_error!(
                            InvalidArgument,
                            "the range {text} is not bytes=first-last within the source's {} bytes",
                            object.size
                        ));
                    }
                },
            };
            let segments = read::cut(&object.layout.segments, &range);
            let (etag, checksums) = self.digest(lease, segments.clone(), upload.checksum.algorithm).await?;
            let part =
                StoredPart { number, size: range.end - range.start, etag, modified_ms: now_ms(), checksums, segments };
            let (etag, sums, modified) = (part.etag.clone(), shown(&part.checksums, true), part.modified_ms);
            let (store, upload) = (self.clone(), upload.clone());
            let copied = to_its_end(async move {
                let new = NewPart {
                    bucket: &upload.bucket,
                    key: &upload.key,
                    upload: &upload.id,
                    part: &part,
                    source_id: Some(object.id),
                };
                let Some(freed) = store.index.put_part(&new).await? else { return Ok(false) };
                store.discard(freed);
                Ok(true)
            })
            .await?;
            if copied {
                let result = CopyPartResult {
                    e_tag: Some(ETag::Strong(etag)),
                    last_modified: Some(timestamp(modified)),
                    checksum_crc32: sums.checksum_crc32,
                    checksum_crc32c: sums.checksum_crc32c,
                    checksum_crc64nvme: sums.checksum_crc64nvme,
                    checksum_sha1: sums.checksum_sha1,
                    checksum_sha256: sums.checksum_sha256,
                };
                return Ok(S3Response::new(UploadPartCopyOutput {
                    copy_part_result: Some(result),
                    ..Default::default()
                }));
            }
        }
    }

    /// MD5 and checksum of bytes that are stored.
    async fn digest(
        &self,
        lease: crate::blobs::Lease,
        segments: Vec<Segment>,
        algorithm: Option<Algorithm>,
    ) -> S3Result<(String, Checksums)> {
        use futures::TryStreamExt as _;
        let hashers = (Md5::new(), checksums::hasher(algorithm.as_slice()));
        let (md5, sums) = read::stream(self.blobs.clone(), lease, segments)
            .try_fold(hashers, |(mut md5, mut sums), piece| async move {
                md5.update(&piece);
                sums.update(&piece);
                Ok((md5, sums))
            })
            .await
            .map_err(body::disk)?;
        Ok((hex::encode(md5.finalize()), checksums::finish(sums)))
    }

    pub(super) async fn do_complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let principal = principal(&request)?.name;
        let input = request.input;
        let condition = write_condition(input.if_match.clone(), input.if_none_match.as_ref())?;
        let named = input.multipart_upload.and_then(|m| m.parts).unwrap_or_default();
        let upload = match self.index.upload(&input.bucket, &input.key, &input.upload_id).await {
            // Completed before, and the answer was lost on its way: the same completion is answered again.
            Err(IndexError::Refused(S3ErrorCode::NoSuchUpload, why)) => {
                let etag = multipart_etag(named.iter().filter_map(|part| part.e_tag.as_ref()).map(ETag::value));
                let current = self.index.current(&input.bucket, &input.key).await?;
                if current.is_none_or(|(_, found)| found != etag) {
                    return Err(S3Error::with_message(S3ErrorCode::NoSuchUpload, why));
                }
                return Ok(S3Response::new(CompleteMultipartUploadOutput {
                    location: Some(format!("/{}/{}", input.bucket, input.key)),
                    bucket: Some(input.bucket),
                    key: Some(input.key),
                    e_tag: Some(ETag::Strong(etag)),
                    ..Default::default()
                }));
            }
            other => other?,
        };
        let stored = self.index.parts(&upload.id, 0, 10_001).await?;
        let chosen = choose(named, stored)?;
        let size: u64 = chosen.iter().map(|part| part.size).sum();
        if let Some(claimed) = input.mpu_object_size.filter(|claimed| *claimed != length(size)) {
            return Err(s3_error!(InvalidRequest, "the parts have {size} bytes together, not {claimed}"));
        }
        let etag = multipart_etag(chosen.iter().map(|part| part.etag.as_str()));
        let sums: Vec<(&Checksums, u64)> = chosen.iter().map(|part| (&part.checksums, part.size)).collect();
        let checksums = upload
            .checksum
            .algorithm
            .and_then(|a| checksums::of_parts(a, upload.checksum.composite, &sums))
            .unwrap_or_default();
        let claimed = Checksums {
            crc32: input.checksum_crc32,
            crc32c: input.checksum_crc32c,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
            composite: checksums.composite,
        };
        claimed.verify(&checksums)?;
        let parts: Vec<(i32, String)> = chosen.iter().map(|part| (part.number, part.etag.clone())).collect();
        let layout = Layout {
            parts: chosen
                .iter()
                .map(|p| ObjectPart { number: p.number, size: p.size, checksums: p.checksums.clone() })
                .collect(),
            segments: chosen.into_iter().flat_map(|part| part.segments).collect(),
        };
        let object = NewObject {
            bucket: upload.bucket.clone(),
            key: upload.key.clone(),
            size,
            etag: etag.clone(),
            modified_ms: now_ms(),
            principal,
            attributes: upload.attributes.clone(),
            checksums: checksums.clone(),
            layout,
        };
        let store = self.clone();
        to_its_end(async move {
            let completion = Completion { upload: &upload.id, object: &object, parts: &parts, condition: &condition };
            let freed = store.index.complete(&completion).await?;
            store.announce(&object.bucket, &object.key);
            store.discard(freed);
            Ok(())
        })
        .await?;
        let sums = shown(&checksums, true);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
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

    pub(super) async fn do_abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = request.input;
        let store = self.clone();
        to_its_end(async move {
            let freed = store.index.abort(&input.bucket, &input.key, &input.upload_id).await?;
            store.discard(freed);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// The ETag of a multipart object: MD5 of its parts' MD5s, and their number.
fn multipart_etag<'a>(etags: impl Iterator<Item = &'a str>) -> String {
    let mut md5 = Md5::new();
    let mut count = 0;
    for etag in etags {
        md5.update(&hex::decode(etag).unwrap_or_default());
        count += 1;
    }
    format!("{}-{count}", hex::encode(md5.finalize()))
}

/// The stored parts that a completion names, in ascending order, each as it was uploaded.
fn choose(named: Vec<CompletedPart>, stored: Vec<StoredPart>) -> S3Result<Vec<StoredPart>> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML, "a completion names at least one part"));
    }
    let mut stored: std::collections::HashMap<i32, StoredPart> = stored.into_iter().map(|p| (p.number, p)).collect();
    let mut chosen: Vec<StoredPart> = Vec::with_capacity(named.len());
    for part in named {
        let number = part.part_number.unwrap_or_default();
        if chosen.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(InvalidPartOrder, "the parts are not named in ascending order"));
        }
        let Some(found) = stored.remove(&number) else {
            return Err(s3_error!(InvalidPart, "part {number} was not uploaded"));
        };
        if part.e_tag.as_ref().is_none_or(|etag| etag.value() != found.etag) {
            return Err(s3_error!(InvalidPart, "the ETag of part {number} is \"{}\"", found.etag));
        }
        let claimed = Checksums {
            crc32: part.checksum_crc32,
            crc32c: part.checksum_crc32c,
            crc64nvme: part.checksum_crc64nvme,
            sha1: part.checksum_sha1,
            sha256: part.checksum_sha256,
            composite: false,
        };
        if claimed.verify(&found.checksums).is_err() {
            return Err(s3_error!(InvalidPart, "the checksum of part {number} is another"));
        }
        if let Some(small) = chosen.last().filter(|last| last.size < MIN_PART) {
            return Err(s3_error!(
                EntityTooSmall,
                "part {} has {} bytes; all but the last need {MIN_PART}",
                small.number,
                small.size
            ));
        }
        chosen.push(found);
    }
    Ok(chosen)
}
