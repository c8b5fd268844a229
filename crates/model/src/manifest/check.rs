//! The shape of a manifest: which fields there are and of what type. Every fault is collected; nothing stops
//! at the first one.

use serde_json::{Map, Value};

use super::{FileEntry, FileType, JoinConfig, JoinHow, Manifest, ManifestMetadata, Rules, TagValue, Tags, json, rules};
use crate::id::DatasetId;
use crate::problem::{Code, Fault, Problem};
use crate::s3_path::S3Path;

/// More faults than this are counted, not listed.
const MAX_FAULTS: usize = 100;

pub(super) fn parse(bytes: &[u8], given: &Rules) -> Result<Manifest, Problem> {
    let json::Document { value, faults } = json::read(bytes)?;
    let mut check = Check { faults };
    let manifest = check.manifest(&value, given);
    match manifest {
        Some(manifest) if check.faults.is_empty() => Ok(manifest),
        _ => Err(check.into_problem()),
    }
}

/// Collects faults. A method answers `None` where it has noted why.
pub(super) struct Check {
    faults: Vec<Fault>,
}

/// The members of an object, with its path.
#[derive(Clone, Copy)]
struct Object<'a> {
    path: &'a str,
    members: &'a Map<String, Value>,
}

impl Object<'_> {
    fn at(&self, name: &str) -> String {
        json::member(self.path, name)
    }

    /// The member; `null` is as good as none.
    fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }
}

