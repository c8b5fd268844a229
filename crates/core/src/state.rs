//! The state machine of a run: commands in, a new status and an event out. Pure.

use catchment_model::Problem;
use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::run::RunStatus;

/// What may be asked of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Put it into the queue.
    Enqueue,
    /// Take it from the queue: its process is about to be started. The lease's epoch rises.
    Launch,
    /// Its process works.
    Start,
    /// Put it back into the queue: no process of it ever said [`Command::Start`]. The next launch has a higher
    /// epoch, so that a first process that comes late after all can neither start nor commit.
    Requeue,
    /// It ended well.
    Succeed,
    /// It ended with an error.
    Fail(Problem),
    /// End it early: a queued run at once, a live one as soon as its process has let go.
    Cancel,
    /// Its process has let go after a cancel, or never will.
    Canceled,
    /// End it at once, whatever its process does: the lease's epoch rises, so that the process can write nothing more.
    ForceCancel,
}

/// A command that a run in this status does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run in status {from} does not take `{command}`")]
pub struct Refused {
    /// The status of the run.
    pub from: RunStatus,
    /// The command's name.
    pub command: &'static str,
}

impl Command {
    /// The command's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Launch => "launch",
            Self::Start => "start",
            Self::Requeue => "requeue",
            Self::Succeed => "succeed",
            Self::Fail(_) => "fail",
            Self::Cancel => "cancel",
            Self::Canceled => "canceled",
            Self::ForceCancel => "force_cancel",
        }
    }
}

/// The status after `command` and the event that says so.
///
/// # Errors
/// [`Refused`] where the status does not allow the command; nothing changes then.
pub fn transition(from: RunStatus, command: &Command) -> Result<(RunStatus, EventKind), Refused> {
    use RunStatus as S;
    Ok(match (from, command) {
        (S::NotStarted, Command::Enqueue) => (S::Queued, EventKind::RunEnqueued),
        (S::Queued | S::NotStarted, Command::Launch) => (S::Starting, EventKind::RunStarting),
        (S::Starting | S::Managed, Command::Start) => (S::Started, EventKind::RunStart),
        (S::Starting, Command::Requeue) => (S::Queued, EventKind::RunEnqueued),
        (S::Started | S::Canceling, Command::Succeed) => (S::Success, EventKind::RunSuccess),
        (S::NotStarted | S::Queued | S::Starting | S::Started | S::Managed, Command::Fail(_)) => {
            (S::Failure, EventKind::RunFailure)
        }
        (S::NotStarted | S::Queued | S::Managed, Command::Cancel) => (S::Canceled, EventKind::RunCanceled),
        (S::Starting | S::Started, Command::Cancel) => (S::Canceling, EventKind::RunCanceling),
        (S::Canceling, Command::Canceled | Command::Fail(_)) => (S::Canceled, EventKind::RunCanceled),
        (from, Command::ForceCancel) if !from.is_final() => (S::Canceled, EventKind::RunCanceled),
        (from, command) => return Err(Refused { from, command: command.name() }),
    })
}

#[cfg(test)]
mod tests {
    use super::{Command, transition};
    use crate::run::RunStatus;
    use catchment_model::{Code, Problem};
    use proptest::prelude::*;

    fn commands() -> impl Strategy<Value = Command> {
        prop_oneof![
            Just(Command::Enqueue),
            Just(Command::Launch),
            Just(Command::Start),
            Just(Command::Requeue),
            Just(Command::Succeed),
            Just(Command::Fail(Problem::new(Code::Io, "x"))),
            Just(Command::Cancel),
            Just(Command::Canceled),
            Just(Command::ForceCancel),
        ]
    }

    proptest! {
        #[test]
        fn a_final_status_takes_no_command(history in prop::collection::vec(commands(), 0..30)) {
            let mut status = RunStatus::NotStarted;
            for command in &history {
                match transition(status, command) {
                    Ok((next, _)) => {
                        prop_assert!(!status.is_final());
                        prop_assert_ne!(next, status);
                        status = next;
                    }
                    Err(refused) => prop_assert_eq!(refused.from, status),
                }
            }
        }

        #[test]
        fn every_live_run_can_be_ended_by_failing_it(history in prop::collection::vec(commands(), 0..30)) {
            let mut status = RunStatus::NotStarted;
            for command in &history {
                if let Ok((next, _)) = transition(status, command) { status = next; }
            }
            if !status.is_final() {
                let (end, _) = transition(status, &Command::Fail(Problem::new(Code::RunLost, "gone"))).unwrap();
                prop_assert!(end.is_final());
            }
        }
    }
}
