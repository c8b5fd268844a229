//! A run as a child process in a session of its own, which outlives the daemon.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use async_trait::async_trait;
use catchment_model::{Code, Problem};
use catchment_settings::{durable, task};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

use crate::{Exit, LaunchRequest, Launcher, Liveness, RunProcess, Stop, processes};

/// Variables that a run's process inherits; all others are kept from it.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "TMPDIR",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "PROJ_DATA",
    "GDAL_DATA",
    "GDAL_DRIVER_PATH",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DAGSTER_HOME",
];
/// The same by prefix: what CONTRACTS.md fixes.
const PASSED_ON_PREFIXES: &[&str] = &["CATCHMENT_", "MINIO_", "MONGO_", "POSTGRES_", "DAGSTER_POSTGRES_", "LC_"];

/// Starts runs as child processes of the daemon.
///
/// Each is the leader of a new session, has no standard input, and appends its output to files, so that neither the
/// daemon's end nor a signal to its group reaches it. While the daemon lives, it reaps its children and hears of
/// their end at once.
#[derive(Debug)]
pub struct SubprocessLauncher {
    ended: mpsc::UnboundedSender<Exit>,
    exits: Mutex<mpsc::UnboundedReceiver<Exit>>,
    /// The folder that holds a folder of logs for each run that was launched on this host.
    launched_here: Option<PathBuf>,
}

impl SubprocessLauncher {
    /// A launcher without children.
    pub fn new() -> Self {
        let (ended, exits) = mpsc::unbounded_channel();
        Self { ended, exits: Mutex::new(exits), launched_here: None }
    }

    /// A launcher that shares its state with those of other hosts: it says nothing of a run that has no folder of its
    /// id in `logs`, since a pid means nothing elsewhere.
    pub fn of_this_host(logs: impl Into<PathBuf>) -> Self {
        Self { launched_here: Some(logs.into()), ..Self::new() }
    }
}

impl Default for SubprocessLauncher {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Launcher for SubprocessLauncher {
    async fn launch(&self, request: LaunchRequest) -> Result<u32, Problem> {
        let child = spawn(&request).map_err(|e| {
            Problem::new(Code::Io, format!("the process of run {} cannot be started", request.run_id))
                .place(&request.program)
                .cause(e.to_string())
                .remedy("see that the program is there and may be executed, and that the logs folder may be written")
        })?;
        // A child that was not waited for has its pid.
        let pid = child.id().unwrap_or_default();
        task::spawn(
            "reap",
            reap(
                child,
                Exit { run_id: request.run_id, epoch: request.epoch, pid, how: String::new() },
                self.ended.clone(),
            ),
        );
        Ok(pid)
    }

    async fn stop(&self, process: RunProcess, how: Stop) -> bool {
        // A look through /proc takes milliseconds; a thread that cannot be had means that the runtime is ending.
        tokio::task::spawn_blocking(move || processes::stop(process, how)).await.unwrap_or(false)
    }

    async fn liveness(&self, process: RunProcess) -> Liveness {
        if self.launched_here.as_ref().is_some_and(|logs| !logs.join(process.run_id.to_string()).is_dir()) {
            return Liveness::Unknown;
        }
        tokio::task::spawn_blocking(move || processes::liveness(process)).await.unwrap_or(Liveness::Unknown)
    }

    async fn next_exit(&self) -> Exit {
        match self.exits.lock().await.recv().await {
            Some(exit) => exit,
            // `self` holds a sender, so the channel never closes.
            None => std::future::pending().await,
        }
    }
}

fn spawn(request: &LaunchRequest) -> io::Result<Child> {
    durable::create_dir_private(&request.log_dir)?;
    let passed_on = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|n| PASSED_ON.contains(&n) || PASSED_ON_PREFIXES.iter().any(|p| n.starts_with(p)))
    });
    let mut command = Command::new(&request.program);
    command
        .args(&request.arguments)
        .env_clear()
        .envs(passed_on)
        .envs(&request.environment)
        .env(processes::RUN_ID, request.run_id.to_string())
        .env(processes::EPOCH, request.epoch.to_string())
        .stdin(Stdio::null())
        .stdout(log_file(&request.log_dir, "stdout.log")?)
        .stderr(log_file(&request.log_dir, "stderr.log")?);
    // SAFETY: setsid(2) is async-signal-safe, and nothing else happens between fork and exec.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
    }
    command.spawn()
}

fn log_file(folder: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(name))
}

/// Waits for the end of a child, ends what it has left behind, and says so.
async fn reap(mut child: Child, exit: Exit, ended: mpsc::UnboundedSender<Exit>) {
    let how = match child.wait().await {
        Ok(status) => match status.signal() {
            Some(_) => status.to_string(),
            None => format!("exit status: {}", status.code().unwrap_or_default()),
        },
        Err(error) => format!("unknown: {error}"),
    };
    processes::sweep_group(exit.pid);
    if ended.send(Exit { how, ..exit }).is_err() {
        tracing::debug!(run_id = %exit.run_id, "nobody waits for the end of a run's process");
    }
}
