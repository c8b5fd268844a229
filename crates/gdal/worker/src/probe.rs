//! Shows what confines the worker on this machine, and that it holds.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use catchment_gdal::protocol::{Limits, SandboxReport};
use serde::Serialize;

use crate::sandbox;

/// One thing that was tried from within.
#[derive(Debug, Serialize)]
struct Attempt {
    /// What was tried.
    what: String,
    /// Whether it should be refused.
    should_be_refused: bool,
    /// Whether it was.
    refused: bool,
    /// What the system said.
    answer: String,
}

#[derive(Debug, Serialize)]
struct Findings {
    #[serde(flatten)]
    report: SandboxReport,
    attempts: Vec<Attempt>,
}

/// `catchment-gdal sandbox [--json] [--probe [--read FILE] [--write FILE] [--connect HOST:PORT]]`: exit
/// status 0 where files and network are confined and every attempt ended as it should, 1 where not.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let value = |name: &str| {
        let at = arguments.iter().position(|&argument| argument == name)?;
        arguments.get(at + 1).copied()
    };
    let folder = match tempfile::Builder::new().prefix("catchment-gdal-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("no scratch folder can be made: {error}");
            return ExitCode::FAILURE;
        }
    };
    let scratch = folder.keep();
    // The sandbox cannot remove its own folder once it is in it: a child goes in, this process cleans up.
    // SAFETY: the process has one thread; the child ends by `_exit` below.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let findings = look(&scratch, arguments.contains(&"--probe"), &value);
        print(&findings, arguments.contains(&"--json"));
        let is_good = findings.report.files_confined
            && findings.report.network_confined
            && findings.attempts.iter().all(|attempt| attempt.refused == attempt.should_be_refused);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(i32::from(!is_good)) };
    }
    let mut status = 1 << 8;
    // SAFETY: waits for the child that was just made, if it was.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if let Err(error) = fs::remove_dir_all(&scratch) {
        eprintln!("{} cannot be removed: {error}", scratch.display());
    }
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn look<'a>(scratch: &Path, probe: bool, value: &impl Fn(&str) -> Option<&'a str>) -> Findings {
    let policy = sandbox::Policy { inputs: Vec::new(), scratch: scratch.to_path_buf(), limits: Limits::default() };
    let report = sandbox::enter(&policy);
    let mut attempts = Vec::new();
    if probe {
        let foreign = PathBuf::from(value("--read").unwrap_or("/etc/passwd"));
        attempts.push(attempt(&format!("read {}", foreign.display()), true, fs::read(&foreign).map(drop)));
        let outside = PathBuf::from(value("--write").unwrap_or("/var/tmp/catchment-gdal-probe"));
        attempts.push(attempt(&format!("write {}", outside.display()), true, fs::write(&outside, "probe")));
        let address = value("--connect").and_then(|text| text.parse().ok());
        let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop);
        attempts.push(attempt(&format!("connect to {address}"), true, connected));
        attempts.push(attempt("start /usr/bin/env", true, Command::new("/usr/bin/env").status().map(drop)));
        attempts.push(attempt("trace another process", true, trace_parent()));
        attempts.push(attempt("write to scratch", false, fs::write(scratch.join("probe"), "probe")));
        let library = Path::new("/etc/ld.so.cache");
        attempts.push(attempt("read the library cache", false, fs::read(library).map(drop)));
    }
    Findings { report, attempts }
}

fn attempt(what: &str, should_be_refused: bool, outcome: io::Result<()>) -> Attempt {
    Attempt {
        what: what.to_owned(),
        should_be_refused,
        refused: outcome.is_err(),
        answer: outcome.map_or_else(|error| error.to_string(), |()| "allowed".to_owned()),
    }
}

fn trace_parent() -> io::Result<()> {
    // SAFETY: asks to attach to the parent; there is nothing to clean up but the process itself, which ends.
    let answer = unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn print(findings: &Findings, as_json: bool) {
    if as_json {
        match serde_json::to_string_pretty(findings) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("{error}"),
        }
        return;
    }
    for layer in &findings.report.layers {
        let state = if layer.in_force { "in force" } else { "MISSING" };
        println!("{:20} {state:9} {}", layer.name, layer.detail);
    }
    for attempt in &findings.attempts {
        let verdict = if attempt.refused == attempt.should_be_refused { "good" } else { "BAD" };
        let outcome = if attempt.refused { "refused" } else { "allowed" };
        println!("{verdict:5} {outcome}: {} ({})", attempt.what, attempt.answer);
    }
}
