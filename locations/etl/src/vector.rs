//! The vector path: object → scratch → sandboxed worker → spatial SQL → GeoParquet in scratch. Streams from end to end.

mod checks;
mod describe;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use catchment::Staged;
use catchment_compute::{AppliesTo, Limits, Recipe, Recipes, Report, SpatialEngine, TransformJob};
use catchment_formats::{GeoOptions, Written, write_stream};
use catchment_gdal::protocol::VectorHeader;
use catchment_gdal::{ReadRequest, ReadSummary, VectorReader, Worker};
use catchment_model::manifest::FileEntry;
use catchment_model::{Code, Crs, Manifest, Problem};
use catchment_settings::{clock, failpoint};
use catchment_store::{Store, StoreError};
use futures::StreamExt;

pub use checks::checks;

/// Memory that sorting may take before it spills to scratch.
const SORT_MEMORY: usize = 256 << 20;

/// What the path needs of its surroundings.
pub struct Tools<'a> {
    /// The landing zone.
    pub landing: &'a Store,
    /// The sandboxed reader.
    pub worker: &'a Worker,
    /// The engine.
    pub engine: &'a dyn SpatialEngine,
    /// The recipes.
    pub recipes: &'a Recipes,
    /// The run's scratch folder.
    pub scratch: &'a Path,
    /// Told how many rows have been read, and of how many where the file says.
    pub on_rows: OnRows,
}

/// Is told how many rows have been read, and of how many.
pub type OnRows = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// A source file as it was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its key in the landing zone.
    pub key: String,
    /// Its ETag when it was fetched.
    pub etag: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Where it lies in scratch.
    pub path: PathBuf,
}

/// What went through the path, before it is described for the lake.
pub struct Produced {
    /// The source.
    pub source: SourceFile,
    /// What the worker said before the first row.
    pub header: VectorHeader,
    /// What the worker said after the last.
    pub summary: ReadSummary,
    /// The recipe that was applied.
    pub recipe: Arc<Recipe>,
    /// The engine's name and version.
    pub engine: (String, String),
    /// What the engine did.
    pub report: Report,
    /// The CRS of the output.
    pub crs: Crs,
    /// The file.
    pub written: Written,
    /// How long each part took, from the start of the step: fetched, first row, written.
    pub seconds: [Duration; 3],
}

/// Takes the one file of a vector manifest through the path and describes what came out.
///
/// # Errors
/// Where the file is missing, empty, damaged or not what the manifest says; where its CRS is missing, contradicted or
/// cannot be transformed; where the recipe or the machine fails. Nothing outside scratch has been touched then.
pub async fn stage(tools: Tools<'_>, manifest: &Manifest) -> Result<(Staged, Produced), Problem> {
    let [entry] = manifest.files.as_slice() else {
        return Err(Problem::new(Code::Unsupported, "a vector batch has exactly one file in this version")
            .place("$.files")
            .remedy("announce each file with a manifest of its own"));
    };
    let produced = produce(tools, manifest, entry).await?;
    failpoint::hit("etl.written");
    Ok((describe::staged(manifest, &produced), produced))
}

async fn produce(tools: Tools<'_>, manifest: &Manifest, entry: &FileEntry) -> Result<Produced, Problem> {
    let began = clock::monotonic();
    let recipe = tools.recipes.for_intent(&manifest.intent, AppliesTo::Vector)?;
    let source = fetch(tools.landing, entry, tools.scratch).await?;
    let fetched = began.elapsed();
    tracing::info!(bytes = source.bytes, sha256 = %source.sha256, "fetched {}", source.key);

    let request = ReadRequest {
        path: source.path.clone(),
        format: entry.format.clone(),
        crs: entry.crs.clone(),
        layer: entry.layer.clone(),
        scratch: tools.scratch.to_owned(),
        on_line: None,
    };
    let reader = tools.worker.read_vector(request).await.map_err(|p| at(p, &source.key))?;
    let first_row = began.elapsed();
    let header = reader.header.clone();
    tracing::info!(
        driver = %header.driver, layer = %header.layer, crs = %header.crs.label(), geometry = %header.geometry_type,
        "reading"
    );
    for missing in header.sandbox.missing() {
        tracing::warn!("the worker's sandbox: {missing}");
    }

    let spill = tools.scratch.join("spill");
    tokio::fs::create_dir_all(&spill).await.map_err(|e| {
        Problem::new(Code::Io, "scratch cannot be written").place(spill.display().to_string()).cause(e.to_string())
    })?;
    let summary = Arc::new(Mutex::new(None));
    let transformed = tools
        .engine
        .transform(TransformJob {
            schema: Arc::clone(&reader.schema),
            input: Box::pin(until_the_end(reader, Arc::clone(&summary), tools.on_rows)),
            crs: header.crs.clone(),
            recipe: Arc::clone(&recipe),
            tags: tags(manifest)?,
            limits: Limits { memory_bytes: SORT_MEMORY, spill_dir: spill },
        })
        .await
        .map_err(|p| at(p, &source.key))?;
    tracing::info!(sql = %transformed.statement.sql, "recipe {} as one statement", recipe.intent);
    let options = GeoOptions::new(Some(transformed.crs.projjson.clone()));
    let output = tools.scratch.join("data.parquet");
    let written = write_stream(&output, &transformed.schema, options, transformed.stream)
        .await
        .map_err(|p| at(p, &source.key))?;
    let report = transformed.report.read()?;
    let summary = summary
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .ok_or_else(|| Problem::new(Code::Bug, "the output was finished before its input was read to the end"))?;
    Ok(Produced {
        source,
        header,
        summary,
        recipe,
        engine: (tools.engine.name().to_owned(), tools.engine.version().to_owned()),
        report,
        crs: transformed.crs,
        written,
        seconds: [fetched, first_row, began.elapsed()],
    })
}

