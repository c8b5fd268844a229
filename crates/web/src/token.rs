//! The token of the API: a file in the home that only its owner can read.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use catchment_model::{Code, Problem};
use catchment_settings::{Home, Secret, durable};

/// Where the token of a home is kept.
pub fn token_file(home: &Home) -> PathBuf {
    home.root().join("api-token")
}

/// The token of the home; made (256 random bits, mode 0600) where there is none. Safe to call from several
/// processes at once.
///
/// # Errors
/// Where the file cannot be read or written, or is empty.
pub fn load_or_create(home: &Home) -> Result<Secret, Problem> {
    let path = token_file(home);
    load_or_create_at(&path, &home.lock_file("api-token")).map_err(|e| {
        Problem::new(Code::Io, "the token of the API cannot be read or written")
            .place(path.display().to_string())
            .cause(e.to_string())
            .remedy("see that you may read and write the file; one that is removed is made anew")
    })
}

/// The token of the home, where there is one that the caller may read.
pub fn load(home: &Home) -> Option<Secret> {
    let text = std::fs::read_to_string(token_file(home)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

fn load_or_create_at(path: &Path, lock: &Path) -> io::Result<Secret> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock)?;
    lock.lock()?;
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(io::Error::other("the file is empty")),
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0u8; 32];
            std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
            let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            durable::write(path, format!("{token}\n").as_bytes())?;
            Ok(Secret::new(token))
        }
        Err(e) => Err(e),
    }
}

/// Whether two texts are the same, in a time that does not tell how much of them is.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let differences = a.iter().zip(b).fold(0u8, |all, (x, y)| all | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{load, load_or_create, same, token_file};
    use catchment_settings::Home;

    #[test]
    fn the_first_start_makes_a_token_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        assert!(load(&home).is_none());
        let made = load_or_create(&home).unwrap();
        assert_eq!(made.reveal().len(), 64);
        assert_eq!(load_or_create(&home).unwrap(), made);
        assert_eq!(load(&home).unwrap(), made);
        let mode = std::fs::metadata(token_file(&home)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn tokens_are_the_same_only_as_a_whole() {
        assert!(same("abc", "abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert!(!same("abc", other));
        }
    }
}
