//! A whole file as bytes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A file in memory, by the page cache: however large it is, it takes none of the process's own memory.
pub(crate) struct Mapped {
    start: *mut libc::c_void,
    length: usize,
}

impl Mapped {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?;
        if length == 0 {
            return Ok(Self { start: std::ptr::null_mut(), length });
        }
        // SAFETY: a fresh private read-only mapping of an open file. If the file shrinks meanwhile, this
        // process dies of SIGBUS, which is what it is a process of its own for.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { start, length })
    }

    /// Lets the pages go that lie wholly before this address; they come back from the page cache if they are
    /// looked at again. An address outside the mapping does nothing.
    pub(crate) fn release_before(&self, address: usize) {
        const PAGE: usize = 64 << 10;
        let start = self.start.addr();
        if address <= start || address > start + self.length {
            return;
        }
        let length = (address - start) / PAGE * PAGE;
        // SAFETY: advice on a part of this value's own read-only mapping; its contents stay the file's.
        unsafe { libc::madvise(self.start, length, libc::MADV_DONTNEED) };
    }

    /// Whether these bytes occur in it.
    pub(crate) fn contains(&self, needle: &[u8]) -> bool {
        let bytes = self.bytes();
        // SAFETY: both slices live across the call, with their lengths.
        !unsafe { libc::memmem(bytes.as_ptr().cast(), bytes.len(), needle.as_ptr().cast(), needle.len()) }.is_null()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: the mapping is `length` bytes long and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the mapping is this value's alone.
            unsafe { libc::munmap(self.start, self.length) };
        }
    }
}
