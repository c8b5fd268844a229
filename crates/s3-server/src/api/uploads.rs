//! Listing parts and unfinished uploads.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::listing::{Encoder, limit};
use super::objects::{kind, length, shown};
use super::{Answer, Store};
use crate::conditions::timestamp;
use crate::index::{ListRequest, Upload, UploadListing, common_prefix};

impl Store {
    pub(super) async fn do_list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let input = request.input;
        let upload = self.index.upload(&input.bucket, &input.key, &input.upload_id).await?;
        let max_parts = limit(input.max_parts)?;
        let count = usize::try_from(max_parts).unwrap_or(0);
        let marker = input.part_number_marker.unwrap_or(0);
        let mut stored = self.index.parts(&upload.id, marker, count + 1).await?;
        let truncated = stored.len() > count;
        stored.truncate(count);
        let next = stored.last().map(|part| part.number);
        let parts = stored
            .into_iter()
            .map(|part| {
                let sums = shown(&part.checksums, true);
                Part {
                    part_number: Some(part.number),
                    size: Some(length(part.size)),
                    e_tag: Some(ETag::Strong(part.etag)),
                    last_modified: Some(timestamp(part.modified_ms)),
                    checksum_crc32: sums.checksum_crc32,
                    checksum_crc32c: sums.checksum_crc32c,
                    checksum_crc64nvme: sums.checksum_crc64nvme,
                    checksum_sha1: sums.checksum_sha1,
                    checksum_sha256: sums.checksum_sha256,
                }
            })
            .collect();
        let who = Some(upload.principal);
        Ok(S3Response::new(ListPartsOutput {
            parts: Some(parts),
            is_truncated: Some(truncated),
            next_part_number_marker: next.filter(|_| truncated),
            part_number_marker: Some(marker),
            max_parts: Some(max_parts),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            initiator: Some(Initiator { id: who.clone(), display_name: who.clone() }),
            owner: Some(Owner { id: who.clone(), display_name: who }),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: upload.checksum.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
            checksum_type: upload
                .checksum
                .algorithm
                .map(|_| ChecksumType::from_static(kind(upload.checksum.composite))),
            ..Default::default()
        }))
    }

    pub(super) async fn do_list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let input = request.input;
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let max_uploads = limit(input.max_uploads)?;
        let page = self.upload_page(&input, usize::try_from(max_uploads).unwrap_or(0)).await?;
        let uploads = page.uploads.iter().map(|upload| {
            let who = Some(upload.principal.clone());
            MultipartUpload {
                key: Some(encoder.write(&upload.key)),
                upload_id: Some(upload.id.clone()),
                initiated: Some(timestamp(upload.initiated_ms)),
                initiator: Some(Initiator { id: who.clone(), display_name: who.clone() }),
                owner: Some(Owner { id: who.clone(), display_name: who }),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                checksum_algorithm: upload.checksum.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
                ..Default::default()
            }
        });
        let prefixes = page.prefixes.iter().map(|p| CommonPrefix { prefix: Some(encoder.write(p)) }).collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            common_prefixes: Some(prefixes),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: page.next.as_ref().map(|(key, _)| encoder.write(key)),
            next_upload_id_marker: page.next.map(|(_, id)| id),
            key_marker: encoder.write_option(input.key_marker.as_deref()),
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(max_uploads),
            prefix: encoder.write_option(input.prefix.as_deref()),
            delimiter: encoder.write_option(input.delimiter.as_deref()),
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            request_charged: None,
        }))
    }

    /// One page of uploads; those whose keys share a common prefix are one entry.
    async fn upload_page(&self, input: &ListMultipartUploadsInput, limit: usize) -> S3Result<UploadPage> {
        let rolled = ListRequest {
            bucket: &input.bucket,
            prefix: input.prefix.as_deref().unwrap_or_default(),
            delimiter: input.delimiter.as_deref().filter(|d| !d.is_empty()),
            ..Default::default()
        };
        let mut page = UploadPage::default();
        let mut marker = (input.key_marker.clone().unwrap_or_default(), input.upload_id_marker.clone());
        let mut last: Option<(String, String)> = None;
        loop {
            let request = UploadListing {
                bucket: &input.bucket,
                prefix: rolled.prefix,
                key_marker: &marker.0,
                id_marker: marker.1.as_deref(),
                limit: 1000,
            };
            let batch = self.index.uploads(&request).await?;
            let full = batch.len() == 1000;
            for upload in batch {
                let place = (upload.key.clone(), upload.id.clone());
                let prefix = common_prefix(&upload.key, &rolled);
                let known = prefix.is_some() && page.prefixes.last() == prefix.as_ref();
                if !known {
                    if page.uploads.len() + page.prefixes.len() >= limit {
                        page.next = last.filter(|_| limit > 0);
                        return Ok(page);
                    }
                    match prefix {
                        Some(prefix) => page.prefixes.push(prefix),
                        None => page.uploads.push(upload),
                    }
                }
                marker = (place.0.clone(), Some(place.1.clone()));
                last = Some(place);
            }
            if !full {
                return Ok(page);
            }
        }
    }
}

#[derive(Default)]
struct UploadPage {
    uploads: Vec<Upload>,
    prefixes: Vec<String>,
    next: Option<(String, String)>,
}
