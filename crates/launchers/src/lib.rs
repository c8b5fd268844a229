//! Starts the processes of runs, and ends them.
//!
//! Here: the [`Launcher`] trait and the [`subprocess`] launcher, whose processes outlive the daemon. A launcher for
//! Kubernetes or Slurm is one more file.
//!
//! Not here: which run may start (`catchment_core::queue`), how its process is called (the code location says so),
//! and what becomes of a run whose process is gone (the daemon's monitor). Nothing here knows the state.

mod processes;
pub mod subprocess;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_model::Problem;

pub use subprocess::SubprocessLauncher;

/// What it takes to start the process of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRequest {
    /// The run.
    pub run_id: RunId,
    /// The epoch of the lease that the process works under.
    pub epoch: i64,
    /// The program, as a path or to be found in `PATH`.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, beside the few variables that the launcher passes on.
    pub environment: BTreeMap<String, String>,
    /// The folder for `stdout.log` and `stderr.log`.
    pub log_dir: PathBuf,
}

/// The process of a run, as one wants to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunProcess {
    /// The run.
    pub run_id: RunId,
    /// Its epoch: processes of this or an older one are meant, never those of a newer one.
    pub epoch: i64,
    /// Its pid, where it is known.
    pub pid: Option<u32>,
}

/// How a process is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Asked: it may tidy up (SIGTERM).
    Ask,
    /// Forced (SIGKILL).
    Force,
}

/// Whether a process is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is.
    Alive,
    /// It has ended, or its pid belongs to another process by now.
    Gone,
    /// This launcher cannot tell; only the lease can.
    Unknown,
}

/// A process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The run that it worked for.
    pub run_id: RunId,
    /// The epoch that it was started with.
    pub epoch: i64,
    /// Its pid.
    pub pid: u32,
    /// How it ended, for people: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub how: String,
}

/// Starts processes of runs and ends them.
#[async_trait]
pub trait Launcher: Send + Sync + std::fmt::Debug {
    /// Starts the process; answers its pid once its program runs.
    ///
    /// # Errors
    /// Where the program cannot be started or its log files cannot be made; nothing runs then.
    async fn launch(&self, request: LaunchRequest) -> Result<u32, Problem>;

    /// Ends the process and all that it has started; answers whether there was any. It does not wait for their end.
    async fn stop(&self, process: RunProcess, how: Stop) -> bool;

    /// Whether the process is there.
    async fn liveness(&self, process: RunProcess) -> Liveness;

    /// Waits for the next end of a process that this launcher has started. Cancel-safe. A launcher that is not told
    /// of ends waits for ever.
    async fn next_exit(&self) -> Exit;
}

/// A shared launcher.
pub type SharedLauncher = Arc<dyn Launcher>;
