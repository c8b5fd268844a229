//! Who asks, and whether they may: signatures are checked against the keys, operations against the role.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use catchment_settings::S3Credentials;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};

use crate::keys::{self, Role};

/// Whose key signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// The keys that open this server; notices a changed file by its inode, time and size.
#[derive(Debug)]
pub(crate) struct Keyring {
    admin: S3Credentials,
    file: PathBuf,
    cached: Mutex<Cached>,
    pub(crate) landing_bucket: String,
    pub(crate) lake_bucket: String,
}

type Stamp = Option<(u64, u64, i64, i64)>;

#[derive(Debug, Default)]
struct Cached {
    stamp: Stamp,
    keys: HashMap<String, (Principal, String)>,
}

impl Keyring {
    pub(crate) fn new(admin: S3Credentials, file: PathBuf, landing_bucket: String, lake_bucket: String) -> Arc<Self> {
        Arc::new(Self { admin, file, cached: Mutex::default(), landing_bucket, lake_bucket })
    }

    /// The principal and the secret of an access key.
    fn find(&self, access_key: &str) -> Option<(Principal, String)> {
        if access_key == self.admin.access_key {
            let admin = Principal { name: keys::ADMIN.into(), role: Role::Admin };
            return Some((admin, self.admin.secret_key.reveal().into()));
        }
        let stamp = fs::metadata(&self.file).ok().map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec()));
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.stamp != stamp {
            // A file that cannot be understood opens nothing: a key that it revokes must not live on.
            let listed = keys::list(&self.file).unwrap_or_else(|problem| {
                tracing::error!(%problem, "named keys are refused until their file can be read");
                Vec::new()
            });
            cached.keys = listed
                .into_iter()
                .filter(|key| key.revoked_at.is_none())
                .map(|key| {
                    let principal = Principal { name: key.name, role: key.role };
                    (key.access_key, (principal, key.secret_key.reveal().to_owned()))
                })
                .collect();
            cached.stamp = stamp;
        }
        cached.keys.get(access_key).cloned()
    }

    pub(crate) fn may_read(&self, role: Role, bucket: &str) -> bool {
        match role {
            Role::Admin => true,
            Role::Uploader => bucket == self.landing_bucket || bucket == self.lake_bucket,
            Role::Reader => bucket == self.lake_bucket,
        }
    }

    fn may_write(&self, role: Role, bucket: &str) -> bool {
        match role {
            Role::Admin => true,
            Role::Uploader => bucket == self.landing_bucket,
            Role::Reader => false,
        }
    }

    fn may(&self, role: Role, operation: &str, bucket: Option<&str>) -> bool {
        if role == Role::Admin {
            return true;
        }
        match (operation, bucket) {
            // The answer names only the buckets that the key may read.
            ("ListBuckets", None) => true,
            (
                "GetObject"
                | "HeadObject"
                | "GetObjectAttributes"
                | "GetObjectTagging"
                | "ListObjects"
                | "ListObjectsV2"
                | "HeadBucket"
                | "GetBucketLocation"
                | "GetBucketVersioning",
                Some(bucket),
            ) => self.may_read(role, bucket),
            (
                "PutObject"
                | "PostObject"
                | "CopyObject"
                | "DeleteObject"
                | "DeleteObjects"
                | "CreateMultipartUpload"
                | "UploadPart"
                | "UploadPartCopy"
                | "CompleteMultipartUpload"
                | "AbortMultipartUpload"
                | "ListParts"
                | "ListMultipartUploads",
                Some(bucket),
            ) => self.may_write(role, bucket),
            _ => false,
        }
    }

    fn may_copy_from<T>(&self, request: &S3Request<T>, source: &CopySource) -> S3Result {
        let (Some(principal), CopySource::Bucket { bucket, .. }) = (request.extensions.get::<Principal>(), source)
        else {
            return Err(s3_error!(AccessDenied, "the source of the copy is not a bucket of this server"));
        };
        if self.may_read(principal.role, bucket) {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "the key `{}` ({}) may not read from {bucket}", principal.name, principal.role))
    }
}

/// The keyring in the shape that the S3 layer takes.
#[derive(Debug, Clone)]
pub(crate) struct Guard(pub(crate) Arc<Keyring>);

#[async_trait]
impl S3Auth for Guard {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.find(access_key) {
            Some((_, secret)) => Ok(SecretKey::from(secret)),
            None => Err(s3_error!(InvalidAccessKeyId, "the access key is not known here, or was revoked")),
        }
    }
}

#[async_trait]
impl S3Access for Guard {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(s3_error!(AccessDenied, "the request is not signed"));
        };
        let Some((principal, _)) = self.0.find(&credentials.access_key) else {
            return Err(s3_error!(InvalidAccessKeyId, "the access key is not known here, or was revoked"));
        };
        let operation = cx.s3_op().name();
        let bucket = cx.s3_path().get_bucket_name();
        if !self.0.may(principal.role, operation, bucket) {
            return Err(s3_error!(
                AccessDenied,
                "the key `{}` ({}) may not do {operation} in {}",
                principal.name,
                principal.role,
                bucket.unwrap_or("this server")
            ));
        }
        cx.extensions_mut().insert(principal);
        Ok(())
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        self.0.may_copy_from(request, &request.input.copy_source)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        self.0.may_copy_from(request, &request.input.copy_source)
    }
}
