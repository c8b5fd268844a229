//! What is to be done with each file, settled before anything is sent.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use catchment_model::manifest::{FileEntry, FileType, ManifestMetadata, TagValue, Tags};
use catchment_model::{Code, DatasetId, Manifest, Problem, S3Path};
use catchment_settings::clock;

use super::{format, shapefile};
use crate::args::IngestArgs;

/// One file that becomes one batch.
#[derive(Debug)]
pub(super) struct Plan {
    /// The file that was named.
    pub(super) source: PathBuf,
    /// What the object is called.
    pub(super) name: String,
    /// How many bytes are sent.
    pub(super) size: u64,
    pub(super) batch_id: String,
    pub(super) dataset_id: DatasetId,
    zipped: Option<shapefile::Zipped>,
    entry: Entry,
}

/// What the manifest says.
#[derive(Debug)]
struct Entry {
    kind: FileType,
    format: String,
    intent: String,
    crs: Option<String>,
    layer: Option<String>,
    title: Option<String>,
    tags: Tags,
}

/// Plans every file, or says what is wrong with the first that cannot be taken.
pub(super) fn plans(args: &IngestArgs) -> Result<Vec<Plan>, Problem> {
    if args.files.len() > 1 {
        for (given, option) in [(args.batch_id.is_some(), "--batch-id"), (args.dataset.is_some(), "--dataset")] {
            if given {
                return Err(Problem::new(
                    Code::InvalidInput,
                    format!("{option} names one, and there are several files"),
                )
                .remedy("each file is a batch and a dataset of its own: ingest them one by one"));
            }
        }
    }
    args.files.iter().map(|path| Plan::new(path, args)).collect()
}

impl Plan {
    fn new(source: &Path, args: &IngestArgs) -> Result<Self, Problem> {
        let place = source.display().to_string();
        let bad = |code, what: &str| Problem::new(code, what).place(place.clone());
        let metadata = std::fs::metadata(source).map_err(|e| {
            let code = if e.kind() == std::io::ErrorKind::NotFound { Code::FileNotFound } else { Code::Io };
            bad(code, "the file cannot be read").cause(e.to_string()).remedy("see that the path is right")
        })?;
        if !metadata.is_file() {
            return Err(bad(Code::InvalidInput, "this is not a file")
                .remedy("give files; a Shapefile by its .shp, or as a .zip"));
        }
        let zipped = if shapefile::is_one(source) { Some(shapefile::zip(source)?) } else { None };
        let sent = zipped.as_ref().map_or(source, |zipped| zipped.path.as_path());
        let size =
            std::fs::metadata(sent).map_err(|e| bad(Code::Io, "the file cannot be read").cause(e.to_string()))?.len();
        if size == 0 {
            return Err(bad(Code::FileEmpty, "the file is empty").remedy("give a file that holds features"));
        }
        let guess = format::of_file(sent);
        let (format, kind) = match (&args.format, guess) {
            (Some(format), guess) => (format.clone(), guess.map_or(FileType::Vector, |(_, kind)| kind)),
            (None, Some((format, kind))) => (format.to_owned(), kind),
            (None, None) => {
                return Err(bad(Code::FormatNotAllowed, "the format cannot be told from the file's name")
                    .cause(format!("known extensions: {}; or .zip with one of them in it", format::known()))
                    .remedy("name it with --format, such as --format GPKG"));
            }
        };
        let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = sent.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            source: source.to_owned(),
            name,
            size,
            batch_id: match &args.batch_id {
                Some(batch_id) => batch_id.clone(),
                None => new_batch_id(&stem)?,
            },
            dataset_id: dataset_id(args.dataset.as_deref(), &stem)?,
            zipped,
            entry: Entry {
                kind,
                format,
                intent: args.intent.clone().unwrap_or_else(|| format::usual_intent(kind).to_owned()),
                crs: args.crs.clone(),
                layer: args.layer.clone(),
                title: args.title.clone(),
                tags: tags(&args.tags)?,
            },
        })
    }

    /// The file that is sent.
    pub(super) fn path(&self) -> &Path {
        self.zipped.as_ref().map_or(&self.source, |zipped| &zipped.path)
    }

    /// The manifest, checked as the sensor will check it.
    pub(super) fn manifest(&self, path: S3Path) -> Result<Manifest, Problem> {
        let entry = &self.entry;
        let mut tags = entry.tags.clone();
        tags.insert("dataset_id".into(), TagValue::Text(self.dataset_id.to_string()));
        let rules = catchment_model::manifest::Rules { landing_bucket: path.bucket().to_owned() };
        let manifest = Manifest {
            batch_id: self.batch_id.clone(),
            uploader: uploader(),
            intent: entry.intent.clone(),
            files: vec![FileEntry {
                path,
                kind: entry.kind,
                format: entry.format.clone(),
                crs: entry.crs.clone(),
                layer: entry.layer.clone(),
            }],
            metadata: ManifestMetadata { title: entry.title.clone(), tags: Some(tags), ..ManifestMetadata::default() },
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|e| Problem::new(Code::Bug, "the manifest cannot be written").cause(e.to_string()))?;
        Manifest::parse(&bytes, &rules)
    }
}

