//! Bytes and files into the bucket.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::{
    Attribute, Attributes as ObjectAttributes, MultipartUpload, PutMode as ObjectPutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::client::unquoted;
use crate::{Result, Store, StoreError};

/// Files up to this size go in one request.
const SINGLE_PUT: u64 = 16 << 20;
/// The smallest part of a larger file.
const PART: u64 = 8 << 20;
/// How many parts a file has at most (S3 takes 10,000).
const PARTS: u64 = 9_000;
/// How many parts are on their way at once; memory is bounded by so many parts and one.
const CONCURRENT: usize = 4;

/// What is kept with an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The media type.
    pub content_type: Option<String>,
    /// User metadata: names in lower case, values in ASCII.
    pub metadata: Vec<(String, String)>,
}

impl Attributes {
    /// With a media type.
    pub fn of_type(content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), metadata: Vec::new() }
    }

    /// With one more entry of user metadata.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.push((name.to_owned(), value.into()));
        self
    }

    fn to_object_store(&self) -> ObjectAttributes {
        let mut all = ObjectAttributes::new();
        if let Some(content_type) = &self.content_type {
            all.insert(Attribute::ContentType, content_type.clone().into());
        }
        for (name, value) in &self.metadata {
            all.insert(Attribute::Metadata(name.clone().into()), value.clone().into());
        }
        all
    }
}

/// What a put does where the key is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Replaces the object.
    #[default]
    Overwrite,
    /// Fails with [`StoreError::PreconditionFailed`].
    Create,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// How many bytes.
    pub bytes: u64,
    /// The entity tag, without quotes.
    pub etag: String,
    /// SHA-256 of the bytes as they were sent, 64 hex digits.
    pub sha256: String,
}

impl Store {
    /// Puts bytes.
    ///
    /// # Errors
    /// [`StoreError::PreconditionFailed`] where `mode` is [`PutMode::Create`] and the key is taken.
    pub async fn put_bytes(
        &self,
        key: &str,
        bytes: impl Into<Bytes>,
        attributes: &Attributes,
        mode: PutMode,
    ) -> Result<Stored> {
        let bytes = bytes.into();
        let options = PutOptions {
            attributes: attributes.to_object_store(),
            mode: match mode {
                PutMode::Overwrite => ObjectPutMode::Overwrite,
                PutMode::Create => ObjectPutMode::Create,
            },
            ..PutOptions::default()
        };
        let size = bytes.len() as u64;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        let location = self.key(key)?;
        let done = self.transfers()?.put_opts(&location, PutPayload::from_bytes(bytes), options).await;
        let done = done.map_err(|e| self.error(key, e))?;
        Ok(Stored { bytes: size, etag: unquoted(&done.e_tag.unwrap_or_default()), sha256 })
    }

    /// Puts a file, replacing the object: in one request where it is small, in parts otherwise. Memory is
    /// bounded whatever its size. `progress` is told how many bytes have been sent so far.
    ///
    /// # Errors
    /// Where the file cannot be read (or shrinks meanwhile) or the server refuses; parts are then given up.
    pub async fn put_file(
        &self,
        key: &str,
        path: &Path,
        attributes: &Attributes,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Stored> {
        let fault = |e: std::io::Error| StoreError::file(path, &e);
        let mut file = File::open(path).await.map_err(fault)?;
        let size = file.metadata().await.map_err(fault)?.len();
        if size <= SINGLE_PUT {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            file.read_to_end(&mut bytes).await.map_err(fault)?;
            let stored = self.put_bytes(key, bytes, attributes, PutMode::Overwrite).await?;
            progress(stored.bytes);
            return Ok(stored);
        }
        let options =
            PutMultipartOptions { attributes: attributes.to_object_store(), ..PutMultipartOptions::default() };
        let upload = self.transfers()?.put_multipart_opts(&self.key(key)?, options).await;
        let mut upload = upload.map_err(|e| self.error(key, e))?;
        let part = PART.max(size.div_ceil(PARTS));
        match self.parts(key, path, file, part, upload.as_mut(), &progress).await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                if let Err(abort) = upload.abort().await {
                    tracing::warn!(key, error = %abort, "an upload in parts could not be given up");
                }
                Err(error)
            }
        }
    }

    async fn parts(
        &self,
        key: &str,
        path: &Path,
        mut file: File,
        part: u64,
        upload: &mut dyn MultipartUpload,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Stored> {
        let mut hash = Sha256::new();
        let mut on_their_way = FuturesUnordered::new();
        let (mut sent, mut bytes) = (0, 0);
        loop {
            let mut buffer = BytesMut::with_capacity(usize::try_from(part).unwrap_or(usize::MAX));
            let mut limited = (&mut file).take(part);
            while limited.read_buf(&mut buffer).await.map_err(|e| StoreError::file(path, &e))? > 0 {}
            if buffer.is_empty() {
                break;
            }
            hash.update(&buffer);
            let size = buffer.len() as u64;
            bytes += size;
            let one = upload.put_part(PutPayload::from_bytes(buffer.freeze()));
            on_their_way.push(async move { one.await.map(|()| size) });
            while on_their_way.len() >= CONCURRENT {
                let Some(done) = on_their_way.next().await else { break };
                sent += done.map_err(|e| self.error(key, e))?;
                progress(sent);
            }
        }
        while let Some(done) = on_their_way.next().await {
            sent += done.map_err(|e| self.error(key, e))?;
            progress(sent);
        }
        let done = upload.complete().await.map_err(|e| self.error(key, e))?;
        let etag = unquoted(&done.e_tag.unwrap_or_default());
        Ok(Stored { bytes, etag, sha256: hex::encode(hash.finalize()) })
    }
}
