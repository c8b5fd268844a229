//! Named keys for people and programs: the file `keys.json`, and what each role may do.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use catchment_model::problem::{Code, Problem};
use catchment_settings::{S3Credentials, Secret, clock, durable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The name of the installation's own key, which no other key can have.
pub const ADMIN: &str = "admin";

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, in every bucket.
    Admin,
    /// Read, write and list in the landing bucket; read and list in the lake.
    Uploader,
    /// Read and list in the lake.
    Reader,
}

impl std::str::FromStr for Role {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "admin" => Ok(Self::Admin),
            "uploader" => Ok(Self::Uploader),
            "reader" => Ok(Self::Reader),
            other => Err(Problem::new(Code::InvalidInput, format!("there is no role `{other}`"))
                .remedy("use admin, uploader or reader")),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Uploader => "uploader",
            Self::Reader => "reader",
        })
    }
}

/// A named key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose it is; recorded with every object that it writes.
    pub name: String,
    /// The public half.
    pub access_key: String,
    /// The half that signs.
    pub secret_key: Secret,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; a revoked key opens nothing, and its name may be given anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct KeyFile {
    version: u32,
    keys: Vec<Key>,
}

const VERSION: u32 = 1;

/// Makes a key and writes it into the file `path`, durably. A running server takes it at its next request.
///
/// # Errors
/// Where the name is not 1 to 64 of `A-Z a-z 0-9 . _ @ -`, is `admin`, or belongs to a key that is not revoked,
/// or the file cannot be read or written.
pub fn add(path: &Path, name: &str, role: Role) -> Result<Key, Problem> {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fit) || name.eq_ignore_ascii_case(ADMIN) {
        return Err(Problem::new(Code::InvalidInput, format!("`{name}` cannot be the name of a key"))
            .remedy("use 1 to 64 of A-Z a-z 0-9 . _ @ -, other than `admin`"));
    }
    change(path, |file| {
        if file.keys.iter().any(|key| key.name == name && key.revoked_at.is_none()) {
            return Err(Problem::new(Code::Conflict, format!("there is a key named `{name}` already"))
                .remedy("revoke it first, or choose another name"));
        }
        let made = S3Credentials::generate().map_err(|e| unusable(path, &e))?;
        let key = Key {
            name: name.to_owned(),
            access_key: made.access_key,
            secret_key: made.secret_key,
            role,
            created_at: clock::now(),
            revoked_at: None,
        };
        file.keys.push(key.clone());
        Ok(key)
    })
}

/// All keys of the file `path`, revoked ones too, in the order in which they were made.
///
/// # Errors
/// Where the file cannot be read or understood.
pub fn list(path: &Path) -> Result<Vec<Key>, Problem> {
    read(path).map(|file| file.keys).map_err(|e| unusable(path, &e))
}

/// Revokes the key of that name, durably. A running server refuses it from its next request on.
///
/// # Errors
/// Where no key that is not revoked has the name, or the file cannot be read or written.
pub fn revoke(path: &Path, name: &str) -> Result<Key, Problem> {
    change(path, |file| {
        let Some(key) = file.keys.iter_mut().find(|key| key.name == name && key.revoked_at.is_none()) else {
            return Err(Problem::new(Code::NotFound, format!("there is no key named `{name}`"))
                .remedy("see the names with `catchment s3 key list`"));
        };
        key.revoked_at = Some(clock::now());
        Ok(key.clone())
    })
}

fn change<T>(path: &Path, edit: impl FnOnce(&mut KeyFile) -> Result<T, Problem>) -> Result<T, Problem> {
    let io = |e: io::Error| unusable(path, &e);
    if let Some(folder) = path.parent() {
        durable::create_dir_private(folder).map_err(io)?;
    }
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).open(path.with_extension("lock")).map_err(io)?;
    lock.lock().map_err(io)?;
    let mut file = read(path).map_err(io)?;
    let result = edit(&mut file)?;
    file.version = VERSION;
    let bytes = serde_json::to_vec_pretty(&file).map_err(|e| unusable(path, &e.into()))?;
    durable::write(path, &bytes).map_err(io)?;
    Ok(result)
}

fn read(path: &Path) -> io::Result<KeyFile> {
    let file: KeyFile = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => KeyFile { version: VERSION, keys: Vec::new() },
        Err(e) => return Err(e),
    };
    if file.version != VERSION {
        return Err(io::Error::other(format!("it has version {}; this program knows {VERSION}", file.version)));
    }
    Ok(file)
}

fn unusable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Io, "the keys of the S3 server cannot be read or written")
        .place(path.display().to_string())
        .cause(error.to_string())
        .remedy("see that the file may be written and is as `catchment s3 key` wrote it")
}

#[cfg(test)]
mod tests {
    use super::{Role, add, list, revoke};

    #[test]
    fn a_key_is_made_listed_and_revoked_and_its_name_is_free_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        assert!(list(&path).unwrap().is_empty());
        let key = add(&path, "alice@example.org", Role::Uploader).unwrap();
        assert!(add(&path, "alice@example.org", Role::Reader).is_err());
        assert_eq!(list(&path).unwrap(), vec![key.clone()]);
        assert!(revoke(&path, &key.name).unwrap().revoked_at.is_some());
        assert!(revoke(&path, &key.name).is_err());
        assert_ne!(add(&path, &key.name, Role::Reader).unwrap().access_key, key.access_key);
        assert_eq!(list(&path).unwrap().len(), 2);
    }

    #[test]
    fn names_that_could_deceive_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        for name in ["", "admin", "Admin", "a b", "a\nb", "ä", &"x".repeat(65)] {
            assert!(add(&path, name, Role::Reader).is_err(), "{name:?}");
        }
    }
}
