//! IO managers: where the values of steps are kept, and how they come back in another process.
//!
//! Within a run's process a value is handed on as it is. It is also given to the IO manager of its output, so that a
//! later run (a re-execution, a run that makes only what is downstream) can load it. An output names its manager by
//! the name of a resource; without, it is the one named [`DEFAULT`], and where the location defines none, files in
//! the home folder. What is committed to the lake is taken from there ([`LakeIoManager`]).

pub(crate) mod lake;
mod objects;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_core::metadata::{Metadata, MetadataValue};
use catchment_model::{Code, Problem};
use catchment_settings::durable;

use crate::output::SharedValue;
use crate::probe::Codec;

pub use lake::LakeIoManager;
pub use objects::ObjectStoreIoManager;

/// The name of the IO manager of outputs that name none.
pub const DEFAULT: &str = "io_manager";

/// Which value is kept: the output of a step, and the asset that it is.
#[derive(Debug, Clone)]
pub struct OutputContext {
    /// The run that made it.
    pub run_id: RunId,
    /// The step.
    pub step_key: String,
    /// The output.
    pub output: String,
    /// The mapping key of one of the values of an output that fans out; that of a step that runs once for each key is
    /// in its key.
    pub mapping_key: Option<String>,
    /// The asset.
    pub asset_key: Option<String>,
    /// The partition of the asset.
    pub partition: Option<String>,
    /// What the asset's definition says of it.
    pub metadata: Metadata,
    /// The type's name, for messages.
    pub type_name: &'static str,
    /// How it is written as JSON; `None` where its type lacks `Serialize` or `DeserializeOwned`.
    pub codec: Option<Codec>,
}

impl OutputContext {
    /// What names the value for good and no other, in parts that are plain names of files: those of the asset's key
    /// and `@<partition>`, or `@runs`, run, step, output and `@<mapping key>`. All but letters, digits, `_` and `-` is
    /// percent-encoded (RFC 3986); a part that is too long for a file goes on in the next, with `~` at its end.
    pub fn path(&self) -> Vec<String> {
        let mut path = Vec::new();
        match &self.asset_key {
            Some(key) => {
                key.split('/').for_each(|part| push_part(&mut path, "", part));
                self.partition.iter().for_each(|key| push_part(&mut path, "@", key));
            }
            None => {
                path.extend(["@runs".to_owned(), self.run_id.to_string()]);
                push_part(&mut path, "", &self.step_key);
                push_part(&mut path, "", &self.output);
                self.mapping_key.iter().for_each(|key| push_part(&mut path, "@", key));
            }
        }
        path
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// Where its type has no codec, with the remedy.
    pub fn encode(&self, value: &SharedValue) -> Result<Vec<u8>, Problem> {
        self.codec()?.encode(value).map_err(|error| {
            Problem::new(Code::InvalidInput, format!("the value of `{}` cannot be written as JSON", self.name()))
                .place(self.step_key.clone())
                .cause(error)
        })
    }

    /// The value that JSON stands for.
    ///
    /// # Errors
    /// Where its type has no codec, or the bytes are not of it.
    pub fn decode(&self, bytes: &[u8]) -> Result<SharedValue, Problem> {
        self.codec()?.decode(bytes).map_err(|error| {
            Problem::new(
                Code::FileCorrupt,
                format!("the value of `{}` cannot be read as a {}", self.name(), self.type_name),
            )
            .place(self.step_key.clone())
            .cause(error)
            .remedy("its type has changed since it was kept: make it again")
        })
    }

    /// The asset's key, or the step's.
    pub fn name(&self) -> &str {
        self.asset_key.as_deref().unwrap_or(&self.step_key)
    }

    fn codec(&self) -> Result<&Codec, Problem> {
        self.codec.as_ref().ok_or_else(|| not_stored(self.name(), self.type_name, &self.step_key))
    }
}

/// The longest part of a path, in bytes: a name of a file has 255 at most, some of which are its ending.
const LONGEST_PART: usize = 200;

/// A path for a text, unique to it: one name of a file, or several where it is long.
pub(crate) fn file_names(text: &str) -> PathBuf {
    let mut path = Vec::new();
    push_part(&mut path, "", text);
    path.into_iter().collect()
}

fn push_part(path: &mut Vec<String>, mark: &str, text: &str) {
    let mut part = mark.to_owned();
    for byte in text.bytes() {
        let encoded = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        if part.len() + encoded.len() > LONGEST_PART {
            part.push('~');
            path.push(std::mem::take(&mut part));
        }
        part.push_str(&encoded);
    }
    // No text is encoded as this.
    path.push(if part.is_empty() { "%".to_owned() } else { part });
}

pub(crate) fn not_stored(name: &str, type_name: &str, place: &str) -> Problem {
    Problem::new(
        Code::InvalidConfig,
        format!("the value of `{name}` cannot be kept: {type_name} is not stored as JSON"),
    )
    .place(place)
    .remedy(
        "derive serde's Serialize and Deserialize for its type, name an IO manager that knows the type, or run \
             what needs the value together with what makes it",
    )
}

/// Keeps values of steps. Implement it for a place of your own, and add it by
/// [`Definitions::io_manager`](crate::Definitions::io_manager).
#[async_trait]
pub trait IoManager: Send + Sync {
    /// Keeps a value; what it answers is added to the metadata of the asset.
    ///
    /// # Errors
    /// Where it cannot be kept: the step fails.
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem>;

