//! A run as a child process in a session of its own, which outlives the daemon.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_model::{Code, Problem};
use catchment_settings::{durable, task};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};

use crate::processes::{PidSpace, Whose};
use crate::{Exit, LaunchRequest, Launcher, Liveness, RunProcess, Stop, processes};

/// Variables that a run's process inherits; of all others it has those alone that its code location names for it.
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
    here: PidSpace,
}

impl SubprocessLauncher {
    /// A launcher without children.
    pub fn new() -> Self {
        let (ended, exits) = mpsc::unbounded_channel();
        Self { ended, exits: Mutex::new(exits), here: PidSpace::here() }
    }
}

impl Default for SubprocessLauncher {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Launcher for SubprocessLauncher {
    async fn launch(&self, request: LaunchRequest) -> Result<String, Problem> {
        let child = spawn(&request).map_err(|e| {
            Problem::new(Code::Io, format!("the process of run {} cannot be started", request.run_id))
                .place(&request.program)
                .cause(e.to_string())
                .remedy("see that the program is there and may be executed, and that the logs folder may be written")
        })?;
        // A child that was not waited for has its pid.
        let pid = child.id().unwrap_or_default();
        let handle = self.here.handle(pid);
        let exit = Exit { run_id: request.run_id, epoch: request.epoch, process: handle.clone(), how: String::new() };
        task::spawn("reap", reap(child, pid, exit, self.ended.clone()));
        Ok(handle)
    }

    // A look through /proc takes milliseconds; a thread that cannot be had means that the runtime is ending.

    async fn find(&self, run_id: RunId, epoch: i64) -> Option<String> {
        let found = tokio::task::spawn_blocking(move || processes::find(Whose { run_id, epoch })).await;
        let found = found.unwrap_or_default();
        let leader = found.iter().find(|pid| processes::is_group_leader(**pid)).or(found.first())?;
        Some(self.here.handle(*leader))
    }

    async fn stop(&self, process: &RunProcess, how: Stop) -> bool {
        let whose = Whose { run_id: process.run_id, epoch: process.epoch };
        let pid = process.handle.as_ref().and_then(|handle| self.here.pid(handle));
        tokio::task::spawn_blocking(move || processes::stop(whose, pid, how)).await.unwrap_or(false)
    }

    async fn liveness(&self, process: &RunProcess) -> Liveness {
        let whose = Whose { run_id: process.run_id, epoch: process.epoch };
        // Of a process elsewhere nothing is known here.
        let Some(pid) = process.handle.as_ref().and_then(|handle| self.here.pid(handle)) else {
            return Liveness::Unknown;
        };
        tokio::task::spawn_blocking(move || processes::liveness(whose, pid)).await.unwrap_or(Liveness::Unknown)
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
async fn reap(mut child: Child, pid: u32, exit: Exit, ended: mpsc::UnboundedSender<Exit>) {
    let how = match child.wait().await {
        Ok(status) => match status.signal() {
            Some(_) => status.to_string(),
            None => format!("exit status: {}", status.code().unwrap_or_default()),
        },
        Err(error) => format!("unknown: {error}"),
    };
    processes::sweep_group(pid);
    if ended.send(Exit { how, ..exit }).is_err() {
        tracing::debug!(run_id = %exit.run_id, "nobody waits for the end of a run's process");
    }
}
