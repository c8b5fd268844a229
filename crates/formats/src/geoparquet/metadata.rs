//! The `geo` metadata of GeoParquet 1.1.0.

use std::collections::BTreeSet;

use catchment_model::{Code, Problem};
use serde_json::{Value, json};

use super::GeoOptions;
use super::covering::Covering;
use crate::wkb::{self, Kind};

/// What the metadata says of all geometries together.
#[derive(Default)]
pub(super) struct GeometryFacts {
    types: BTreeSet<(Kind, bool)>,
    bounds: Option<[f64; 4]>,
    heights: Option<[f64; 2]>,
    flat: bool,
    pub(super) nulls: u64,
    pub(super) empties: u64,
}

impl GeometryFacts {
    /// Takes one geometry in and returns its bounds.
    pub(super) fn see(&mut self, wkb: Option<&[u8]>) -> Result<Option<[f64; 4]>, Problem> {
        let Some(wkb) = wkb else {
            self.nulls += 1;
            return Ok(None);
        };
        let summary = wkb::scan(wkb).map_err(|fault| {
            Problem::new(Code::GeometryInvalid, "a geometry is not well-known binary").cause(fault.to_string())
        })?;
        if let Some((position, x, y)) = summary.not_finite {
            return Err(Problem::new(Code::GeometryInvalid, "a geometry has a coordinate that is not a finite number")
                .cause(format!("position {position} is ({x}, {y})")));
        }
        if summary.header.m {
            return Err(Problem::new(
                Code::Unsupported,
                "a geometry has measures (M), which GeoParquet 1.1 cannot hold",
            )
            .remedy("use an intent whose recipe has the step force_2d, which drops heights and measures"));
        }
        self.types.insert((summary.header.kind, summary.header.z));
        match summary.bounds {
            None => self.empties += 1,
            Some(b) => {
                let all = self.bounds.get_or_insert(b);
                *all = [all[0].min(b[0]), all[1].min(b[1]), all[2].max(b[2]), all[3].max(b[3])];
                match summary.heights {
                    None => self.flat = true,
                    Some(h) => {
                        let all = self.heights.get_or_insert(h);
                        *all = [all[0].min(h[0]), all[1].max(h[1])];
                    }
                }
            }
        }
        Ok(summary.bounds)
    }

    pub(super) fn bounds(&self) -> Option<[f64; 4]> {
        self.bounds
    }

    pub(super) fn types(&self) -> Vec<String> {
        let mut types: Vec<String> =
            self.types.iter().map(|(kind, z)| format!("{}{}", kind.name(), if *z { " Z" } else { "" })).collect();
        types.sort();
        types
    }

    /// The document. Winding of rings is not claimed, since no step guarantees it; edges are planar, the default
    /// of the standard, and said all the same.
    pub(super) fn geo(&self, options: &GeoOptions, covering: &Covering) -> Value {
        let part = |name: &str| json!([covering.name, name]);
        let mut column = json!({
            "encoding": "WKB",
            "geometry_types": self.types(),
            "crs": options.crs,
            "edges": "planar",
            "covering": {
                "bbox": {"xmin": part("xmin"), "ymin": part("ymin"), "xmax": part("xmax"), "ymax": part("ymax")}
            },
        });
        if let Some([xmin, ymin, xmax, ymax]) = self.bounds {
            column["bbox"] = match self.heights {
                Some([zmin, zmax]) if !self.flat => json!([xmin, ymin, zmin, xmax, ymax, zmax]),
                _ => json!([xmin, ymin, xmax, ymax]),
            };
        }
        json!({"version": "1.1.0", "primary_column": options.geometry, "columns": {&options.geometry: column}})
    }
}
