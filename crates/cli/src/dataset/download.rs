//! Downloads a version: into a temporary name, hashed as it comes, renamed only when the hash is right.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use catchment_model::{Code, Problem};
use catchment_web::views::Download;
use futures::StreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::segment;
use crate::client::{Api, chain};
use crate::progress::Progress;

/// What is wanted.
pub(super) struct Wanted<'a> {
    pub(super) dataset: &'a str,
    pub(super) version: Option<u64>,
    pub(super) output: Option<PathBuf>,
    pub(super) force: bool,
}

/// What was downloaded.
#[derive(Debug, Serialize)]
pub(super) struct Downloaded {
    pub(super) dataset_id: String,
    pub(super) version: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) content_hash: String,
}

/// Downloads it and proves that it is what the ledger says.
pub(super) async fn download(api: &Api, wanted: Wanted<'_>, json: bool) -> Result<Downloaded, Problem> {
    let version = wanted.version.map_or_else(|| "latest".to_owned(), |v| v.to_string());
    let found: Download =
        api.get(&format!("/datasets/{}/versions/{version}/download", segment(wanted.dataset)), &[]).await?;
    let path = match wanted.output {
        None => PathBuf::from(&found.file_name),
        Some(path) if path.is_dir() => path.join(&found.file_name),
        Some(path) => path,
    };
    if path.exists() && !wanted.force {
        return Err(Problem::new(Code::InvalidInput, "there is a file of that name already")
            .place(path.display().to_string())
            .remedy("choose another with -o, or replace it with --force"));
    }
    let part = Part::beside(&path)?;
    let mut progress = Progress::new(&format!("{} v{}", found.dataset_id, found.version), json);
    progress.bytes("downloading", found.bytes);
    let fetched = fetch(api, &found, &part.0, &progress).await;
    progress.done();
    let hash = fetched?;
    if hash != found.content_hash {
        return Err(Problem::new(Code::Integrity, "the bytes that came are not those of the ledger")
            .place(found.s3_path)
            .cause(format!("the ledger says {}, what came has {hash}", found.content_hash))
            .remedy("try again; if it stays so, the lake is damaged: see `catchment lake verify`"));
    }
    std::fs::rename(&part.0, &path).map_err(|e| unwritable(&path, &e))?;
    catchment_settings::durable::sync_parent(&std::path::absolute(&path).unwrap_or_else(|_| path.clone()))
        .map_err(|e| unwritable(&path, &e))?;
    Ok(Downloaded {
        dataset_id: found.dataset_id,
        version: found.version,
        path,
        bytes: found.bytes,
        content_hash: found.content_hash,
    })
}

/// Writes the bytes to `part`, synced; answers their hash.
async fn fetch(api: &Api, found: &Download, part: &Path, progress: &Progress) -> Result<String, Problem> {
    let unreachable = |e: reqwest::Error| {
        Problem::new(Code::Unavailable, "the S3 server is out of reach")
            .place(found.s3_path.clone())
            .cause(chain(&e.without_url()))
            .remedy("start it with `catchment dev`, and see `catchment doctor`")
    };
    let response = api.http().get(&found.url).send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        return Err(Problem::new(Code::Unavailable, "the S3 server does not give the object")
            .place(found.s3_path.clone())
            .cause(format!("HTTP status {}", response.status()))
            .remedy("prove the lake with `catchment lake verify`"));
    }
    let mut file = BufWriter::new(std::fs::File::create(part).map_err(|e| unwritable(part, &e))?);
    let (mut hash, mut done) = (Sha256::new(), 0);
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(unreachable)?;
        file.write_all(&chunk).map_err(|e| unwritable(part, &e))?;
        hash.update(&chunk);
        done += chunk.len() as u64;
        progress.at(done);
    }
    let file = file.into_inner().map_err(|e| unwritable(part, e.error()))?;
    file.sync_all().map_err(|e| unwritable(part, &e))?;
    Ok(format!("sha256:{}", hex::encode(hash.finalize())))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Code::Io, "the file cannot be written")
        .place(path.display().to_string())
        .cause(error.to_string())
        .remedy("see that the folder is there, may be written and has room")
}

/// A temporary name beside the one that is wanted; removed unless it was renamed.
struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Result<Self, Problem> {
        let name = path.file_name().ok_or_else(|| {
            Problem::new(Code::InvalidInput, "this is no name for a file")
                .place(path.display().to_string())
                .remedy("give a file or a folder with -o")
        })?;
        let part = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        Ok(Self(path.with_file_name(part)))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "a temporary file stays");
        }
    }
}
