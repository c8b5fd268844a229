//! The run queue: takes runs from it and starts their processes.
//!
//! `Launch` is compare-and-set in the state, so a run is handed over once. Whatever is cut off after it (the daemon
//! killed, the location away) leaves a run in STARTING without a process: it is put back, here, at the next start of
//! a daemon, or by the monitor when the lease lapses, with a higher epoch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::queue::{Limits, next};
use catchment_core::state::Command;
use catchment_core::{Run, RunId, RunStatus};
use catchment_instance::{InstanceError, Lease};
use catchment_launchers::LaunchRequest;
use catchment_model::Problem;
use catchment_settings::{clock, failpoint};
use tokio::sync::watch;

use crate::Daemon;
use crate::location::LocationError;
use crate::reconcile::Reconcile;

/// Between two looks while runs wait; every way to make a run or free a slot gives a hint as well.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
/// The same while none waits.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) struct Queue {
    daemon: Arc<Daemon>,
    /// Whether the location was away at the last launch: it is asked first then, so that no run goes to and fro.
    away: bool,
}

impl Queue {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon, away: false }
    }

    async fn launch(&mut self, run_id: RunId) -> Result<(), Problem> {
        let daemon = &self.daemon;
        let now = clock::now();
        let until = crate::monitor::later(now, daemon.settings.start_timeout);
        let run = match daemon.instance.command(run_id, Command::Launch, None, Some(until), now).await {
            Ok(run) => run,
            // It was cancelled meanwhile.
            Err(InstanceError::Refused(_) | InstanceError::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        failpoint::hit("daemon.after_launch_command");
        let lease = Lease { run_id, epoch: run.lease_epoch };
        let command = match daemon.location.run_command(&run).await {
            Ok(command) => command,
            Err(LocationError::Away(problem)) => {
                self.away = true;
                self.give_back(lease, Command::Requeue).await?;
                return Err(problem);
            }
            Err(LocationError::Refused(problem)) => return self.give_back(lease, Command::Fail(problem)).await,
        };
        let request = LaunchRequest {
            run_id,
            epoch: run.lease_epoch,
            program: command.program,
            arguments: command.arguments,
            environment: command.environment.into_iter().collect(),
            log_dir: daemon.home.run_log_dir(&run_id.to_string()),
        };
        failpoint::hit("daemon.before_spawn");
        daemon.set_child(run_id, run.lease_epoch, true);
        match daemon.launcher.launch(request).await {
            Ok(pid) => {
                failpoint::hit("daemon.after_spawn");
                self.note_pid(lease, pid, &run).await;
                Ok(())
            }
            Err(problem) => {
                daemon.set_child(run_id, run.lease_epoch, false);
                self.give_back(lease, Command::Fail(problem)).await
            }
        }
    }

    /// The process writes its pid with each renewal; this one is for the time until then.
    async fn note_pid(&self, lease: Lease, pid: u32, run: &Run) {
        tracing::info!(run_id = %lease.run_id, job = run.job_name, pid, "the run's process was started");
        let until = run.lease_until.unwrap_or(run.created_at);
        if let Err(error) = self.daemon.instance.renew(lease, pid, until).await {
            tracing::debug!(run_id = %lease.run_id, %error, "the pid was not noted: the run has moved on");
        }
    }

    /// Ends a launch that came to nothing. A run that was cancelled meanwhile is left to the monitor.
    async fn give_back(&self, lease: Lease, command: Command) -> Result<(), Problem> {
        let answer = self.daemon.instance.command(lease.run_id, command, Some(lease), None, clock::now()).await;
        self.daemon.hints.runs();
        match answer {
            Ok(_) | Err(InstanceError::Refused(_) | InstanceError::LeaseLost { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Reconcile for Queue {
    fn name(&self) -> &str {
        "queue"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("QUEUED_RUN_COORDINATOR")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let live = self.daemon.instance.live_runs().await?;
        let limits = Limits { max_concurrent_runs: self.daemon.settings.max_concurrent_runs };
        let chosen = next(&live, limits);
        if self.away && !chosen.is_empty() {
            self.daemon.location.describe().await?;
            self.away = false;
        }
        for run_id in chosen {
            self.launch(run_id).await?;
        }
        let waiting = live.iter().any(|run| run.status == RunStatus::Queued);
        Ok(if waiting { BUSY_INTERVAL } else { IDLE_INTERVAL })
    }
}
