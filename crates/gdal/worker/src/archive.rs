//! Zip archives: the one dataset in it is unpacked into scratch, and nothing else.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use catchment_gdal::format::VectorFormat;
use catchment_gdal::protocol::Limits;
use catchment_model::problem::{Code, Problem};
use zip::ZipArchive;

/// Unpacked sizes up to this are harmless whatever their ratio.
const HARMLESS: u64 = 64 << 20;

/// A dataset that was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Its main file in scratch.
    pub(crate) path: PathBuf,
    /// The member that it was.
    pub(crate) member: String,
}

/// One member of the archive that could be wanted.
struct Member {
    index: usize,
    name: String,
    size: u64,
}

/// Unpacks the one dataset of the declared format. `layer` chooses between several by their names.
pub(crate) fn unpack(
    path: &Path,
    declared: &VectorFormat,
    layer: Option<&str>,
    scratch: &Path,
    limits: &Limits,
) -> Result<Unpacked, Problem> {
    let broken = |error: &dyn std::fmt::Display| {
        Problem::new(Code::FileCorrupt, "the zip archive is damaged or cut off")
            .place(path.display().to_string())
            .cause(error.to_string())
            .remedy("pack and upload it again; `unzip -t` shows what is wrong")
    };
    let file = File::open(path).map_err(|error| broken(&error))?;
    let packed = file.metadata().map_err(|error| broken(&error))?.len();
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| broken(&error))?;
    let members = inspect(&mut archive, packed, limits).map_err(|problem| problem.place(path.display().to_string()))?;
    let chosen = choose(&members, declared, layer).map_err(|problem| problem.place(path.display().to_string()))?;
    let folder = scratch.join("unpacked");
    fs::create_dir(&folder).map_err(|error| broken(&error))?;
    let mut main = PathBuf::new();
    for member in belonging_to(chosen, &members, declared) {
        let target = folder.join(file_name(&member.name));
        let mut source = archive.by_index(member.index).map_err(|error| broken(&error))?;
        copy(&mut source, &target, member.size).map_err(|error| broken(&format!("{}: {error}", member.name)))?;
        if member.index == chosen.index {
            main = target;
        }
    }
    Ok(Unpacked { path: main, member: chosen.name.clone() })
}

/// Looks at every member before any is unpacked.
fn inspect<R: Read + io::Seek>(
    archive: &mut ZipArchive<R>,
    packed: u64,
    limits: &Limits,
) -> Result<Vec<Member>, Problem> {
    let refused = |what: String, remedy: &str| Err(Problem::new(Code::ArchiveRefused, what).remedy(remedy));
    if archive.len() as u64 > limits.archive_members {
        return refused(
            format!("the archive has {} members; {} are allowed", archive.len(), limits.archive_members),
            "pack the one dataset alone",
        );
    }
    let mut total = 0_u64;
    let mut members = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive
            .by_index_raw(index)
            .map_err(|error| Problem::new(Code::FileCorrupt, "the zip archive is damaged").cause(error.to_string()))?;
        let name = match entry.name() {
            Ok(name) => name.replace('\\', "/"),
            Err(_) => String::from_utf8_lossy(entry.name_raw()).into_owned(),
        };
        if entry.is_symlink() {
            return refused(format!("the archive holds a symbolic link, `{name}`"), "pack files, not links");
        }
        if !is_harmless(&name) {
            return refused(
                format!("the archive holds a member that would leave its folder, `{name}`"),
                "pack with relative names and without `..`",
            );
        }
        if entry.encrypted() {
            return refused(format!("the archive's member `{name}` is encrypted"), "pack without a password");
        }
        total = total.saturating_add(entry.size());
        if !entry.is_dir() {
            members.push(Member { index, name, size: entry.size() });
        }
    }
    if total > limits.scratch {
        return refused(
            format!("the archive unpacks to {total} bytes; {} are allowed", limits.scratch),
            "split the dataset, or raise the worker's limit of scratch space",
        );
    }
    if total > HARMLESS && total / packed.max(1) > limits.archive_ratio {
        return refused(
            format!(
                "the archive unpacks to {} times its size; {} are allowed",
                total / packed.max(1),
                limits.archive_ratio
            ),
            "this is how a zip bomb looks; if the data are sound, upload them unpacked or in another format",
        );
    }
    Ok(members)
}

