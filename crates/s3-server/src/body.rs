//! Receiving a body: it streams into a blob file in bounded memory, and is hashed as it passes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catchment_settings::failpoint;
use futures::StreamExt as _;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::blobs::{BlobStore, Draft};
use crate::checksums::{self, Algorithm, Checksums};

/// How many bytes are gathered before they are handed to a writing thread; twice this is held for an upload.
const GATHER: usize = 1 << 20;
/// How long an upload may send nothing.
const IDLE: Duration = Duration::from_secs(120);

/// What the request says of its body.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    pub(crate) length: Option<u64>,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) checksums: Checksums,
    pub(crate) wanted: Vec<Algorithm>,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// A body that is on disk, synced, and agrees with its claims. `draft` is `None` where it was empty.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) draft: Option<Draft>,
    pub(crate) size: u64,
    /// MD5 in hex: the ETag.
    pub(crate) etag: String,
    pub(crate) checksums: Checksums,
}

struct Sink {
    store: Arc<BlobStore>,
    draft: Option<Draft>,
    md5: Md5,
    checksums: ChecksumHasher,
    size: u64,
}

impl Sink {
    fn write(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks.iter().filter(|c| !c.is_empty()) {
            if self.draft.is_none() {
                self.draft = Some(self.store.draft()?);
            }
            if let Some(draft) = &mut self.draft {
                draft.write(chunk)?;
            }
            self.md5.update(chunk);
            self.checksums.update(chunk);
            self.size += chunk.len() as u64;
        }
        Ok(())
    }

    fn finish(self, claims: &Claims) -> S3Result<Received> {
        if let Some(length) = claims.length.filter(|length| *length != self.size) {
            return Err(s3_error!(IncompleteBody, "the body has {} bytes, not the announced {length}", self.size));
        }
        let md5: [u8; 16] = self.md5.finalize();
        if claims.md5.is_some_and(|claimed| claimed != md5) {
            return Err(s3_error!(
                BadDigest,
                "Content-MD5 is not that of the body: it was changed or cut off on its way"
            ));
        }
        let computed = checksums::finish(self.checksums);
        let mut claimed = claims.checksums.clone();
        if let Some(trailers) = claims.trailers.as_ref().and_then(TrailingHeaders::take) {
            claimed.merge_trailers(&trailers);
        }
        claimed.verify(&computed)?;
        if let Some(draft) = &self.draft {
            draft.sync().map_err(disk)?;
        }
        failpoint::hit("s3.blob_written");
        Ok(Received { draft: self.draft, size: self.size, etag: hex::encode(md5), checksums: computed })
    }
}

/// Receives a whole body. Dropping the future (the client went away) leaves nothing behind.
pub(crate) async fn receive(store: &Arc<BlobStore>, body: Option<StreamingBlob>, claims: Claims) -> S3Result<Received> {
    let mut state = State::Idle(Box::new(Sink {
        store: store.clone(),
        draft: None,
        md5: Md5::new(),
        checksums: checksums::hasher(&claims.wanted),
        size: 0,
    }));
    let mut chunks = Vec::new();
    let mut gathered = 0;
    if let Some(mut body) = body {
        while let Some(chunk) = tokio::time::timeout(IDLE, body.next())
            .await
            .map_err(|_| s3_error!(RequestTimeout, "the upload sent nothing for {} seconds", IDLE.as_secs()))?
        {
            let chunk = chunk.map_err(|e| broken_body(e.as_ref()))?;
            gathered += chunk.len();
            chunks.push(chunk);
            if gathered >= GATHER {
                let batch = std::mem::take(&mut chunks);
                gathered = 0;
                let mut sink = state.sink().await?;
                state = State::Writing(spawn_blocking(move || sink.write(&batch).map(|()| sink)));
            }
        }
    }
    let mut sink = state.sink().await?;
    let last = spawn_blocking(move || {
        sink.write(&chunks).map_err(disk)?;
        sink.finish(&claims)
    });
    joined(last.await)?
}

/// While a thread writes one batch, the next is gathered.
enum State {
    Idle(Box<Sink>),
    Writing(JoinHandle<io::Result<Box<Sink>>>),
}

impl State {
    async fn sink(self) -> S3Result<Box<Sink>> {
        match self {
            Self::Idle(sink) => Ok(sink),
            Self::Writing(task) => joined(task.await)?.map_err(disk),
        }
    }
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> S3Result<T> {
    result.map_err(|e| S3Error::with_source(S3ErrorCode::InternalError, Box::new(e)))
}

/// A disk error as an S3 error: a full disk is said to be one.
pub(crate) fn disk(error: io::Error) -> S3Error {
    tracing::error!(%error, "the S3 server's disk refused");
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let mut full = s3_error!(InternalError, "the disk of the S3 server is full");
        full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
        return full;
    }
    S3Error::with_source(S3ErrorCode::InternalError, Box::new(error))
}

/// The signature layer's stream errors have no public type; their texts name what was wrong.
fn broken_body(error: &(dyn std::error::Error + Send + Sync)) -> S3Error {
    let text = error.to_string();
    if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "the signature of a chunk of the body does not match")
    } else if text.contains("Sha256Mismatch") {
        let mut error = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "x-amz-content-sha256 is not that of the body",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        error
    } else {
        s3_error!(IncompleteBody, "the body ended early or is malformed: {text}")
    }
}
