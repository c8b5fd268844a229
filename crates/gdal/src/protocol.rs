//! What the worker and its caller say to each other, as JSON.

use std::path::PathBuf;
use std::time::Duration;

use catchment_model::space::{Bounds, Crs};
use serde::{Deserialize, Serialize};

/// The version of this protocol; worker and caller refuse another one's.
pub const VERSION: u32 = 1;

/// What the worker is asked to do: one line of JSON on its standard input. Standard input then stays open
/// for as long as the caller lives; the worker stops when it is closed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of the caller.
    pub version: u32,
    /// The folder that the worker may write to; its own, empty, removed by the caller.
    pub scratch: PathBuf,
    /// What the worker may use up.
    pub limits: Limits,
    /// What to do.
    pub command: Command,
}

/// The worker's commands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Command {
    /// Read one layer of one vector file.
    ReadVector(ReadVector),
}

impl Command {
    /// The worker's first argument for this command.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadVector(_) => "read-vector",
        }
    }
}

/// One layer of one vector file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadVector {
    /// The file: a dataset, or a zip archive that holds exactly one.
    pub path: PathBuf,
    /// What the manifest calls its format; see [`crate::format`].
    pub format: String,
    /// The CRS that the manifest states: `EPSG:n`, WKT or a PROJ string.
    pub crs: Option<String>,
    /// The layer, needed where there are several.
    pub layer: Option<String>,
}

/// What one worker may use up. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of its own (heap and anonymous mappings; libraries are not counted).
    pub memory: u64,
    /// Processor time.
    pub cpu: Duration,
    /// Time that the caller waits for it, all waits added up; time in which it waits for the caller is
    /// not counted.
    pub wait: Duration,
    /// Open files.
    pub open_files: u64,
    /// Size of what it writes to its scratch folder, in all.
    pub scratch: u64,
    /// Number of an archive's members.
    pub archive_members: u64,
    /// Unpacked size of an archive divided by its packed size. Below 64 MiB it is not looked at.
    pub archive_ratio: u64,
    /// Size of one batch in the pipe, which is what a reader holds at a time; a single larger feature
    /// makes a larger batch.
    pub batch_bytes: u64,
    /// Rows of one batch.
    pub batch_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu: Duration::from_secs(3600),
            wait: Duration::from_secs(3600),
            open_files: 256,
            scratch: 16 << 30,
            archive_members: 10_000,
            archive_ratio: 250,
            batch_bytes: 8 << 20,
            batch_rows: 16_384,
        }
    }
}

/// What is known before the first row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VectorHeader {
    /// [`VERSION`] of the worker.
    pub version: u32,
    /// GDAL's release, such as `3.6.2`.
    pub gdal_version: String,
    /// GDAL's short name of the driver that reads the file.
    pub driver: String,
    /// The member that was read, where the file is an archive.
    pub archive_member: Option<String>,
    /// The layer that is read.
    pub layer: String,
    /// Every layer of the file.
    pub layers: Vec<String>,
    /// The geometry type that the layer declares, in upper case (`MULTIPOLYGON`; `GEOMETRY` where mixed
    /// or unknown; `NONE` cannot occur). Curve types are named by what they are turned into. The
    /// trailer's types are those that were seen.
    pub geometry_type: String,
    /// Whether the layer declares z coordinates.
    pub has_z: bool,
    /// Whether the layer declares m values.
    pub has_m: bool,
    /// The CRS of the coordinates.
    pub crs: Crs,
    /// Who states the CRS.
    pub crs_source: CrsSource,
    /// Whether coordinates are degrees (longitude, latitude).
    pub is_geographic: bool,
    /// Number of features, where the file tells without being read.
    pub feature_count: Option<u64>,
    /// Extent in the file's CRS, where the file tells without being read.
    pub extent: Option<Bounds>,
    /// The columns beside `geom`, in order.
    pub fields: Vec<FieldMapping>,
    /// The encoding that text was stored in, where the format names one; batches are always UTF-8.
    pub encoding: Option<String>,
    /// What confines the worker.
    pub sandbox: SandboxReport,
    /// Milliseconds from the worker's start to this header.
    pub startup_ms: f64,
}

/// Who states a CRS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrsSource {
    /// The file itself.
    File,
    /// The manifest, where the file is silent.
    Declared,
}

/// One attribute of the file and the column that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMapping {
    /// The attribute's name in the file.
    pub source: String,
    /// The column's name in the batches; another only where the attribute's would clash.
    pub column: String,
    /// Its Arrow type.
    pub data_type: String,
}

/// What is known after the last row. Without it (or a [`Problem`](catchment_model::problem::Problem) in its place) a stream is cut off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trailer {
    /// Rows that were sent.
    pub rows: u64,
    /// Batches that were sent.
    pub batches: u64,
    /// Rows without a geometry.
    pub null_geometries: u64,
    /// Rows whose geometry is empty.
    pub empty_geometries: u64,
    /// Curved geometries that were replaced by lines, each within 4 degrees of arc.
    pub linearized_geometries: u64,
    /// The geometry types that were seen, in upper case, and how often.
    pub geometry_types: Vec<(String, u64)>,
    /// Whether z coordinates were seen.
    pub has_z: bool,
    /// Whether m values were seen.
    pub has_m: bool,
    /// How many warnings there were.
    pub warning_count: u64,
    /// The first of them.
    pub warnings: Vec<String>,
    /// Largest resident size of the worker, in bytes.
    pub peak_rss: u64,
}

/// What confines a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// Every layer of the sandbox, in force or not.
    pub layers: Vec<SandboxLayer>,
    /// Whether it sees only its input, its scratch folder and system libraries and data.
    pub files_confined: bool,
    /// Whether it is cut off from every network.
    pub network_confined: bool,
}

/// One layer of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxLayer {
    /// Its name, such as `landlock`.
    pub name: String,
    /// Whether it is in force.
    pub in_force: bool,
    /// What it does, or why it is not in force.
    pub detail: String,
}

impl SandboxReport {
    /// What is not in force, as sentences for a warning; empty where everything is.
    pub fn missing(&self) -> Vec<String> {
        self.layers
            .iter()
            .filter(|layer| !layer.in_force)
            .map(|layer| format!("{} is not in force: {}", layer.name, layer.detail))
            .collect()
    }
}
