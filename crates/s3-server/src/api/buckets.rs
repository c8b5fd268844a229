//! Bucket operations.

use s3s::dto::*;
use s3s::{S3Request, S3Response, s3_error};

use super::{Answer, Store, now_ms, principal, to_its_end};
use crate::conditions::timestamp;

/// Its path belongs to the health check.
const RESERVED: &str = "healthz";

impl Store {
    pub(super) async fn do_list_buckets(&self, request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let asks = principal(&request)?;
        let prefix = request.input.prefix.clone().unwrap_or_default();
        let buckets = self
            .index
            .buckets()
            .await?
            .into_iter()
            .filter(|(name, _)| name.starts_with(&prefix) && self.keyring.may_read(asks.role, name))
            .map(|(name, ms)| Bucket { name: Some(name), creation_date: Some(timestamp(ms)), ..Default::default() })
            .collect();
        let owner = Owner { id: Some(asks.name.clone()), display_name: Some(asks.name) };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            owner: Some(owner),
            prefix: request.input.prefix,
            ..Default::default()
        }))
    }

    pub(super) async fn do_create_bucket(&self, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        super::refuse::unsupported(&request.headers)?;
        let name = request.input.bucket;
        if name == RESERVED {
            return Err(s3_error!(InvalidBucketName, "a bucket cannot be named {RESERVED}"));
        }
        let location = format!("/{name}");
        let index = self.index.clone();
        let made = to_its_end(async move { Ok(index.create_bucket(&name, now_ms()).await?) }).await?;
        if !made {
            return Err(s3_error!(BucketAlreadyOwnedByYou, "the bucket is there already"));
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    pub(super) async fn do_delete_bucket(&self, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        let name = request.input.bucket;
        if name == self.keyring.landing_bucket || name == self.keyring.lake_bucket {
            return Err(s3_error!(AccessDenied, "the bucket {name} belongs to the installation and stays"));
        }
        let index = self.index.clone();
        to_its_end(async move { Ok(index.delete_bucket(&name).await?) }).await?;
        Ok(S3Response::new(DeleteBucketOutput {}))
    }

    pub(super) async fn do_head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.index.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    pub(super) async fn do_get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.index.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    pub(super) async fn do_get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        self.index.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }
}