    /// Loads a value that was kept.
    ///
    /// # Errors
    /// `not_found` where none was kept under this context; whatever else prevents it.
    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem>;

    /// Whether it needs the value's type to be stored as JSON; `check` then asks for it.
    fn needs_codec(&self) -> bool {
        false
    }
}

/// Keeps values in the memory of the process.
#[derive(Default)]
pub struct MemoryIoManager(Mutex<HashMap<Vec<String>, SharedValue>>);

#[async_trait]
impl IoManager for MemoryIoManager {
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(context.path(), value.clone());
        Ok(Metadata::new())
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&context.path()).cloned();
        kept.ok_or_else(|| not_kept(context, "the memory of this process"))
    }
}

/// Keeps values as JSON files below a folder: `<asset key>/@<partition>` or `@runs/<run>/<step>/<output>` (see
/// [`OutputContext::path`]), with `.json` behind it. A file is complete or not there, also after a power cut.
#[derive(Debug, Clone)]
pub struct FilesIoManager {
    folder: PathBuf,
}

impl FilesIoManager {
    /// Below this folder, which is made when it is first needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self, context: &OutputContext) -> PathBuf {
        let mut path = self.folder.clone();
        path.extend(context.path());
        path.as_mut_os_string().push(".json");
        path
    }
}

#[async_trait]
impl IoManager for FilesIoManager {
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem> {
        let bytes = context.encode(value)?;
        let path = self.path(context);
        let failed = |error: std::io::Error| {
            Problem::new(Code::Io, format!("the value of `{}` cannot be kept", context.name()))
                .place(path.display().to_string())
                .cause(error.to_string())
                .remedy("see that the disk has room and the folder may be written")
        };
        let file = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&file, &bytes)).await;
        written.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(failed)?;
        Ok(Metadata::from_iter([("path".to_owned(), MetadataValue::Path(path.display().to_string()))]))
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        let path = self.path(context);
        match tokio::fs::read(&path).await {
            Ok(bytes) => context.decode(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(not_kept(context, &path.display().to_string()))
            }
            Err(error) => Err(Problem::new(Code::Io, format!("the value of `{}` cannot be read", context.name()))
                .place(path.display().to_string())
                .cause(error.to_string())),
        }
    }

    fn needs_codec(&self) -> bool {
        true
    }
}

/// Writes a file that survives a power cut, and so do the folders that it makes.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let made: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    durable::create_dir_private(folder)?;
    for folder in made {
        durable::sync_parent(folder)?;
    }
    durable::write(path, bytes)
}

fn not_kept(context: &OutputContext, place: &str) -> Problem {
    Problem::new(Code::NotFound, format!("no value of `{}` was kept", context.name()))
        .place(place)
        .remedy(format!("make `{}` first, or in the same run", context.name()))
}
