//! Typed metadata of materialisations, observations, checks and definitions.

use catchment_model::{Asset, Bounds};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Metadata by name, in the order in which it was given.
pub type Metadata = IndexMap<String, MetadataValue>;

/// What is said of a version of a dataset that was committed to the lake.
pub fn of_version(asset: &Asset) -> Metadata {
    let mut said = Metadata::new();
    let mut put = |name: &str, value: MetadataValue| said.insert(name.to_owned(), value);
    put("dataset_id", asset.dataset_id.to_string().into());
    put("version", asset.version.into());
    put("s3_key", asset.s3_key.clone().into());
    put("mongodb_doc_id", asset.id.to_string().into());
    put("content_hash", asset.content_hash.as_str().into());
    put("bytes", asset.bytes.into());
    put("format", json!(asset.format).into());
    put("crs", asset.crs.clone().into());
    put("bounds", json!(asset.bounds).into());
    put("rows", asset.metadata.feature_count.into());
    put("geometry_type", json!(asset.metadata.geometry_type).into());
    for (name, count) in &asset.metadata.counts {
        put(name, json!(count).into());
    }
    if !asset.metadata.warnings.is_empty() {
        put("warnings", json!(asset.metadata.warnings).into());
    }
    said.retain(|_, value| *value != MetadataValue::Null);
    said
}

/// A value with its type: `{"type": "int", "value": 5}`. The types are Dagster's; `bounds` and `geometry` are ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum MetadataValue {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A link.
    Url(String),
    /// A path of a file system.
    Path(String),
    /// A path of a notebook.
    Notebook(String),
    /// Any JSON.
    Json(Value),
    /// A text in Markdown.
    Md(String),
    /// True or false.
    Bool(bool),
    /// The id of a run.
    DagsterRun(String),
    /// The key of an asset.
    Asset(String),
    /// Nothing.
    Null,
    /// Rows with their schema.
    Table(Table),
    /// The columns of a table.
    TableSchema(TableSchema),
    /// Which columns of other assets each column was made of.
    TableColumnLineage(ColumnLineage),
    /// A point in time.
    Timestamp(Timestamp),
    /// A box in a CRS: minx, miny, maxx, maxy in the axis order x, y.
    Bounds(BoundsValue),
    /// A geometry as well-known text (OGC 06-103r4), in the axis order x, y.
    Geometry(GeometryValue),
}

/// A box with its CRS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundsValue {
    /// The box.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// The CRS, such as `EPSG:4326`.
    pub crs: String,
}

/// A geometry with its CRS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeometryValue {
    /// Well-known text.
    pub wkt: String,
    /// The CRS, such as `EPSG:4326`.
    pub crs: String,
}

/// Rows with their schema.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The rows: each an object by column name.
    pub records: Vec<Map<String, Value>>,
    /// The columns.
    pub schema: TableSchema,
}

/// The columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// In their order.
    pub columns: Vec<TableColumn>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, as its maker calls it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether a row may lack it.
    #[serde(default = "yes")]
    pub nullable: bool,
}

fn yes() -> bool {
    true
}

/// Which columns of other assets each column was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnLineage {
    /// By column.
    pub deps_by_column: std::collections::BTreeMap<String, Vec<ColumnDep>>,
}

/// A column of another asset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnDep {
    /// The other asset.
    pub asset_key: String,
    /// Its column.
    pub column_name: String,
}

impl MetadataValue {
    /// The type that a plain JSON value is taken for: text, int, float, bool, null, and `json` for the rest.
    pub fn infer(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(b),
            Value::String(text) => Self::Text(text),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(float)) => Self::Float(float),
                (None, None) => Self::Json(Value::Number(number)),
            },
            other => Self::Json(other),
        }
    }
}

macro_rules! from {
    ($($from:ty => |$name:ident| $made:expr),* $(,)?) => {
        $(impl From<$from> for MetadataValue {
            fn from($name: $from) -> Self {
                $made
            }
        })*
    };
}

from! {
    i64 => |n| Self::Int(n),
    i32 => |n| Self::Int(n.into()),
    u32 => |n| Self::Int(n.into()),
    u64 => |n| i64::try_from(n).map_or(Self::Json(n.into()), Self::Int),
    usize => |n| i64::try_from(n).map_or(Self::Json(n.into()), Self::Int),
    f64 => |n| Self::Float(n),
    bool => |b| Self::Bool(b),
    &str => |text| Self::Text(text.to_owned()),
    String => |text| Self::Text(text),
    Timestamp => |time| Self::Timestamp(time),
    TableSchema => |schema| Self::TableSchema(schema),
    ColumnLineage => |lineage| Self::TableColumnLineage(lineage),
    Value => |value| Self::infer(value),
}

impl<T: Into<MetadataValue>> From<Option<T>> for MetadataValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