/// Who puts the file there: the user of this machine.
fn uploader() -> String {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
    set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(|| "unknown".into())
}

/// `NAME=VALUE`; numbers and booleans are taken as such.
fn tags(given: &[String]) -> Result<Tags, Problem> {
    given
        .iter()
        .map(|text| {
            let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                Problem::new(Code::InvalidInput, format!("`{text}` is no tag")).remedy("write --tag NAME=VALUE")
            })?;
            let value = match value.parse::<bool>() {
                Ok(b) => TagValue::Bool(b),
                Err(_) => match (value.parse::<i64>(), value.parse::<f64>()) {
                    (Ok(n), _) => TagValue::Integer(n),
                    (_, Ok(n)) if n.is_finite() => TagValue::Number(n),
                    _ => TagValue::Text(value.to_owned()),
                },
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}

fn dataset_id(given: Option<&str>, stem: &str) -> Result<DatasetId, Problem> {
    let text = given.map_or_else(|| slug(stem), str::to_owned);
    DatasetId::new(text).map_err(|e| {
        Problem::new(Code::InvalidInput, e.to_string()).place("--dataset").remedy("name the dataset with --dataset ID")
    })
}

/// A name made from a text: lower case, `_` for everything that is not a letter or digit.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'ä' => slug.push_str("ae"),
            'ö' => slug.push_str("oe"),
            'ü' => slug.push_str("ue"),
            'ß' => slug.push_str("ss"),
            'é' | 'è' | 'ê' | 'ë' => slug.push('e'),
            'à' | 'â' | 'á' => slug.push('a'),
            'ç' => slug.push('c'),
            _ if slug.ends_with('_') || slug.is_empty() => {}
            _ => slug.push('_'),
        }
    }
    slug.truncate(100);
    let slug = slug.trim_end_matches('_');
    if slug.is_empty() { "dataset".into() } else { slug.to_owned() }
}

/// `<slug>-<time>-<random>`.
fn new_batch_id(stem: &str) -> Result<String, Problem> {
    let mut random = [0u8; 4];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|e| Problem::new(Code::Io, "the system gives no random bytes").cause(e.to_string()))?;
    let random: String = random.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{}-{}-{random}", slug(stem), clock::now().strftime("%Y%m%dT%H%M%SZ")))
}

#[cfg(test)]
mod tests {
    use catchment_model::manifest::TagValue;

    use super::{new_batch_id, slug, tags};

    #[test]
    fn a_dataset_is_called_as_its_file() {
        assert_eq!(slug("Gebäude 2024 (neu)"), "gebaeude_2024_neu");
        assert_eq!(slug("ne_110m_admin_0_countries"), "ne_110m_admin_0_countries");
        assert_eq!(slug("..."), "dataset");
        assert_eq!(slug("東京"), "dataset");
    }

    #[test]
    fn two_batches_of_one_file_have_different_names() {
        let first = new_batch_id("parcels").unwrap();
        assert!(first.starts_with("parcels-20"), "{first}");
        assert_ne!(first, new_batch_id("parcels").unwrap());
    }

    #[test]
    fn tags_are_numbers_booleans_or_text() {
        let found = tags(&["a=1".into(), "b=0.5".into(), "c=true".into(), "d=x=y".into(), "e=".into()]).unwrap();
        assert_eq!(found["a"], TagValue::Integer(1));
        assert_eq!(found["b"], TagValue::Number(0.5));
        assert_eq!(found["c"], TagValue::Bool(true));
        assert_eq!(found["d"], TagValue::Text("x=y".into()));
        assert_eq!(found["e"], TagValue::Text(String::new()));
        assert!(tags(&["nothing".into()]).is_err());
    }
}
