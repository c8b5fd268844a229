//! The interface of a spatial engine: a stream of features goes in, a recipe is applied, a sorted stream comes out.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use catchment_model::{Crs, Problem};
use futures::Stream;

use crate::recipe::Recipe;
use crate::sql::Statement;

/// Batches of features. Dropping the stream cancels the work behind it.
pub type FeatureStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, Problem>> + Send>>;

/// What is to be done.
pub struct TransformJob {
    /// The schema of the input; the column `geom` is ISO WKB as binary, coordinates in the order x, y.
    pub schema: SchemaRef,
    /// The input.
    pub input: FeatureStream,
    /// The CRS of the input.
    pub crs: Crs,
    /// What to do.
    pub recipe: Arc<Recipe>,
    /// The manifest's tags, which may set the recipe's parameters.
    pub tags: serde_json::Map<String, serde_json::Value>,
    /// What may be used.
    pub limits: Limits,
}

/// What a job may use of the machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Memory for sorting; what does not fit is spilled.
    pub memory_bytes: usize,
    /// Where to spill: a folder that is there, and that the caller removes.
    pub spill_dir: PathBuf,
}

/// What comes out.
pub struct Transformed {
    /// The schema of the output; `geom` is ISO WKB as binary.
    pub schema: SchemaRef,
    /// The output along the Hilbert curve, rows without a position last.
    pub stream: FeatureStream,
    /// The CRS of the output, coordinates in the order x, y.
    pub crs: Crs,
    /// The statement that is run.
    pub statement: Statement,
    /// What happened, to be read when the stream has ended.
    pub report: ReportHandle,
}

/// Gives the [`Report`] of a job.
#[derive(Clone)]
pub struct ReportHandle(pub(crate) Arc<dyn Fn() -> Result<Report, Problem> + Send + Sync>);

impl ReportHandle {
    /// What has happened so far; final when the stream has ended. It may take some milliseconds, since it asks
    /// PROJ's database whether a better operation exists.
    pub fn read(&self) -> Result<Report, Problem> {
        (self.0)()
    }
}

/// What happened to the features.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out.
    pub rows_out: u64,
    /// Repairs of invalid geometries; a recipe with two steps `make_valid` may repair one geometry twice.
    pub repaired: u64,
    /// Rows that went out without a geometry.
    pub null_geometries: u64,
    /// Rows that went out with an empty geometry.
    pub empty_geometries: u64,
    /// Geometries that are not valid after their repair.
    pub still_invalid: u64,
    /// Coordinates that overshot longitude 180° or latitude 90° by less than 1e-9° and were moved onto it.
    pub snapped: u64,
    /// The transformation to the output's CRS, `None` where none was needed.
    pub crs_operation: Option<CrsOperation>,
}

/// Which coordinate operation was used.
#[derive(Debug, Clone, PartialEq)]
pub struct CrsOperation {
    /// PROJ's name of it; several, one for each area, are joined by `; `.
    pub name: String,
    /// How far results may lie from the truth, in metres; `None` where that is not known.
    pub accuracy_m: Option<f64>,
    /// A more accurate operation that could not be used, and what it lacks: a warning.
    pub better: Option<String>,
}

/// An engine that runs recipes.
#[async_trait]
pub trait SpatialEngine: Send + Sync {
    /// Its name, as provenance keeps it.
    fn name(&self) -> &str;
    /// Its version with those of its libraries.
    fn version(&self) -> &str;
    /// Plans the job and starts it. Work is done as the stream is read, some batches ahead.
    async fn transform(&self, job: TransformJob) -> Result<Transformed, Problem>;
}
