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
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::{Run, RunId};
use catchment_model::Problem;

pub use subprocess::SubprocessLauncher;

/// What it takes to start the process of a run. Its environment may hold secrets: `Debug` shows the names alone.
#[derive(Clone, PartialEq, Eq)]
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
    /// The folder for `stdout.log` and `stderr.log`, where the launcher itself takes the output.
    pub log_dir: PathBuf,
}

impl fmt::Debug for LaunchRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchRequest")
            .field("run_id", &self.run_id)
            .field("epoch", &self.epoch)
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("log_dir", &self.log_dir)
            .finish()
    }
}

/// The process of a run, as one wants to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProcess {
    /// The run.
    pub run_id: RunId,
    /// Its epoch: processes of this or an older one are meant, never those of a newer one.
    pub epoch: i64,
    /// What [`Launcher::launch`] answered, where it is known.
    pub handle: Option<String>,
}

impl From<&Run> for RunProcess {
    /// The process that holds the run's lease.
    fn from(run: &Run) -> Self {
        Self { run_id: run.run_id, epoch: run.lease_epoch, handle: run.process.clone() }
    }
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
    /// It has ended.
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
    /// Its handle.
    pub process: String,
    /// How it ended, for people: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub how: String,
}

/// Starts processes of runs and ends them, wherever they run: here, on another host, in a cluster.
#[async_trait]
pub trait Launcher: Send + Sync + std::fmt::Debug {
    /// Starts the process. Answers a handle: a text that any launcher of the same kind knows it by, on this host and
    /// on others, and that nobody else reads (a process on a host, a job's name in Kubernetes, a job id of Slurm).
    ///
    /// # Errors
    /// Where the process cannot be started; nothing runs then.
    async fn launch(&self, request: LaunchRequest) -> Result<String, Problem>;

    /// The handle of a process of a run, of this epoch or an older one, that was started and never noted; `None`
    /// where there is none, or none within this launcher's sight.
    async fn find(&self, run_id: RunId, epoch: i64) -> Option<String>;

    /// Ends the process and all that it has started; answers whether there was any. It does not wait for their end.
    async fn stop(&self, process: &RunProcess, how: Stop) -> bool;

    /// Whether the process is there.
    async fn liveness(&self, process: &RunProcess) -> Liveness;

    /// Waits for the next end of a process that this launcher has started. Cancel-safe. A launcher that is not told
    /// of ends waits for ever.
    async fn next_exit(&self) -> Exit;
}

/// A shared launcher.
pub type SharedLauncher = Arc<dyn Launcher>;
