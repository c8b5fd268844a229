//! Blob files: the bytes of objects, under names that no client chooses.
//!
//! A blob lives at `blobs/xx/<32 hex digits>`. It is written once as a [`Draft`], which removes itself unless it
//! is kept, and read under a [`Lease`], which puts its removal off until the reader is done. The index says
//! which blobs exist; [`BlobStore::sweep`] removes the others.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catchment_settings::durable;
use uuid::Uuid;

#[derive(Debug)]
pub(crate) struct BlobStore {
    root: PathBuf,
    use_: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    drafts: HashSet<String>,
    readers: HashMap<String, usize>,
    doomed: HashSet<String>,
}

impl BlobStore {
    /// Opens the store below `root` and makes its folders, durably.
    pub(crate) fn open(root: &Path) -> io::Result<Arc<Self>> {
        let root = root.join("blobs");
        for first in 0..=0xff_u8 {
            durable::create_dir_private(&root.join(format!("{first:02x}")))?;
        }
        File::open(&root)?.sync_all()?;
        durable::sync_parent(&root)?;
        Ok(Arc::new(Self { root, use_: Mutex::default() }))
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.use_.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name.get(..2).unwrap_or("00")).join(name)
    }

    /// Starts a new blob. Blocks.
    pub(crate) fn draft(self: &Arc<Self>) -> io::Result<Draft> {
        let name = Uuid::new_v4().simple().to_string();
        self.in_use().drafts.insert(name.clone());
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(&name));
        match opened {
            Ok(file) => Ok(Draft { store: self.clone(), name, file, kept: false }),
            Err(e) => {
                self.in_use().drafts.remove(&name);
                Err(e)
            }
        }
    }

    /// Keeps these blobs readable until the lease is dropped, even if they are removed meanwhile.
    pub(crate) fn lease(self: &Arc<Self>, names: impl IntoIterator<Item = String>) -> Lease {
        let names: Vec<String> = names.into_iter().collect();
        let mut in_use = self.in_use();
        for name in &names {
            *in_use.readers.entry(name.clone()).or_default() += 1;
        }
        drop(in_use);
        Lease { store: self.clone(), names }
    }

    /// Opens a blob to read. Blocks.
    pub(crate) fn open_blob(&self, name: &str) -> io::Result<File> {
        File::open(self.path(name))
    }

    /// Removes blobs that the index no longer names; one that is being read goes when its reader is done. Blocks.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            let mut in_use = self.in_use();
            if in_use.readers.contains_key(&name) {
                in_use.doomed.insert(name);
            } else {
                drop(in_use);
                self.unlink(&name);
            }
        }
    }

    /// A file that stays behind is found by the next sweep, so a failure is only told.
    fn unlink(&self, name: &str) {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, blob = name, "a blob that is no longer needed could not be removed");
            }
            _ => {}
        }
    }

    /// The names in one of the 256 folders that no upload of this process is writing. Blocks.
    ///
    /// What is not a draft after its folder was listed has been indexed before or is a leftover, so the caller
    /// may look it up in the index and remove what is not there.
    pub(crate) fn settled(&self, first: u8) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(format!("{first:02x}")))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        let in_use = self.in_use();
        names.retain(|name| !in_use.drafts.contains(name));
        Ok(names)
    }
}

/// A blob that is being written. Dropped without [`Draft::keep`], it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    store: Arc<BlobStore>,
    name: String,
    file: File,
    kept: bool,
}

impl Draft {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes bytes and name durable: file and folder are synced. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        durable::sync_parent(&self.store.path(&self.name))
    }

    /// The index names it now.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            self.store.unlink(&self.name);
        }
        self.store.in_use().drafts.remove(&self.name);
    }
}

/// The right to read some blobs.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<BlobStore>,
    names: Vec<String>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        let mut in_use = self.store.in_use();
        for name in self.names.drain(..) {
            if let Some(count) = in_use.readers.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    in_use.readers.remove(&name);
                    if in_use.doomed.remove(&name) {
                        gone.push(name);
                    }
                }
            }
        }
        drop(in_use);
        for name in gone {
            self.store.unlink(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BlobStore;

    #[test]
    fn a_draft_that_is_not_kept_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let mut draft = store.draft().unwrap();
        draft.write(b"x").unwrap();
        let path = store.path(draft.name());
        assert!(path.exists());
        let first = u8::from_str_radix(&draft.name()[..2], 16).unwrap();
        assert!(store.settled(first).unwrap().is_empty());
        drop(draft);
        assert!(!path.exists());
    }

    #[test]
    fn a_blob_that_is_read_is_removed_when_its_last_reader_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        let draft = store.draft().unwrap();
        let name = draft.name().to_owned();
        draft.keep();
        let (one, two) = (store.lease([name.clone()]), store.lease([name.clone()]));
        store.remove([name.clone()]);
        drop(one);
        assert!(store.open_blob(&name).is_ok());
        drop(two);
        assert!(store.open_blob(&name).is_err());
    }
}
