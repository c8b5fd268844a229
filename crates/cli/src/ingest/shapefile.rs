//! A Shapefile is several files: they are zipped into one, since a batch's file is one object.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use catchment_model::{Code, Problem};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// Extensions of what belongs to a Shapefile (ESRI Shapefile Technical Description, and what GDAL reads beside it).
const PARTS: &[&str] = &["shp", "shx", "dbf", "prj", "cpg", "cst", "qpj", "sbn", "sbx"];

/// An archive in a temporary folder, which goes with it.
#[derive(Debug)]
pub(super) struct Zipped {
    /// The archive.
    pub(super) path: PathBuf,
    _folder: TempDir,
}

/// Whether this is the main file of a Shapefile.
pub(super) fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("shp"))
}

/// Zips the Shapefile whose main file is `path`, with everything that belongs to it.
pub(super) fn zip(path: &Path) -> Result<Zipped, Problem> {
    let failed = |e: io::Error| {
        Problem::new(Code::Io, "the Shapefile cannot be zipped")
            .place(path.display().to_string())
            .cause(e.to_string())
            .remedy("see that all of its files can be read and the temporary folder (TMPDIR) has room")
    };
    let parts = parts(path).map_err(failed)?;
    for needed in ["shp", "shx", "dbf"] {
        if !parts.iter().any(|part| has_extension(part, needed)) {
            return Err(Problem::new(Code::FileNotFound, format!("the Shapefile has no .{needed} beside it"))
                .place(path.display().to_string())
                .remedy("a Shapefile is at least three files of one name: .shp, .shx and .dbf; put them together"));
        }
    }
    write(path, &parts).map_err(failed)
}

/// The files of the same name that belong to it, sorted.
fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.path();
        if entry.file_stem() == path.file_stem() && PARTS.iter().any(|known| has_extension(&entry, known)) {
            parts.push(entry);
        }
    }
    parts.sort();
    Ok(parts)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

fn write(path: &Path, parts: &[PathBuf]) -> io::Result<Zipped> {
    let folder = tempfile::Builder::new().prefix("catchment-").tempdir()?;
    let name = path.with_extension("zip");
    let archive = folder.path().join(name.file_name().unwrap_or(OsStr::new("shapefile.zip")));
    let mut zip = zip::ZipWriter::new(BufWriter::new(File::create(&archive)?));
    for part in parts {
        let mut source = File::open(part)?;
        let options = SimpleFileOptions::default().large_file(source.metadata()?.len() >= u64::from(u32::MAX));
        let member = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
        zip.start_file(member, options)?;
        io::copy(&mut source, &mut zip)?;
    }
    zip.finish()?;
    Ok(Zipped { path: archive, _folder: folder })
}

#[cfg(test)]
mod tests {
    use catchment_model::Code;

    use super::zip;

    #[test]
    fn a_shapefile_is_zipped_with_its_parts_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.shp", "a.shx", "a.dbf", "a.prj", "A.cpg", "a.cpg", "b.shp", "a.txt"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let zipped = zip(&folder.path().join("a.shp")).unwrap();
        let archive = zip::ZipArchive::new(std::fs::File::open(&zipped.path).unwrap()).unwrap();
        let mut names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a.cpg", "a.dbf", "a.prj", "a.shp", "a.shx"]);
        assert_eq!(zipped.path.file_name().unwrap(), "a.zip");
    }

    #[test]
    fn a_shapefile_without_its_table_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.shp", "a.shx"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(zip(&folder.path().join("a.shp")).unwrap_err().code, Code::FileNotFound);
    }
}
