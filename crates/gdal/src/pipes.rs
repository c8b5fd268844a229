//! Reading the worker's two pipes at once, with a limit on how long the caller waits.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use catchment_settings::clock;

use crate::worker::LineSink;

/// Longest line that is kept of the worker's standard error.
const LINE: usize = 4096;

/// Number of last lines that are kept for an error.
const LAST_WORDS: usize = 20;

/// Why nothing more could be read.
#[derive(Debug)]
pub(crate) enum PipeError {
    /// The pipe ended before what was asked for was complete.
    Ended,
    /// The caller has waited too long.
    TooSlow,
    /// The operating system refused.
    Io(io::Error),
}

/// The worker's standard output and standard error.
pub(crate) struct Pipes {
    out: File,
    err: Option<File>,
    patience: Duration,
    line: Vec<u8>,
    last_words: Vec<String>,
    sink: Option<LineSink>,
}

impl Pipes {
    pub(crate) fn new(out: OwnedFd, err: OwnedFd, patience: Duration, sink: Option<LineSink>) -> Self {
        // SAFETY: plain system calls on descriptors that are open. A larger pipe saves wake-ups; that it is
        // refused (by the system's limit for pipes) does no harm.
        unsafe {
            libc::fcntl(out.as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20);
            let flags = libc::fcntl(err.as_raw_fd(), libc::F_GETFL);
            libc::fcntl(err.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
        Self {
            out: File::from(out),
            err: Some(File::from(err)),
            patience,
            line: Vec::new(),
            last_words: Vec::new(),
            sink,
        }
    }

    /// Fills `buffer`. `Ended` with nothing read and in the middle are told apart by the caller, who knows
    /// whether it was at a boundary.
    pub(crate) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), PipeError> {
        let mut filled = 0;
        while filled < buffer.len() {
            self.wait_for_output()?;
            match self.out.read(&mut buffer[filled..]) {
                Ok(0) => return Err(PipeError::Ended),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PipeError::Io(error)),
            }
        }
        Ok(())
    }

    /// Waits for the end of standard output; whatever still comes is dropped.
    pub(crate) fn read_to_end(&mut self) -> Result<(), PipeError> {
        let mut buffer = [0; 4096];
        loop {
            self.wait_for_output()?;
            match self.out.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PipeError::Io(error)),
            }
        }
    }

    /// Takes in what is left on standard error; the process is dead.
    pub(crate) fn drain_words(&mut self) {
        self.take_words();
        self.end_line();
    }

    /// From now on waits no longer than this.
    pub(crate) fn limit_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The last lines of standard error.
    pub(crate) fn last_words(&self) -> &[String] {
        &self.last_words
    }

    fn wait_for_output(&mut self) -> Result<(), PipeError> {
        loop {
            let started = clock::monotonic();
            let mut polled =
                [poll_for(self.out.as_raw_fd()), poll_for(self.err.as_ref().map_or(-1, |err| err.as_raw_fd()))];
            let timeout = i32::try_from(self.patience.as_millis().max(1)).unwrap_or(i32::MAX);
            // SAFETY: the array lives across the call and its length is given.
            let ready = unsafe { libc::poll(polled.as_mut_ptr(), 2, timeout) };
            self.patience = self.patience.saturating_sub(started.elapsed());
            if ready < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(PipeError::Io(error));
                }
                continue;
            }
            if polled[1].revents != 0 {
                self.take_words();
            }
            if polled[0].revents != 0 {
                return Ok(());
            }
            if self.patience.is_zero() {
                return Err(PipeError::TooSlow);
            }
        }
    }

    fn take_words(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(err) = &mut self.err {
            match err.read(&mut buffer) {
                Ok(0) => self.err = None,
                Ok(read) => {
                    for &byte in &buffer[..read] {
                        match byte {
                            b'\n' => self.end_line(),
                            _ if self.line.len() < LINE => self.line.push(byte),
                            _ => {}
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.err = None,
            }
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        match &self.sink {
            Some(sink) => sink(&line),
            None => tracing::info!(target: "catchment_gdal", "{line}"),
        }
        if self.last_words.len() == LAST_WORDS {
            self.last_words.remove(0);
        }
        self.last_words.push(line);
    }
}

fn poll_for(fd: libc::c_int) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}
