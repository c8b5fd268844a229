//! The S3 operations, by subject; what is not here is answered with `NotImplemented`.

mod buckets;
mod copy;
mod listing;
mod multipart;
mod objects;
mod refuse;
mod uploads;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use catchment_settings::{clock, task, wake};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use crate::access::{Keyring, Principal};
use crate::blobs::BlobStore;
use crate::index::{Freed, Index};

/// The store behind the API. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) index: Arc<Index>,
    pub(crate) blobs: Arc<BlobStore>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) wake_socket: Arc<PathBuf>,
}

/// Keys under which a new object wakes the daemon.
const MANIFESTS: &str = "manifests/";

impl Store {
    /// Removes the files of blobs that a committed change has freed; nobody waits for it.
    pub(crate) fn discard(&self, freed: Freed) {
        if !freed.is_empty() {
            let blobs = self.blobs.clone();
            drop(tokio::task::spawn_blocking(move || blobs.remove(freed)));
        }
    }

    /// Tells the daemon of a new manifest.
    fn announce(&self, bucket: &str, key: &str) {
        if bucket == self.keyring.landing_bucket && key.starts_with(MANIFESTS) {
            wake::wake(&self.wake_socket);
        }
    }
}

fn now_ms() -> i64 {
    clock::now().as_millisecond()
}

fn principal<T>(request: &S3Request<T>) -> S3Result<Principal> {
    request.extensions.get().cloned().ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))
}

/// Runs a change to its end, also where the client goes away meanwhile and this future is dropped.
async fn to_its_end<T, F>(change: F) -> S3Result<T>
where
    T: Send + 'static,
    F: Future<Output = S3Result<T>> + Send + 'static,
{
    task::spawn("s3-change", change)
        .await
        .unwrap_or_else(|e| Err(S3Error::with_source(S3ErrorCode::InternalError, Box::new(e))))
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Store {
    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        self.do_list_buckets(request).await
    }
    async fn create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        self.do_create_bucket(request).await
    }
    async fn delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.do_delete_bucket(request).await
    }
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.do_head_bucket(request).await
    }
    async fn get_bucket_location(&self, request: S3Request<GetBucketLocationInput>) -> Answer<GetBucketLocationOutput> {
        self.do_get_bucket_location(request).await
    }
    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        self.do_get_bucket_versioning(request).await
    }
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        self.do_put_object(request).await
    }
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        self.do_get_object(request).await
    }
    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        self.do_head_object(request).await
    }
    async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> Answer<GetObjectAttributesOutput> {
        self.do_get_object_attributes(request).await
    }
    async fn get_object_tagging(&self, request: S3Request<GetObjectTaggingInput>) -> Answer<GetObjectTaggingOutput> {
        self.do_get_object_tagging(request).await
    }
    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.do_delete_object(request).await
    }
    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        self.do_delete_objects(request).await
    }
    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        self.do_copy_object(request).await
    }
    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        self.do_list_objects(request).await
    }
    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        self.do_list_objects_v2(request).await
    }
    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.do_create_multipart_upload(request).await
    }
    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        self.do_upload_part(request).await
    }
    async fn upload_part_copy(&self, request: S3Request<UploadPartCopyInput>) -> Answer<UploadPartCopyOutput> {
        self.do_upload_part_copy(request).await
    }
    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.do_complete_multipart_upload(request).await
    }
    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.do_abort_multipart_upload(request).await
    }
    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.do_list_parts(request).await
    }
    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.do_list_multipart_uploads(request).await
    }
}
