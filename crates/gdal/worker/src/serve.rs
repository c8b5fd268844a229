//! One request in, one stream of frames out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use catchment_gdal::frame::{self, Kind};
use catchment_gdal::protocol::{Command, Request, Trailer, VERSION};
use catchment_model::problem::{Code, Problem};

use crate::{dataset, sandbox};

/// Longest request.
const MAX_REQUEST: u64 = 1 << 20;

/// Serves one request and ends the process. The exit status is 0 whenever the last frame was written: it
/// is the frame that says how it went.
pub(crate) fn serve(started: Instant) -> ExitCode {
    let mut out = match take_output() {
        Ok(out) => out,
        Err(error) => {
            eprintln!("standard output cannot be used: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| answer(&mut out, started))).unwrap_or_else(|_| {
        Err(Problem::new(Code::Bug, "the GDAL worker came upon something that should not be possible")
            .remedy("this is a bug in Catchment: please report it with the file"))
    });
    let written = match &outcome {
        Ok(trailer) => frame::write_json(&mut out, Kind::Trailer, trailer),
        Err(problem) => frame::write_json(&mut out, Kind::Failure, problem),
    };
    let status = i32::from(written.and_then(|()| out.flush()).is_err());
    // SAFETY: ends the process at once: everything was written, and the destructors of libgdal and its
    // hundred libraries would only cost time.
    unsafe { libc::_exit(status) }
}

fn answer(out: &mut File, started: Instant) -> Result<Trailer, Problem> {
    let request = read_request()?;
    if request.version != VERSION {
        return Err(Problem::new(
            Code::Unsupported,
            format!("this GDAL worker speaks protocol {VERSION}, its caller speaks {}", request.version),
        )
        .remedy("install `catchment-gdal` of the same release as the other programs"));
    }
    match &request.command {
        Command::ReadVector(read) => {
            let report = sandbox::enter(&sandbox::Policy {
                inputs: crate::source::files_of(&read.path)?,
                scratch: request.scratch.clone(),
                limits: request.limits.clone(),
            });
            for missing in report.missing() {
                eprintln!("warning: sandbox: {missing}");
            }
            watch_lifeline()?;
            dataset::read_vector(read, &request, report, out, started)
        }
    }
}

fn read_request() -> Result<Request, Problem> {
    let bad =
        |why: String| Problem::new(Code::InvalidInput, "the request to the GDAL worker cannot be read").cause(why);
    let mut line = Vec::new();
    // SAFETY: descriptor 0 is nobody else's; it is left open on purpose, for the lifeline.
    let stdin = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(0) });
    BufReader::new((&*stdin).take(MAX_REQUEST)).read_until(b'\n', &mut line).map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&line).map_err(|error| bad(error.to_string()))
}

/// Takes standard output for the frames alone: whatever a library prints goes to standard error.
fn take_output() -> io::Result<File> {
    // SAFETY: plain system calls; the copy is owned by the returned file. Descriptors that the caller
    // leaked are closed first.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        let copy = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        if copy < 0 || libc::dup2(2, 1) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from_raw_fd(copy))
    }
}

/// Ends the process when the caller is gone: it holds the other end of standard input for as long as it
/// wants an answer.
fn watch_lifeline() -> Result<(), Problem> {
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .stack_size(64 << 10)
        .spawn(|| {
            let mut byte = [0_u8];
            // SAFETY: reads one byte into a buffer of one byte; then ends the process.
            unsafe {
                while libc::read(0, byte.as_mut_ptr().cast(), 1) > 0 {}
                libc::_exit(0);
            }
        })
        .map(drop)
        .map_err(|error| Problem::new(Code::Io, "the GDAL worker cannot start a thread").cause(error.to_string()))
}
