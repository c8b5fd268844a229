//! A folder with files to read, and the real worker.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use catchment_gdal::{ReadRequest, ReadSummary, VectorHeader, Worker};
use catchment_model::problem::Problem;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_catchment-gdal");

pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) worker: Worker,
}

/// What a read gave.
pub(crate) struct Outcome {
    pub(crate) header: VectorHeader,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) summary: ReadSummary,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), worker: Worker::new(BINARY) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Makes a file with Debian's ogr2ogr.
    pub(crate) fn ogr2ogr(&self, arguments: &[&str]) {
        let output = Command::new("ogr2ogr").args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "ogr2ogr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Packs files of this folder.
    pub(crate) fn zip(&self, name: &str, members: &[(&str, &Path)]) -> PathBuf {
        let mut writer = zip::ZipWriter::new(fs::File::create(self.path(name)).unwrap());
        for (member, source) in members {
            writer.start_file(*member, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::copy(&mut fs::File::open(source).unwrap(), &mut writer).unwrap();
        }
        writer.finish().unwrap();
        self.path(name)
    }

    pub(crate) fn request(&self, path: &Path, format: &str) -> ReadRequest {
        ReadRequest {
            path: path.to_path_buf(),
            format: format.to_owned(),
            crs: None,
            layer: None,
            scratch: self.folder.path().to_path_buf(),
            on_line: Some(Arc::new(|_| {})),
        }
    }

    pub(crate) async fn read(&self, path: &Path, format: &str) -> Result<Outcome, Problem> {
        self.read_as(self.request(path, format)).await
    }

    pub(crate) async fn read_as(&self, request: ReadRequest) -> Result<Outcome, Problem> {
        let mut reader = self.worker.read_vector(request).await?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next().await? {
            batches.push(batch);
        }
        Ok(Outcome { header: reader.header.clone(), batches, summary: reader.finish().await? })
    }
}

pub(crate) fn feature(id: u32, name: &str, geometry: &str) -> String {
    format!(r#"{{"type":"Feature","properties":{{"id":{id},"name":"{name}"}},"geometry":{geometry}}}"#)
}

pub(crate) fn point(x: f64, y: f64) -> String {
    format!(r#"{{"type":"Point","coordinates":[{x},{y}]}}"#)
}

pub(crate) fn collection(features: &[String]) -> String {
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(",\n"))
}

/// A few houses, one of them without a place.
pub(crate) fn houses(count: u32) -> String {
    let features: Vec<String> =
        (0..count).map(|id| feature(id, "Höuse", &point(8.5 + f64::from(id) / 1000.0, 47.3))).collect();
    collection(&features)
}
