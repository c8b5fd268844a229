//! What is done about a run that has lost its process.
//!
//! The order is what makes it safe: the epoch rises in the state (the process can no longer change the run), then in
//! the ledger (it can no longer commit), and only then is the ledger asked what was committed. A run whose outputs
//! are all there is rolled forward. Each step can be repeated: whatever is cut off leaves a live run without a lease,
//! which the next look takes over again.

use catchment_core::reexecution::from_failure;
use catchment_core::state::Command;
use catchment_core::{Run, RunId, RunStatus};
use catchment_instance::{InstanceError, Lease};
use catchment_launchers::{RunProcess, Stop};
use catchment_model::{Code, Problem};

use crate::queue::note_process;
use crate::{Daemon, roll_forward};

/// Takes a run from its process and ends it: well, where the ledger holds all that it was to make; else as failed,
/// or cancelled where that was asked for.
pub(crate) async fn take_over(daemon: &Daemon, run: &Run, why: &str) -> Result<(), Problem> {
    let logs = daemon.home.run_log_dir(&run.run_id.to_string());
    let problem = Problem::new(Code::RunLost, format!("the run was lost: {why}"))
        .place(logs.join("stderr.log").display().to_string())
        .remedy("see its output there, then re-execute the run: what is committed is not done twice");
    settle(daemon, run, why, problem).await
}

/// Takes a run from its process, which lives, and ends it with this problem, unless all it was to make is there.
pub(crate) async fn end(daemon: &Daemon, run: &Run, problem: Problem) -> Result<(), Problem> {
    let why = problem.to_string();
    settle(daemon, run, &why, problem).await
}

/// Sees to it that the process of a run that was cancelled by force neither commits nor lives on. The cancel has raised
/// the run's epoch already.
pub(crate) async fn fence(daemon: &Daemon, run_id: RunId) -> Result<(), Problem> {
    let Some(run) = daemon.context.instance.run(run_id).await? else { return Ok(()) };
    let process = RunProcess { epoch: run.lease_epoch - 1, ..RunProcess::from(&run) };
    // An epoch of 0 was never given out: the run was not launched.
    if process.epoch < 1 {
        return Ok(());
    }
    daemon.ledger.close_run(&run_id.to_string(), run.lease_epoch, daemon.context.now()).await?;
    if daemon.launcher.stop(&process, Stop::Force).await {
        tracing::info!(%run_id, "the process of the run that was cancelled by force was killed");
    }
    Ok(())
}

async fn settle(daemon: &Daemon, run: &Run, why: &str, problem: Problem) -> Result<(), Problem> {
    let now = daemon.context.now();
    let epoch = match daemon.context.instance.revoke(run.run_id, now).await {
        Ok(epoch) => epoch,
        // It ended by itself meanwhile.
        Err(InstanceError::Refused(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let lease = Lease { run_id: run.run_id, epoch };
    let id = run.run_id.to_string();
    let doc = daemon.ledger.close_run(&id, epoch, now).await?;
    daemon.launcher.stop(&RunProcess { epoch: epoch - 1, ..RunProcess::from(run) }, Stop::Force).await;
    let assets = daemon.ledger.run_assets(&id).await?;
    let committed: Vec<&str> = assets.iter().map(|asset| asset.output.as_str()).collect();
    let complete = !doc.expected_outputs.is_empty()
        && doc.expected_outputs.iter().all(|output| committed.contains(&output.as_str()))
        && nothing_else_is_left(daemon, run, &committed).await?;
    let command = if complete && run.status != RunStatus::Starting {
        tracing::warn!(run_id = id, why, "the run was lost after its last commit: it is completed from the ledger");
        roll_forward::write_missing_events(daemon, run, lease, &assets, why).await?;
        Command::Succeed
    } else if run.status == RunStatus::Canceling {
        Command::Canceled
    } else {
        tracing::warn!(run_id = id, why, "the run is ended as failed");
        Command::Fail(problem)
    };
    match daemon.context.instance.command(run.run_id, command, Some(lease), None, daemon.context.now()).await {
        Ok(_) | Err(InstanceError::LeaseLost { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    daemon.context.hints.runs();
    Ok(())
}

/// Whether each step that did not end well only makes what is committed: then the run has done all it was to do.
async fn nothing_else_is_left(daemon: &Daemon, run: &Run, committed: &[&str]) -> Result<bool, Problem> {
    let location = daemon.context.locations.get(&run.location);
    let snapshot = location.and_then(|location| location.snapshot.clone());
    let Some(job) = snapshot.as_ref().and_then(|snapshot| snapshot.job(&run.job_name)) else { return Ok(false) };
    let events = daemon.run_events(run.run_id).await?;
    let Ok(left) = from_failure(job, &run.selection, events.iter().map(|event| &event.event)) else { return Ok(true) };
    Ok(left.iter().all(|key| {
        let step = job.steps.iter().find(|step| step.key == *key);
        let is_committed = |asset: &String| committed.contains(&asset.as_str());
        step.is_some_and(|step| !step.assets.is_empty() && step.assets.iter().all(is_committed))
    }))
}

/// Finds, at the start of a daemon, the processes that its predecessor has started and not noted, and puts back the
/// runs that it had taken from the queue and started none for. No other daemon holds this home, so a STARTING run that
/// no process carries the id of has none; should one appear after all (killed between fork and exec, the child lives),
/// its epoch is refused.
pub(crate) async fn find_what_was_not_noted(daemon: &Daemon) {
    let live = match daemon.context.instance.live_runs().await {
        Ok(live) => live,
        Err(error) => {
            tracing::warn!(%error, "live runs could not be read; the monitor tries again");
            return;
        }
    };
    for run in live.iter().filter(|run| run.status.is_active() && run.process.is_none()) {
        let lease = Lease { run_id: run.run_id, epoch: run.lease_epoch };
        if let Some(process) = daemon.launcher.find(run.run_id, run.lease_epoch).await {
            note_process(daemon, lease, &process).await;
        } else if run.status == RunStatus::Starting {
            put_back(daemon, lease).await;
        }
    }
}

async fn put_back(daemon: &Daemon, lease: Lease) {
    let now = daemon.context.now();
    match daemon.context.instance.command(lease.run_id, Command::Requeue, Some(lease), None, now).await {
        Ok(_) => {
            tracing::info!(run_id = %lease.run_id, "the run was not spawned before the last daemon ended: it is put back");
        }
        Err(error) => tracing::debug!(run_id = %lease.run_id, %error, "the run was not put back"),
    }
}
