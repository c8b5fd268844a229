//! Advisory locks that say who holds them: a second start is refused with the pid of the first.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use catchment_model::problem::{Code, Problem};

/// A lock that is held until it is dropped or the process ends, however it ends (`flock(2)`).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is held by the process {}", path.display(), holder.as_deref().unwrap_or("(unknown)"))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// The pid that the holder wrote.
        holder: Option<String>,
    },
    /// The file could not be opened or written.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<LockError> for Problem {
    fn from(error: LockError) -> Self {
        let what = error.to_string();
        match error {
            LockError::Held { holder, .. } => Problem::new(Code::AlreadyRunning, what).remedy(format!(
                "stop the process {} first, or choose another CATCHMENT_HOME",
                holder.as_deref().unwrap_or("that holds it")
            )),
            LockError::Io { source, .. } => Problem::new(Code::Io, what).cause(source.to_string()),
        }
    }
}

impl Lock {
    /// Takes the lock at `path` and writes the own pid into it.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        // SAFETY: the descriptor is open for the whole call.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(io(error));
            }
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            return Err(LockError::Held { path: path.to_owned(), holder: read.then(|| holder.trim().to_owned()) });
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::{Lock, LockError};

    #[test]
    fn a_second_taker_is_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = Lock::take(&path).unwrap();
        match Lock::take(&path) {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, Some(std::process::id().to_string())),
            other => panic!("{other:?}"),
        }
        drop(held);
        Lock::take(&path).unwrap();
    }
}
