//! The vector formats that are accepted: the one place that says under which names a manifest may call
//! them, which GDAL driver reads them, and which files belong to one dataset.
//!
//! Whatever is not in this table is not opened: no virtual formats (VRT), no databases, no services.

use std::path::Path;

/// One accepted format.
#[derive(Debug, PartialEq, Eq)]
pub struct VectorFormat {
    /// GDAL's short driver name; what a manifest's `format` is, next to the aliases.
    pub name: &'static str,
    /// Other names, compared without regard to case.
    pub aliases: &'static [&'static str],
    /// File extensions of the main file, the usual one first.
    pub extensions: &'static [&'static str],
    /// Extensions of the files that belong to the main file and bear its name.
    pub sidecars: &'static [&'static str],
    /// Drivers that read the same files; either is a match.
    pub kin: &'static [&'static str],
}

const fn plain(
    name: &'static str,
    aliases: &'static [&'static str],
    extensions: &'static [&'static str],
) -> VectorFormat {
    VectorFormat { name, aliases, extensions, sidecars: &[], kin: &[] }
}

/// Every accepted format.
pub const VECTOR_FORMATS: &[VectorFormat] = &[
    plain("GeoJSON", &["json"], &["geojson", "json"]),
    plain("GeoJSONSeq", &["GeoJSONL", "NDJSON", "JSONL"], &["geojsonl", "geojsons", "ndjson", "jsonl"]),
    plain("TopoJSON", &[], &["topojson"]),
    plain("ESRIJSON", &[], &["esrijson"]),
    VectorFormat {
        name: "ESRI Shapefile",
        aliases: &["SHP", "Shapefile", "Shape"],
        extensions: &["shp"],
        sidecars: &["shx", "dbf", "prj", "cpg", "cst", "qpj", "sbn", "sbx"],
        kin: &[],
    },
    plain("GPKG", &["GeoPackage"], &["gpkg"]),
    plain("FlatGeobuf", &["FGB"], &["fgb"]),
    VectorFormat { name: "GML", aliases: &[], extensions: &["gml"], sidecars: &["xsd", "gfs"], kin: &[] },
    VectorFormat { name: "KML", aliases: &["KMZ", "LIBKML"], extensions: &["kml"], sidecars: &[], kin: &["LIBKML"] },
    VectorFormat {
        name: "MapInfo File",
        aliases: &["MapInfo", "TAB", "MIF"],
        extensions: &["tab", "mif"],
        sidecars: &["dat", "map", "id", "ind", "mid"],
        kin: &[],
    },
    plain("DXF", &[], &["dxf"]),
    plain("GPX", &[], &["gpx"]),
    VectorFormat { name: "CSV", aliases: &[], extensions: &["csv"], sidecars: &["csvt", "prj"], kin: &[] },
];

impl VectorFormat {
    /// Finds a format by GDAL's name or an alias, without regard to case.
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = name.trim();
        VECTOR_FORMATS.iter().find(|format| {
            format.name.eq_ignore_ascii_case(name)
                || format.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// Finds the format whose main file has this extension.
    pub fn by_extension(path: &Path) -> Option<&'static Self> {
        let extension = path.extension()?.to_str()?;
        VECTOR_FORMATS.iter().find(|format| format.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension)))
    }

    /// Whether files of this format are read by the driver of this short name.
    pub fn is_read_by(&self, driver: &str) -> bool {
        self.name == driver || self.kin.contains(&driver)
    }

    /// The names that a manifest may use, for messages.
    pub fn known_names() -> String {
        VECTOR_FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_found_by_its_name_and_by_its_aliases() {
        for name in ["ESRI Shapefile", "shp", "Shapefile", " SHP "] {
            assert_eq!(VectorFormat::find(name).unwrap().name, "ESRI Shapefile");
        }
        assert_eq!(VectorFormat::find("geopackage").unwrap().name, "GPKG");
        assert!(VectorFormat::find("VRT").is_none());
        assert!(VectorFormat::find("PostgreSQL").is_none());
    }

    #[test]
    fn no_two_formats_share_a_name_or_an_extension() {
        let mut names = std::collections::HashSet::new();
        let mut extensions = std::collections::HashSet::new();
        for format in VECTOR_FORMATS {
            for name in std::iter::once(&format.name).chain(format.aliases) {
                assert!(names.insert(name.to_lowercase()), "{name}");
            }
            for extension in format.extensions {
                assert!(extensions.insert(*extension), "{extension}");
            }
        }
    }
}
