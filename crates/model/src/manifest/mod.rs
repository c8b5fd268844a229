//! The manifest: what an uploader writes to announce a batch.
//!
//! The types are here; `json` reads JSON without losing anything, `check` has the shape of the document and
//! `rules` what is demanded of its values.

mod check;
mod json;
mod rules;

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::DatasetId;
use crate::problem::Problem;
use crate::s3_path::S3Path;

/// The largest manifest, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most files of one manifest.
pub const MAX_FILES: usize = 100;
/// How deep objects and arrays may lie in each other.
pub const MAX_DEPTH: usize = 16;

/// What decides, beside the manifest itself, whether it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The bucket that its files must be in.
    pub landing_bucket: String,
}

/// Announces a batch of files that were put into the landing zone, and says what is to be done with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The batch's name: globally unique, used once, never changed. 1 to 256 characters.
    #[schemars(length(min = 1, max = 256))]
    pub batch_id: String,
    /// Who says that they put the files there: a person or a system.
    #[schemars(length(min = 1, max = 256))]
    pub uploader: String,
    /// What is to be done: `ingest_vector`, `ingest_building_footprints`, `ingest_road_network`,
    /// `generalize_vector`, `ingest_raster`, `ingest_satellite_raster`, `ingest_tabular`, `join_datasets`, or
    /// the name of another recipe.
    #[schemars(length(min = 1, max = 128))]
    pub intent: String,
    /// The files of the batch; none for `join_datasets`.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub files: Vec<FileEntry>,
    /// What is known about the data.
    pub metadata: ManifestMetadata,
}

/// One file of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Where it is, in the landing bucket. A zipped Shapefile is one file.
    pub path: S3Path,
    /// What kind of data it holds.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// GDAL's short driver name or a common alias (`GeoJSON`, `GPKG`, `SHP`, `GTiff`, `CSV`, …). It must agree
    /// with what the file is.
    #[schemars(length(min = 1, max = 64))]
    pub format: String,
    /// The CRS, where the file states none: `EPSG:n`, WKT or a PROJ string. Where the file states another, the
    /// run fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub crs: Option<String>,
    /// Which layer, where the file has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub layer: Option<String>,
}

/// What kind of data a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// Features with geometries.
    Vector,
    /// Pixels.
    Raster,
    /// Rows without geometries.
    Tabular,
}

impl FileType {
    /// The text of it, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Raster => "raster",
            Self::Tabular => "tabular",
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known about the data of a batch. Every field is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestMetadata {
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it is, in a few sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub keywords: Option<Vec<String>>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// On what terms it may be used; an SPDX identifier where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who must be named when it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
    /// Further facts, each a text, number or boolean. `dataset_id` names the dataset; recipes may read others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// How two datasets are joined; only with the intent `join_datasets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_config: Option<JoinConfig>,
}

/// Named scalars, in the order in which they were written.
pub type Tags = IndexMap<String, TagValue>;

/// The value of a tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TagValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
}

impl TagValue {
    /// The text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[allow(clippy::cast_precision_loss, reason = "a tag is a parameter, not an identifier")]
            Self::Integer(n) => Some(*n as f64),
            Self::Number(n) => Some(*n),
            _ => None,
        }
    }
}

impl fmt::Display for TagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => b.fmt(f),
            Self::Integer(n) => n.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::Text(t) => t.fmt(f),
        }
    }
}

/// How a tabular dataset is joined to a spatial one. Keys are compared as trimmed text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinConfig {
    /// The dataset that has the geometries.
    pub spatial_dataset_id: DatasetId,
    /// The dataset that has the further columns.
    pub tabular_dataset_id: DatasetId,
    /// The key column of the tabular side.
    #[schemars(length(min = 1, max = 256))]
    pub left_key: String,
    /// The key column of the spatial side; `left_key` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub right_key: Option<String>,
    /// Which rows are kept.
    #[serde(default)]
    pub how: JoinHow,
    /// The version of the spatial dataset; the latest where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub spatial_version: Option<u64>,
    /// The version of the tabular dataset; the latest where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tabular_version: Option<u64>,
}

/// Which rows a join keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinHow {
    /// All of the tabular side.
    #[default]
    Left,
    /// Those with a partner.
    Inner,
    /// All of the spatial side.
    Right,
    /// All of both.
    Outer,
}

impl Manifest {
    /// Reads a manifest and checks it whole.
    ///
    /// # Errors
    /// [`Code::InvalidManifest`](crate::Code::InvalidManifest) with every fault found, each with its JSON path,
    /// what is wrong and what is allowed; where it is not JSON at all, with line and column.
    pub fn parse(bytes: &[u8], rules: &Rules) -> Result<Self, Problem> {
        check::parse(bytes, rules)
    }

    /// The dataset that the batch is a version of: `tags.dataset_id`, else a name made from the `batch_id`.
    pub fn dataset_id(&self) -> DatasetId {
        self.metadata
            .tag("dataset_id")
            .and_then(TagValue::as_str)
            .and_then(|text| DatasetId::new(text).ok())
            .unwrap_or_else(|| DatasetId::of_batch(&self.batch_id))
    }
}

impl ManifestMetadata {
    /// A tag by its name.
    pub fn tag(&self, name: &str) -> Option<&TagValue> {
        self.tags.as_ref()?.get(name)
    }
}
