//! The admin key of the embedded S3 server: from the environment, or made at the first start and kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use catchment_model::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::{Environment, Home, Secret, durable};

/// An access key and its secret, as S3 clients take them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Credentials {
    /// The public half, which every request names.
    pub access_key: String,
    /// The half that signs.
    pub secret_key: Secret,
}

impl S3Credentials {
    /// The key that `MINIO_ROOT_USER` and `MINIO_ROOT_PASSWORD` give, else the one in `credentials.json`,
    /// else a new random one, which is written there (mode 0600). Safe to call from several processes at once.
    ///
    /// # Errors
    /// Where the file cannot be read, written or understood.
    pub fn load_or_create(home: &Home, environment: &Environment) -> Result<Self, Problem> {
        if let Some((user, password)) = &environment.s3_root {
            return Ok(Self { access_key: user.clone(), secret_key: password.clone() });
        }
        let path = home.credentials_file();
        load_or_create_at(&path, &home.lock_file("credentials")).map_err(|e| {
            Problem::new(Code::Io, "the admin key of the embedded S3 server cannot be read or written")
                .place(path.display().to_string())
                .cause(e.to_string())
                .remedy("see that the folder may be written and the file is JSON with access_key and secret_key; a file that is removed is made anew")
        })
    }

    /// A new random key: 96 bits of access key, 240 of secret.
    ///
    /// # Errors
    /// Where the system gives no random bytes.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0u8; 42];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let hex = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (access, secret) = bytes.split_at(12);
        Ok(Self { access_key: format!("CK{}", hex(access).to_uppercase()), secret_key: Secret::new(hex(secret)) })
    }
}

fn load_or_create_at(path: &Path, lock: &Path) -> io::Result<S3Credentials> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock)?;
    lock.lock()?;
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let credentials = S3Credentials::generate()?;
            durable::write(path, &serde_json::to_vec_pretty(&credentials)?)?;
            Ok(credentials)
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::S3Credentials;
    use crate::{Environment, Home};

    #[test]
    fn the_first_start_makes_a_key_and_later_ones_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let environment = Environment::from_lookup(|_| None).unwrap();
        let first = S3Credentials::load_or_create(&home, &environment).unwrap();
        assert_eq!(S3Credentials::load_or_create(&home, &environment).unwrap(), first);
        assert_ne!(S3Credentials::generate().unwrap(), first);
    }

    #[test]
    fn the_environment_goes_first_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let environment = Environment::from_lookup(|n| n.starts_with("MINIO_ROOT").then(|| n.to_lowercase())).unwrap();
        let got = S3Credentials::load_or_create(&home, &environment).unwrap();
        assert_eq!(got.access_key, "minio_root_user");
        assert!(!home.credentials_file().exists());
    }
}
