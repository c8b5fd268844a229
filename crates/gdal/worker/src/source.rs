//! What a file is, before GDAL is asked.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use catchment_gdal::format::VectorFormat;
use catchment_model::problem::{Code, Problem};

/// The file and those that belong to it and lie beside it. Errors where it is missing, empty, not a plain
/// file, or cannot be read.
pub(crate) fn files_of(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let place = path.display().to_string();
    let metadata = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Problem::new(Code::FileNotFound, "the file does not exist")
            .place(&place)
            .remedy("upload the file before the manifest, and check its path"),
        _ => Problem::new(Code::Io, "the file cannot be looked at").place(&place).cause(error.to_string()),
    })?;
    if !metadata.is_file() {
        return Err(Problem::new(Code::InvalidInput, "this is not a plain file")
            .place(&place)
            .remedy("name one file; a dataset of several files is uploaded as one zip archive"));
    }
    if metadata.len() == 0 {
        return Err(Problem::new(Code::FileEmpty, "the file is empty: it has no bytes")
            .place(&place)
            .remedy("upload it again"));
    }
    let mut files = vec![path.to_path_buf()];
    let format = VectorFormat::by_extension(path);
    for extension in format.map_or(&[][..], |format| format.sidecars) {
        for spelling in [(*extension).to_owned(), extension.to_uppercase()] {
            let beside = path.with_extension(spelling);
            if fs::symlink_metadata(&beside).is_ok_and(|metadata| metadata.is_file()) {
                files.push(beside);
            }
        }
    }
    Ok(files)
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// A zip archive.
    Zip,
    /// Something that is never read, and what to call it.
    Refused(&'static str),
    /// Something recognisable that is not a vector format of the table.
    Other(&'static str),
    /// Nothing that is known here: GDAL is asked.
    Unknown,
}

/// Looks at the first bytes.
pub(crate) fn nature_of(path: &Path) -> Result<Nature, Problem> {
    let mut start = Vec::with_capacity(4096);
    File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start)).map_err(|error| {
        Problem::new(Code::Io, "the file cannot be read").place(path.display().to_string()).cause(error.to_string())
    })?;
    Ok(nature(&start))
}

fn nature(start: &[u8]) -> Nature {
    const MAGIC: &[(&[u8], Nature)] = &[
        (b"PK\x03\x04", Nature::Zip),
        (b"PK\x05\x06", Nature::Zip),
        (b"II*\0", Nature::Other("a TIFF image")),
        (b"MM\0*", Nature::Other("a TIFF image")),
        (b"II+\0", Nature::Other("a BigTIFF image")),
        (b"MM\0+", Nature::Other("a BigTIFF image")),
        (b"\x89PNG", Nature::Other("a PNG image")),
        (b"\xff\xd8\xff", Nature::Other("a JPEG image")),
        (b"%PDF", Nature::Other("a PDF document")),
        (b"PAR1", Nature::Other("a Parquet file")),
        (b"ARROW1", Nature::Other("an Arrow file")),
        (b"\x1f\x8b", Nature::Other("a gzip archive")),
        (b"7z\xbc\xaf", Nature::Other("a 7-Zip archive")),
        (b"Rar!", Nature::Other("a RAR archive")),
        (b"BZh", Nature::Other("a bzip2 archive")),
        (b"\xfd7zXZ", Nature::Other("an xz archive")),
        (b"\xd0\xcf\x11\xe0", Nature::Other("an old Microsoft Office document")),
        (b"\x7fELF", Nature::Other("a program")),
        (b"\x89HDF", Nature::Other("an HDF5 file")),
    ];
    if let Some((_, nature)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return *nature;
    }
    let text = String::from_utf8_lossy(start).to_lowercase();
    if text.contains("<ogrvrt") || text.contains("<vrtdataset") {
        return Nature::Refused("a GDAL virtual file (VRT), which points at other files");
    }
    if text.contains("<gdal_wms") || text.contains("<ogrwfsdatasource") || text.contains("<wmt_ms_capabilities") {
        return Nature::Refused("a description of a web service");
    }
    if text.trim_start().starts_with("<!doctype html") || text.trim_start().starts_with("<html") {
        return Nature::Other("a web page (HTML)");
    }
    Nature::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_files_are_known_by_their_text_wherever_it_begins() {
        for text in ["<OGRVRTDataSource>", "<?xml version='1.0'?>\n<!-- x -->\n<VRTDataset rasterXSize='1'>"] {
            assert!(matches!(nature(text.as_bytes()), Nature::Refused(_)), "{text}");
        }
        assert_eq!(nature(b"{\"type\":\"FeatureCollection\"}"), Nature::Unknown);
        assert_eq!(nature(b"PK\x03\x04rest"), Nature::Zip);
    }

    #[test]
    fn a_missing_and_an_empty_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.geojson");
        assert_eq!(files_of(&path).unwrap_err().code, Code::FileNotFound);
        fs::write(&path, "").unwrap();
        assert_eq!(files_of(&path).unwrap_err().code, Code::FileEmpty);
        assert_eq!(files_of(folder.path()).unwrap_err().code, Code::InvalidInput);
    }

    #[test]
    fn the_files_of_a_shapefile_are_those_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.shp", "a.dbf", "a.PRJ", "b.dbf", "secret.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let files = files_of(&folder.path().join("a.shp")).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.shp", "a.dbf", "a.PRJ"]);
    }
}
