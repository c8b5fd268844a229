//! A file that hashes what is written to it.

use std::fs::File;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// Counts and hashes (SHA-256) each byte on its way to the file. There is no seek: what is written stays.
pub(crate) struct HashingFile {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl HashingFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, hash: Sha256::new(), bytes: 0 }
    }

    /// Syncs the file to disk; returns its length and its hash as 64 hex digits.
    pub(crate) fn finish(self) -> io::Result<(u64, String)> {
        self.file.sync_all()?;
        Ok((self.bytes, hex::encode(self.hash.finalize())))
    }
}

impl Write for HashingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