/// Streams the object to scratch, hashing it on the way. Its file keeps the object's name, which tells GDAL its format.
async fn fetch(landing: &Store, entry: &FileEntry, scratch: &Path) -> Result<SourceFile, Problem> {
    let key = entry.path.key();
    let folder = scratch.join("input");
    tokio::fs::create_dir_all(&folder).await.map_err(|e| {
        Problem::new(Code::Io, "scratch cannot be written").place(folder.display().to_string()).cause(e.to_string())
    })?;
    let path = folder.join(local_name(entry.path.file_name()));
    let fetched = landing.get_to_file(key, &path, None, |_| {}).await.map_err(|e| {
        let missing = matches!(e, StoreError::NotFound { .. });
        let problem = Problem::from(e);
        if missing {
            Problem::new(Code::FileNotFound, "the manifest names a file that is not in the landing zone")
                .place(entry.path.to_string())
                .remedy("upload the file first, then the manifest with a new batch_id")
        } else {
            problem
        }
    })?;
    if fetched.bytes == 0 {
        return Err(Problem::new(Code::FileEmpty, "the file is empty")
            .place(entry.path.to_string())
            .remedy("upload the file again, then the manifest with a new batch_id"));
    }
    Ok(SourceFile { key: key.to_owned(), etag: fetched.etag, sha256: fetched.sha256, bytes: fetched.bytes, path })
}

/// A name for scratch that keeps the extension and holds nothing that a file system or GDAL reads a meaning into.
fn local_name(name: &str) -> String {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }).collect();
    let start = safe.len().saturating_sub(100);
    let tail = safe.get(start..).unwrap_or("input").trim_start_matches('.');
    if tail.is_empty() { "input".to_owned() } else { tail.to_owned() }
}

/// The reader's batches; keeps the worker's summary when the last has been read.
fn until_the_end(
    reader: VectorReader,
    summary: Arc<Mutex<Option<ReadSummary>>>,
    on_rows: OnRows,
) -> impl futures::Stream<Item = Result<RecordBatch, Problem>> + Send {
    futures::stream::unfold(Some((reader, 0)), move |state| {
        let (summary, on_rows) = (Arc::clone(&summary), Arc::clone(&on_rows));
        async move {
            let (mut reader, mut rows) = state?;
            match reader.next().await {
                Ok(Some(batch)) => {
                    rows += batch.num_rows() as u64;
                    on_rows(rows, reader.header.feature_count);
                    Some((Ok(batch), Some((reader, rows))))
                }
                Ok(None) => {
                    *summary.lock().unwrap_or_else(PoisonError::into_inner) = reader.summary().cloned();
                    None
                }
                Err(problem) => Some((Err(problem), None)),
            }
        }
    })
    .fuse()
}

/// The manifest's tags as JSON, which may set a recipe's parameters.
fn tags(manifest: &Manifest) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    let value = serde_json::to_value(manifest.metadata.tags.clone().unwrap_or_default())
        .map_err(|e| Problem::new(Code::Bug, "the manifest's tags are no JSON").cause(e.to_string()))?;
    Ok(value.as_object().cloned().unwrap_or_default())
}

/// Scratch paths mean nothing to a reader: where a problem names no place, it is the object's.
fn at(problem: Problem, key: &str) -> Problem {
    let place = match problem.place.as_deref() {
        Some(place) if !place.contains("/scratch/") => format!("{key}: {place}"),
        _ => key.to_owned(),
    };
    problem.place(place)
}

#[cfg(test)]
mod tests {
    use super::local_name;

    #[test]
    fn a_local_name_keeps_the_extension_and_nothing_hostile() {
        assert_eq!(local_name("Gebäude 2026.geojson"), "Geb_ude_2026.geojson");
        assert_eq!(local_name("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(local_name(".."), "input");
        assert!(local_name(&"x".repeat(4000)).len() <= 100);
    }
}
