//! What a file is, by its extension; for an archive, by the extensions of its members. A guess for the manifest:
//! whether the file is what its manifest says is checked where it is read.

use std::path::Path;

use catchment_model::manifest::FileType;

/// Extension, format, kind.
const KNOWN: &[(&str, &str, FileType)] = &[
    ("geojson", "GeoJSON", FileType::Vector),
    ("json", "GeoJSON", FileType::Vector),
    ("geojsonl", "GeoJSONSeq", FileType::Vector),
    ("geojsons", "GeoJSONSeq", FileType::Vector),
    ("ndjson", "GeoJSONSeq", FileType::Vector),
    ("jsonl", "GeoJSONSeq", FileType::Vector),
    ("topojson", "TopoJSON", FileType::Vector),
    ("esrijson", "ESRIJSON", FileType::Vector),
    ("gpkg", "GPKG", FileType::Vector),
    ("fgb", "FlatGeobuf", FileType::Vector),
    ("shp", "ESRI Shapefile", FileType::Vector),
    ("shz", "ESRI Shapefile", FileType::Vector),
    ("gml", "GML", FileType::Vector),
    ("kml", "KML", FileType::Vector),
    ("kmz", "KML", FileType::Vector),
    ("tab", "MapInfo File", FileType::Vector),
    ("mif", "MapInfo File", FileType::Vector),
    ("dxf", "DXF", FileType::Vector),
    ("gpx", "GPX", FileType::Vector),
    ("csv", "CSV", FileType::Tabular),
    ("tif", "GTiff", FileType::Raster),
    ("tiff", "GTiff", FileType::Raster),
];

/// Format and kind of a file by its name alone.
pub(super) fn of_name(name: &str) -> Option<(&'static str, FileType)> {
    let (_, extension) = name.rsplit_once('.')?;
    KNOWN.iter().find(|(known, _, _)| known.eq_ignore_ascii_case(extension)).map(|(_, format, kind)| (*format, *kind))
}

/// Format and kind of a file: of an archive, those of its first member that has any.
pub(super) fn of_file(path: &Path) -> Option<(&'static str, FileType)> {
    let name = path.file_name()?.to_string_lossy();
    if !name.to_ascii_lowercase().ends_with(".zip") {
        return of_name(&name);
    }
    let archive = zip::ZipArchive::new(std::fs::File::open(path).ok()?).ok()?;
    archive.file_names().filter_map(Result::ok).find_map(|name| of_name(&name))
}

/// The extensions, for messages.
pub(super) fn known() -> String {
    KNOWN.iter().map(|(extension, _, _)| *extension).collect::<Vec<_>>().join(", ")
}

/// The intent that files of a kind have where none is given.
pub(super) fn usual_intent(kind: FileType) -> &'static str {
    match kind {
        FileType::Vector => "ingest_vector",
        FileType::Raster => "ingest_raster",
        FileType::Tabular => "ingest_tabular",
    }
}

#[cfg(test)]
mod tests {
    use catchment_model::manifest::FileType;

    use super::{of_file, of_name};

    #[test]
    fn a_name_tells_the_format() {
        assert_eq!(of_name("a.b.GPKG"), Some(("GPKG", FileType::Vector)));
        assert_eq!(of_name("owners.csv"), Some(("CSV", FileType::Tabular)));
        assert_eq!(of_name("readme"), None);
        assert_eq!(of_name("a.exe"), None);
    }

    #[test]
    fn an_archive_is_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.zip");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for name in ["readme.txt", "a.prj", "a.shp"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        zip.finish().unwrap();
        assert_eq!(of_file(&path), Some(("ESRI Shapefile", FileType::Vector)));
    }
}