impl Check {
    pub(super) fn fault(&mut self, path: impl Into<String>, what: impl Into<String>, allowed: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), what: what.into(), allowed: allowed.into() });
    }

    fn into_problem(mut self) -> Problem {
        let count = self.faults.len();
        if count > MAX_FAULTS {
            self.faults.truncate(MAX_FAULTS);
            self.fault("$", format!("has {} more faults, not listed", count - MAX_FAULTS), "none");
        }
        let faults = if count == 1 { "one fault".to_owned() } else { format!("{count} faults") };
        Problem::new(Code::InvalidManifest, format!("the manifest has {faults}"))
            .remedy("mend what is listed and put the manifest again; the batch_id may stay the same")
            .faults(self.faults)
    }

    fn manifest(&mut self, value: &Value, given: &Rules) -> Option<Manifest> {
        let root = self.object("$", value, &["batch_id", "uploader", "intent", "files", "metadata"])?;
        let batch_id = self.required_text(root, "batch_id", 256);
        let uploader = self.required_text(root, "uploader", 256);
        let intent = self.required_text(root, "intent", 128);
        let files = self.files(root);
        let metadata = self.metadata(root);
        let raw = root.get("metadata");
        let tag = raw.and_then(|raw| raw.get("tags")?.get("dataset_id"));
        rules::values(
            self,
            given,
            &rules::Seen {
                batch_id: batch_id.as_deref(),
                intent: intent.as_deref(),
                files_given: root.get("files").is_some(),
                files: &files,
                metadata_given: raw.is_some(),
                dataset_id: tag.filter(|tag| !tag.is_array() && !tag.is_object() && !tag.is_null()),
                join_given: raw.and_then(|raw| raw.get("join_config")).is_some_and(|join| !join.is_null()),
            },
        );
        Some(Manifest {
            batch_id: batch_id?,
            uploader: uploader?,
            intent: intent?,
            files: files.into_iter().map(|file| file.entry).collect::<Option<_>>()?,
            metadata: metadata?,
        })
    }

    /// One for each file, with what could be read of it.
    fn files(&mut self, root: Object<'_>) -> Vec<rules::SeenFile> {
        let Some(value) = root.get("files") else { return Vec::new() };
        let Value::Array(entries) = value else {
            self.fault("$.files", format!("is {}", kind(value)), "a list of files");
            return Vec::new();
        };
        if entries.len() > super::MAX_FILES {
            let allowed = format!("at most {}; split the batch", super::MAX_FILES);
            self.fault("$.files", format!("has {} files", entries.len()), allowed);
        }
        entries
            .iter()
            .take(super::MAX_FILES)
            .enumerate()
            .map(|(i, entry)| self.file(&format!("$.files[{i}]"), entry))
            .collect()
    }

    fn file(&mut self, path: &str, value: &Value) -> rules::SeenFile {
        let Some(file) = self.object(path, value, &["path", "type", "format", "crs", "layer"]) else {
            return rules::SeenFile::default();
        };
        let address = self.required_text(file, "path", 2048).and_then(|text| match text.parse::<S3Path>() {
            Ok(address) => Some(address),
            Err(error) => {
                self.fault(file.at("path"), error.to_string(), "s3://<landing bucket>/<key>, without `.` and `..`");
                None
            }
        });
        let kind = self.one_of(
            file,
            "type",
            &[("vector", FileType::Vector), ("raster", FileType::Raster), ("tabular", FileType::Tabular)],
        );
        if file.get("type").is_none() {
            self.fault(file.at("type"), "is missing", "`vector`, `raster` or `tabular`");
        }
        let format = self.required_text(file, "format", 64);
        let crs = self.optional_text(file, "crs", 65536, true);
        let layer = self.optional_text(file, "layer", 256, true);
        let (path, kind) = (address, kind.flatten());
        let seen = (path.clone(), crs.clone().flatten());
        let entry = (|| Some(FileEntry { path: path?, kind: kind?, format: format?, crs: crs?, layer: layer? }))();
        rules::SeenFile { path: seen.0, kind, crs: seen.1, entry }
    }

    fn metadata(&mut self, root: Object<'_>) -> Option<ManifestMetadata> {
        let Some(value) = root.get("metadata") else {
            self.fault("$.metadata", "is missing", "an object; `{}` where nothing is known");
            return None;
        };
        let names =
            ["project", "description", "title", "keywords", "source", "license", "attribution", "tags", "join_config"];
        let object = self.object("$.metadata", value, &names)?;
        let project = self.optional_text(object, "project", 256, false);
        let description = self.optional_text(object, "description", 65536, false);
        let title = self.optional_text(object, "title", 1024, false);
        let keywords = self.keywords(object);
        let source = self.optional_text(object, "source", 4096, false);
        let license = self.optional_text(object, "license", 1024, false);
        let attribution = self.optional_text(object, "attribution", 4096, false);
        let tags = self.tags(object);
        let join_config = match object.get("join_config") {
            None => Some(None),
            Some(value) => self.join_config(value).map(Some),
        };
        Some(ManifestMetadata {
            project: project?,
            description: description?,
            title: title?,
            keywords: keywords?,
            source: source?,
            license: license?,
            attribution: attribution?,
            tags: tags?,
            join_config: join_config?,
        })
    }

    fn keywords(&mut self, object: Object<'_>) -> Option<Option<Vec<String>>> {
        let Some(value) = object.get("keywords") else { return Some(None) };
        let Value::Array(items) = value else {
            self.fault(object.at("keywords"), format!("is {}", kind(value)), "a list of texts");
            return None;
        };
        if items.len() > 100 {
            self.fault(object.at("keywords"), format!("has {} entries", items.len()), "at most 100");
        }
        let mut all = Vec::new();
        for (i, item) in items.iter().enumerate() {
            match item {
                Value::String(text) => all.push(text.clone()),
                other => self.fault(format!("$.metadata.keywords[{i}]"), format!("is {}", kind(other)), "a text"),
            }
        }
        (all.len() == items.len()).then_some(Some(all))
    }

    fn tags(&mut self, object: Object<'_>) -> Option<Option<Tags>> {
        let Some(value) = object.get("tags") else { return Some(None) };
        let Value::Object(members) = value else {
            self.fault(
                object.at("tags"),
                format!("is {}", kind(value)),
                "an object of named texts, numbers and booleans",
            );
            return None;
        };
        let mut all = Tags::new();
        for (name, value) in members {
            let path = json::member("$.metadata.tags", name);
            let tag = match value {
                Value::Bool(b) => TagValue::Bool(*b),
                Value::String(text) => TagValue::Text(text.clone()),
                Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                    (Some(whole), _, _) => TagValue::Integer(whole),
                    (None, None, Some(number)) => TagValue::Number(number),
                    _ => {
                        self.fault(
                            path,
                            format!("is {n}, which is too large"),
                            "a whole number up to 9223372036854775807; write a larger one as text",
                        );
                        continue;
                    }
                },
                other => {
                    self.fault(path, format!("is {}", kind(other)), "a text, a number, true or false");
                    continue;
                }
            };
            all.insert(name.clone(), tag);
        }
        (all.len() == members.len()).then_some(Some(all))
    }

    fn join_config(&mut self, value: &Value) -> Option<JoinConfig> {
        let names = [
            "spatial_dataset_id",
            "tabular_dataset_id",
            "left_key",
            "right_key",
            "how",
            "spatial_version",
            "tabular_version",
        ];
        let object = self.object("$.metadata.join_config", value, &names)?;
        let spatial = self.dataset(object, "spatial_dataset_id");
        let tabular = self.dataset(object, "tabular_dataset_id");
        let left_key = self.required_text(object, "left_key", 256);
        let right_key = self.optional_text(object, "right_key", 256, true);
        let how = self.one_of(
            object,
            "how",
            &[("left", JoinHow::Left), ("inner", JoinHow::Inner), ("right", JoinHow::Right), ("outer", JoinHow::Outer)],
        );
        let spatial_version = self.version(object, "spatial_version");
        let tabular_version = self.version(object, "tabular_version");
        Some(JoinConfig {
            spatial_dataset_id: spatial?,
            tabular_dataset_id: tabular?,
            left_key: left_key?,
            right_key: right_key?,
            how: how?.unwrap_or_default(),
            spatial_version: spatial_version?,
            tabular_version: tabular_version?,
        })
    }

    fn dataset(&mut self, object: Object<'_>, name: &str) -> Option<DatasetId> {
        let text = self.required_text(object, name, 4096)?;
        DatasetId::new(text.as_str())
            .map_err(|_| self.fault(object.at(name), format!("is {}", quote(&text)), DatasetId::RULE))
            .ok()
    }

    fn version(&mut self, object: Object<'_>, name: &str) -> Option<Option<u64>> {
        let Some(value) = object.get(name) else { return Some(None) };
        match value.as_u64() {
            Some(number) if number >= 1 => Some(Some(number)),
            _ => {
                let what = if value.is_number() { format!("is {value}") } else { format!("is {}", kind(value)) };
                self.fault(object.at(name), what, "a whole number from 1");
                None
            }
        }
    }

    fn object<'a>(&mut self, path: &'a str, value: &'a Value, names: &[&str]) -> Option<Object<'a>> {
        let Value::Object(members) = value else {
            self.fault(path, format!("is {}", kind(value)), "an object");
            return None;
        };
        for name in members.keys().filter(|name| !names.contains(&name.as_str())) {
            let near = names
                .iter()
                .filter(|known| !members.contains_key(**known))
                .map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), known), known))
                .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
                .min();
            let what = match near {
                Some((_, known)) => format!("is not a field of a manifest; did you mean `{known}`?"),
                None => "is not a field of a manifest".to_owned(),
            };
            self.fault(json::member(path, name), what, format!("here: {}", names.join(", ")));
        }
        Some(Object { path, members })
    }

    fn required_text(&mut self, object: Object<'_>, name: &str, longest: usize) -> Option<String> {
        if object.get(name).is_none() {
            self.fault(object.at(name), "is missing", format!("a text of 1 to {longest} characters"));
            return None;
        }
        self.optional_text(object, name, longest, true)?
    }

    /// `Some(None)` where it is not there, `None` where it is wrong.
    fn optional_text(
        &mut self,
        object: Object<'_>,
        name: &str,
        longest: usize,
        filled: bool,
    ) -> Option<Option<String>> {
        let Some(value) = object.get(name) else { return Some(None) };
        let allowed = format!("a text of {} to {longest} characters", u8::from(filled));
        let what = match value {
            Value::String(text) if filled && text.trim().is_empty() => "is empty".to_owned(),
            Value::String(text) if text.chars().count() > longest => format!("has {} characters", text.chars().count()),
            Value::String(text) => return Some(Some(text.clone())),
            other => format!("is {}", kind(other)),
        };
        self.fault(object.at(name), what, allowed);
        None
    }

    /// `Some(None)` where it is not there, `None` where it is wrong.
    fn one_of<T: Copy>(&mut self, object: Object<'_>, name: &str, choices: &[(&str, T)]) -> Option<Option<T>> {
        let Some(value) = object.get(name) else { return Some(None) };
        let found = value.as_str().and_then(|text| choices.iter().find(|(choice, _)| *choice == text));
        if let Some((_, choice)) = found {
            return Some(Some(*choice));
        }
        let what = value.as_str().map_or_else(|| format!("is {}", kind(value)), |text| format!("is {}", quote(text)));
        let allowed: Vec<_> = choices.iter().map(|(choice, _)| format!("`{choice}`")).collect();
        self.fault(object.at(name), what, format!("one of {}", allowed.join(", ")));
        None
    }
}

/// A value in an uploader's words.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => format!("the number {n}"),
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A text in back quotes, cut where it is long.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    format!("`{shown}`")
}