fn is_harmless(name: &str) -> bool {
    let windows_drive = name.as_bytes().get(1) == Some(&b':');
    !name.is_empty()
        && !name.starts_with('/')
        && !windows_drive
        && !name.contains('\0')
        && name.split('/').all(|part| part != "..")
}

fn choose<'a>(members: &'a [Member], declared: &VectorFormat, layer: Option<&str>) -> Result<&'a Member, Problem> {
    let is_noise = |member: &&Member| member.name.starts_with("__MACOSX/") || file_name(&member.name).starts_with('.');
    let format_of = |member: &&Member| VectorFormat::by_extension(Path::new(&member.name));
    let candidates: Vec<&Member> = members
        .iter()
        .filter(|member| !is_noise(member) && format_of(member).is_some_and(|format| format.name == declared.name))
        .collect();
    let list =
        |members: &[&Member]| members.iter().map(|member| format!("`{}`", member.name)).collect::<Vec<_>>().join(", ");
    match candidates.as_slice() {
        [one] => Ok(one),
        [] => {
            let others: Vec<&Member> =
                members.iter().filter(|member| !is_noise(member) && format_of(member).is_some()).collect();
            let held = match others.as_slice() {
                [] if members.is_empty() => "it is empty".to_owned(),
                [] => format!("it holds {}", list(&members.iter().take(10).collect::<Vec<_>>())),
                _ => format!("it holds {}", list(&others)),
            };
            Err(Problem::new(Code::FormatMismatch, format!("the archive holds no {}", declared.name))
                .cause(held)
                .remedy("set the file's `format` in the manifest to what the archive holds"))
        }
        several => {
            let named = layer.and_then(|layer| {
                let mut named = several
                    .iter()
                    .filter(|member| Path::new(&member.name).file_stem().and_then(|stem| stem.to_str()) == Some(layer));
                named.next().filter(|_| named.next().is_none())
            });
            named.copied().ok_or_else(|| {
                Problem::new(Code::LayerAmbiguous, format!("the archive holds {} datasets", several.len()))
                    .cause(list(several))
                    .remedy("pack one dataset an archive, or name one of them (without its extension) as the file's `layer`")
            })
        }
    }
}

/// The chosen member and its sidecars: same folder, same name but for the extension.
fn belonging_to<'a>(
    chosen: &'a Member,
    members: &'a [Member],
    format: &'a VectorFormat,
) -> impl Iterator<Item = &'a Member> {
    let stem = Path::new(&chosen.name).with_extension("");
    members.iter().filter(move |member| {
        let path = Path::new(&member.name);
        let is_sidecar = path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| format.sidecars.iter().any(|known| known.eq_ignore_ascii_case(extension)));
        member.index == chosen.index || (is_sidecar && path.with_extension("") == stem)
    })
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Copies exactly as many bytes as the archive's index promised; more is a lie.
fn copy(source: &mut impl Read, target: &Path, promised: u64) -> io::Result<()> {
    let mut file = File::create_new(target)?;
    let copied = io::copy(&mut source.take(promised.saturating_add(1)), &mut file)?;
    if copied != promised {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is not {promised} bytes long, as it says")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_harmless;

    #[test]
    fn names_that_would_leave_the_folder_are_seen() {
        for name in ["../a.shp", "a/../../b.shp", "/etc/passwd", "C:/a.shp", "a\0.shp", ""] {
            assert!(!is_harmless(name), "{name}");
        }
        for name in ["a.shp", "folder/a.shp", "..a/b..shp", "Straße ünd.shp"] {
            assert!(is_harmless(name), "{name}");
        }
    }
}
