//! What the ledger keeps of one version of a dataset.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{DatasetId, ObjectId};
use crate::manifest::Tags;
use crate::space::Bounds;

/// One version of a dataset (collection `assets`). Unique: `s3_key`; `dataset_id` with `version`;
/// `dagster_run_id` with `output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// The document's id; the object's user metadata names it as `mongodb_doc_id`.
    #[serde(rename = "_id")]
    pub id: ObjectId,
    /// The key of the data object in the lake bucket.
    #[schemars(length(min = 1))]
    pub s3_key: String,
    /// The dataset.
    pub dataset_id: DatasetId,
    /// The version, from 1. Numbers rise; gaps are allowed.
    #[schemars(range(min = 1))]
    pub version: u64,
    /// The hash of the stored bytes.
    pub content_hash: ContentHash,
    /// How many bytes are stored.
    pub bytes: u64,
    /// The run document's id.
    pub run_id: ObjectId,
    /// The run's UUID, with hyphens; the object's user metadata names it as `run_id`.
    #[schemars(length(min = 1))]
    pub dagster_run_id: String,
    /// Which output of the run it is.
    #[schemars(length(min = 1))]
    pub output: String,
    /// The epoch of the lease under which it was committed.
    pub lease_epoch: i64,
    /// What it holds.
    pub kind: AssetKind,
    /// How it is stored.
    pub format: AssetFormat,
    /// The CRS of its coordinates: authority and code where it has one, else WKT; none for tables.
    pub crs: Option<String>,
    /// Its extent in EPSG:4326, order x, y; none for tables and where there is no geometry.
    pub bounds: Option<Bounds>,
    /// What it is about and how it looks.
    pub metadata: AssetMetadata,
    /// How it was made.
    pub provenance: Provenance,
    /// When it was committed.
    pub created_at: jiff::Timestamp,
    /// When this document was last written.
    pub updated_at: jiff::Timestamp,
    /// When its bytes were given up; the record stays.
    pub deleted_at: Option<jiff::Timestamp>,
}

/// What a version holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetKind {
    /// Features with geometries.
    Spatial,
    /// Rows without geometries.
    Tabular,
    /// Features with columns from a table.
    Joined,
    /// Pixels.
    Raster,
}

/// How a version is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssetFormat {
    /// GeoParquet 1.1.
    Geoparquet,
    /// Cloud Optimized GeoTIFF.
    Cog,
    /// Parquet without geometries.
    Parquet,
}

impl AssetFormat {
    /// The name of the data object in its version's folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Geoparquet | Self::Parquet => "data.parquet",
            Self::Cog => "data.tif",
        }
    }

    /// The media type of the data object: as IANA registered it for Parquet, as OGC's COG standard (21-026)
    /// says for COG.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Geoparquet | Self::Parquet => "application/vnd.apache.parquet",
            Self::Cog => "image/tiff; application=geotiff; profile=cloud-optimized",
        }
    }

    /// The text of it, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Geoparquet => "geoparquet",
            Self::Cog => "cog",
            Self::Parquet => "parquet",
        }
    }
}

impl AssetKind {
    /// The text of it, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spatial => "spatial",
            Self::Tabular => "tabular",
            Self::Joined => "joined",
            Self::Raster => "raster",
        }
    }
}

/// `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash(String);

/// A text that is not a content hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a content hash: `sha256:` and 64 lower-case hex digits are expected")]
pub struct InvalidContentHash(String);

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// From the 64 hex digits alone.
    ///
    /// # Errors
    /// Where they are not 64 lower-case hex digits.
    pub fn from_hex(hex: &str) -> Result<Self, InvalidContentHash> {
        Self::try_from(format!("sha256:{hex}"))
    }

    /// The 64 hex digits alone.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContentHash {
    type Error = InvalidContentHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = text
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        if good { Ok(Self(text)) } else { Err(InvalidContentHash(text)) }
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> Self {
        hash.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for ContentHash {
    fn schema_name() -> Cow<'static, str> {
        "ContentHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^sha256:[0-9a-f]{64}$",
            "description": "SHA-256 of stored bytes.",
        })
    }
}

/// The columns of a version, in their order.
pub type ColumnSchemas = IndexMap<String, ColumnSchema>;

/// What a version is about and how it looks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AssetMetadata {
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is, in a few sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The project that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// On what terms it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who must be named when it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
    /// The manifest's tags.
    pub tags: Tags,
    /// Columns that were renamed: the name in the source → the name here.
    pub header_mapping: IndexMap<String, String>,
    /// The columns, in their order.
    pub column_schema: ColumnSchemas,
    /// The geometry type in upper case: `MULTIPOLYGON`, `GEOMETRY` where mixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geometry_type: Option<String>,
    /// The name of the geometry column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geometry_column: Option<String>,
    /// How many features or rows it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_count: Option<u64>,
    /// Further counts by name: `null_geometries`, `empty_geometries`, `repaired_geometries`, …
    pub counts: BTreeMap<String, u64>,
    /// What was checked before it was committed, and what came out.
    pub checks: Vec<CheckRecord>,
    /// What its reader should know: a better CRS operation that was not available, …
    pub warnings: Vec<String>,
}

/// What one check of a version found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRecord {
    /// Its name.
    pub name: String,
    /// Whether the version passed it.
    pub passed: bool,
    /// Whether failing it would have kept the version out of the lake.
    pub blocking: bool,
    /// What was found, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnSchema {
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The type in general.
    pub type_name: TypeName,
    /// The type exactly, in Arrow's words: `Int32`, `Timestamp(Microsecond, Some("UTC"))`.
    pub logical_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A column's type in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names say it")]
pub enum TypeName {
    String,
    Integer,
    Float,
    Boolean,
    Timestamp,
    Date,
    Time,
    Decimal,
    Binary,
    Array,
    Struct,
    Map,
    Geometry,
    Unknown,
}

/// How a version was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The batch.
    pub batch_id: Option<String>,
    /// What was read.
    pub sources: Vec<Source>,
    /// What was done.
    pub recipe: Option<RecipeRef>,
    /// By what.
    pub engine: Option<EngineInfo>,
    /// The PROJ operation that moved the coordinates, where they were moved.
    pub crs_operation: Option<CrsOperation>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its key in the landing bucket (or in the lake bucket for a join).
    pub s3_key: String,
    /// Its entity tag, without quotes.
    pub etag: String,
    /// The hash of its bytes.
    pub content_hash: ContentHash,
    /// How many bytes it has.
    pub bytes: u64,
    /// The driver that read it.
    pub driver: String,
    /// The layer that was read, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// The CRS that it was read in: authority and code, or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crs: Option<String>,
    /// How many features or rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_count: Option<u64>,
}

/// The recipe that was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipeRef {
    /// Its intent.
    pub intent: String,
    /// SHA-256 of its canonical form, hex.
    pub fingerprint: String,
}

/// The engine that did the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineInfo {
    /// Its name: `sedonadb`, `postgis`.
    pub name: String,
    /// Its version, with those of the libraries that decide the result.
    pub version: String,
}

/// The operation that moved coordinates from one CRS to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CrsOperation {
    /// PROJ's name for it.
    pub name: String,
    /// Its accuracy in metres, where PROJ knows it.
    pub accuracy_m: Option<f64>,
}
