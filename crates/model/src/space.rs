//! Coordinate reference systems and bounds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A coordinate reference system in every notation that its source could give. Coordinates beside it are
/// always in the order x, y (longitude, latitude), whatever axis order the CRS itself declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crs {
    /// Its name, such as `CH1903+ / LV95`.
    pub name: String,
    /// Authority and code where they are certain, such as `EPSG:2056` or `OGC:CRS84`; never guessed.
    pub authority: Option<String>,
    /// WKT 2:2019 (ISO 19162).
    pub wkt: String,
    /// PROJJSON (PROJ's JSON encoding of ISO 19111), as GeoParquet stores it.
    pub projjson: serde_json::Value,
}

impl Crs {
    /// What to call it in a message: the authority's code, or else its name.
    pub fn label(&self) -> &str {
        self.authority.as_deref().unwrap_or(&self.name)
    }
}

/// A bounding box in the order x, y.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bounds {
    /// Smallest x (longitude in EPSG:4326).
    pub minx: f64,
    /// Smallest y (latitude in EPSG:4326).
    pub miny: f64,
    /// Largest x.
    pub maxx: f64,
    /// Largest y.
    pub maxy: f64,
}
