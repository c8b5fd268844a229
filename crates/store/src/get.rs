//! Bytes and files out of the bucket.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use jiff::Timestamp;
use object_store::{Attribute, GetOptions, GetResult};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWriteExt as _, BufWriter};

use crate::client::{quoted, unquoted};
use crate::{Result, Store, StoreError};

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// How many bytes it has.
    pub size: u64,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// When it was last written.
    pub last_modified: Timestamp,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its user metadata, names in lower case.
    pub metadata: BTreeMap<String, String>,
}

/// An object that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// How many bytes it has.
    pub bytes: u64,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
}

impl Store {
    /// What is known of an object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where it is not there.
    pub async fn head(&self, key: &str) -> Result<ObjectInfo> {
        Ok(info(&self.open(key, GetOptions { head: true, ..GetOptions::default() }).await?))
    }

    /// The bytes of a small object.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] where it has more than `limit` bytes; they are then not read.
    pub async fn get_bytes(&self, key: &str, limit: u64) -> Result<(Bytes, ObjectInfo)> {
        let found = self.open(key, GetOptions::default()).await?;
        let info = info(&found);
        let too_large = |bytes| StoreError::TooLarge { place: self.place(key), bytes, limit };
        if info.size > limit {
            return Err(too_large(info.size));
        }
        let mut all = BytesMut::new();
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.next().await {
            all.extend_from_slice(&chunk.map_err(|e| self.error(key, e))?);
            if all.len() as u64 > limit {
                return Err(too_large(all.len() as u64));
            }
        }
        Ok((all.freeze(), info))
    }

    /// Streams an object into a file (made or replaced), hashing it on its way. `progress` is told how many
    /// bytes have come so far.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] where `etag` is given and is not the object's.
    pub async fn get_to_file(
        &self,
        key: &str,
        path: &Path,
        etag: Option<&str>,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Fetched> {
        let fault = |e: std::io::Error| StoreError::file(path, &e);
        let options = GetOptions { if_match: etag.map(quoted), ..GetOptions::default() };
        let found = self.open(key, options).await?;
        let mut file = BufWriter::with_capacity(1 << 20, tokio::fs::File::create(path).await.map_err(fault)?);
        let etag = unquoted(found.meta.e_tag.as_deref().unwrap_or_default());
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| self.error(key, e))?;
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(fault)?;
            bytes += chunk.len() as u64;
            progress(bytes);
        }
        file.flush().await.map_err(fault)?;
        Ok(Fetched { bytes, etag, sha256: hex::encode(hash.finalize()) })
    }

    /// Reads an object to its end and hashes it; nothing is kept.
    ///
    /// # Errors
    /// As the server refuses.
    pub async fn hash(&self, key: &str, progress: impl Fn(u64) + Send + Sync) -> Result<Fetched> {
        let found = self.open(key, GetOptions::default()).await?;
        let etag = unquoted(found.meta.e_tag.as_deref().unwrap_or_default());
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|e| self.error(key, e))?;
            hash.update(&chunk);
            bytes += chunk.len() as u64;
            progress(bytes);
        }
        Ok(Fetched { bytes, etag, sha256: hex::encode(hash.finalize()) })
    }

    async fn open(&self, key: &str, options: GetOptions) -> Result<GetResult> {
        self.transfers()?.get_opts(&self.key(key)?, options).await.map_err(|e| self.error(key, e))
    }
}

fn info(found: &GetResult) -> ObjectInfo {
    let modified = found.meta.last_modified;
    let metadata = found.attributes.iter().filter_map(|(name, value)| match name {
        Attribute::Metadata(name) => Some((name.to_lowercase(), value.as_ref().to_owned())),
        _ => None,
    });
    ObjectInfo {
        size: found.meta.size,
        etag: unquoted(found.meta.e_tag.as_deref().unwrap_or_default()),
        last_modified: Timestamp::from_microsecond(modified.timestamp_micros()).unwrap_or(Timestamp::UNIX_EPOCH),
        content_type: found.attributes.get(&Attribute::ContentType).map(|v| v.as_ref().to_owned()),
        metadata: metadata.collect(),
    }
}
