//! `workspace.yaml`: the code locations, by address or by a binary to start and watch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use catchment_model::problem::{Code, Fault, Problem};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::load::{Checked, fault, read};
use super::scalar::some_number;
use crate::Home;

/// The code locations of an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workspace {
    /// In the order of the file.
    pub locations: Vec<LocationEntry>,
}

/// A code location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationEntry {
    /// Its name in this installation; runs, sensors and schedules are known by it.
    pub name: String,
    /// Where it is.
    pub source: LocationSource,
}

/// Where a code location is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationSource {
    /// Someone else runs its code server.
    Grpc(GrpcAddress),
    /// The daemon starts its code server, watches it, and replaces it when the file changes.
    Binary {
        /// The program.
        path: PathBuf,
        /// What its code server and its runs have in their environment beside what the daemon passes on.
        environment: BTreeMap<String, String>,
    },
}

/// Where a code server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcAddress {
    /// TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Socket(PathBuf),
}

impl fmt::Display for GrpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Workspace {
    /// Reads the file that is named, else `workspace.yaml` of the home folder; `None` where nothing is named and the
    /// home folder has none. Relative paths are relative to the file.
    ///
    /// # Errors
    /// `invalid_config` with every fault, or where the file that is named is not there.
    pub fn load(home: &Home, named: Option<&Path>) -> Result<Option<Self>, Problem> {
        let path = named.map_or_else(|| home.workspace_file(), Path::to_owned);
        let file: Option<WorkspaceFile> = read(&path, |name| std::env::var(name).ok())?;
        if file.is_none() && named.is_some() {
            return Err(Problem::new(Code::InvalidConfig, "the workspace file is not there")
                .place(path.display().to_string())
                .remedy("name another with -w or CATCHMENT_WORKSPACE"));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        Ok(file.map(|file| file.into_workspace(folder)))
    }

    /// The workspace of one location that the daemon starts itself.
    pub fn of_binary(name: &str, path: PathBuf) -> Self {
        let source = LocationSource::Binary { path, environment: BTreeMap::new() };
        Self { locations: vec![LocationEntry { name: name.to_owned(), source }] }
    }
}

impl LocationEntry {
    /// Where its code server listens; that of a binary is a socket in the home folder.
    pub fn address(&self, home: &Home) -> GrpcAddress {
        match &self.source {
            LocationSource::Grpc(address) => address.clone(),
            LocationSource::Binary { .. } => GrpcAddress::Socket(home.location_socket(&self.name)),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WorkspaceFile {
    load_from: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    GrpcServer(GrpcServer),
    Binary(Binary),
    /// A form of Dagster's that loads Python code, by its name.
    Python(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrpcServer {
    host: Option<String>,
    #[serde(default, deserialize_with = "some_number")]
    port: Option<u16>,
    socket: Option<PathBuf>,
    location_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary {
    path: PathBuf,
    location_name: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

const KINDS: &[&str] = &["grpc_server", "binary"];

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "grpc_server: {host, port | socket, location_name} or binary: {path, location_name, environment}",
                )
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let Some(kind) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("the entry is empty; expected grpc_server or binary"));
                };
                let entry = match kind.as_str() {
                    "grpc_server" => Entry::GrpcServer(map.next_value()?),
                    "binary" => Entry::Binary(map.next_value()?),
                    "python_file"
                    | "python_module"
                    | "python_package"
                    | "python_environment"
                    | "autoload_defs_module" => {
                        map.next_value::<IgnoredAny>()?;
                        Entry::Python(kind)
                    }
                    other => return Err(A::Error::unknown_field(other, KINDS)),
                };
                match map.next_key::<String>()? {
                    None => Ok(entry),
                    Some(more) => Err(A::Error::custom(format!(
                        "`{more}` stands beside another kind; expected one kind for each entry of the list"
                    ))),
                }
            }
        }
        deserializer.deserialize_map(Shape)
    }
}

impl Entry {
    fn name(&self) -> String {
        match self {
            Self::GrpcServer(server) => server.location_name.clone().unwrap_or_else(|| server.default_name()),
            Self::Binary(binary) => binary.location_name.clone().unwrap_or_else(|| {
                binary.path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
            }),
            Self::Python(kind) => kind.clone(),
        }
    }
}

impl GrpcServer {
    /// The name that Dagster gives: `grpc:<host>:<port>`; of a socket, with the name of its file.
    fn default_name(&self) -> String {
        match (&self.socket, &self.host, self.port) {
            (Some(socket), ..) => {
                format!("grpc:{}", socket.file_name().map(|n| n.to_string_lossy()).unwrap_or_default())
            }
            (None, host, port) => {
                format!("grpc:{}:{}", host.as_deref().unwrap_or("localhost"), port.unwrap_or_default())
            }
        }
    }
}

/// Whether a name may be in file names, in the text of a sensor, and in an address.
fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(fits)
}

impl Checked for WorkspaceFile {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut names = BTreeSet::new();
        for (place, entry) in self.load_from.iter().enumerate() {
            let path = format!("$.load_from[{place}]");
            match entry {
                Entry::GrpcServer(server) if server.port.is_some() == server.socket.is_some() => faults.push(fault(
                    format!("{path}.grpc_server"),
                    if server.socket.is_some() { "both a port and a socket" } else { "neither a port nor a socket" },
                    "host and port, or socket",
                )),
                Entry::GrpcServer(server) if server.host.is_some() && server.socket.is_some() => faults.push(fault(
                    format!("{path}.grpc_server.host"),
                    "a socket has no host",
                    "host and port, or socket",
                )),
                Entry::Python(kind) => faults.push(fault(
                    format!("{path}.{kind}"),
                    "Catchment does not load Python code itself",
                    "binary: {path: …} for a code location in Rust; a Python program runs as an asset of one, \
                     through Dagster Pipes (PipesSubprocess)",
                )),
                _ => {}
            }
            let name = entry.name();
            if !matches!(entry, Entry::Python(_)) {
                if !is_name(&name) {
                    let what = format!("`{name}` cannot be the name of a location");
                    let allowed = "1 to 64 of A-Z a-z 0-9 _ - . :, as location_name";
                    faults.push(fault(&*path, what, allowed));
                }
                if !names.insert(name.clone()) {
                    let what = format!("there are two locations `{name}`");
                    faults.push(fault(&*path, what, "a location_name of its own for each"));
                }
            }
        }
        faults
    }
}

impl WorkspaceFile {
    fn into_workspace(self, folder: &Path) -> Workspace {
        let locations = self.load_from.into_iter().filter_map(|entry| {
            let name = entry.name();
            let source = match entry {
                Entry::GrpcServer(GrpcServer { socket: Some(socket), .. }) => {
                    LocationSource::Grpc(GrpcAddress::Socket(folder.join(socket)))
                }
                Entry::GrpcServer(server) => LocationSource::Grpc(GrpcAddress::Tcp {
                    host: server.host.unwrap_or_else(|| "localhost".into()),
                    port: server.port?,
                }),
                Entry::Binary(binary) => {
                    LocationSource::Binary { path: folder.join(binary.path), environment: binary.environment }
                }
                Entry::Python(_) => return None,
            };
            Some(LocationEntry { name, source })
        });
        Workspace { locations: locations.collect() }
    }
}
