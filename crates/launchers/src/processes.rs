//! Finds the processes of a run: pids are reused, so none is believed without a look at `/proc`.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Liveness, RunProcess, Stop};

/// The variable by which a process is known to belong to a run; children inherit it.
pub(crate) const RUN_ID: &str = "CATCHMENT_RUN_ID";
/// The variable that holds the epoch that a process was started with.
pub(crate) const EPOCH: &str = "CATCHMENT_LEASE_EPOCH";

/// What `/proc/<pid>` says of a process, as far as it may be read.
enum Identity {
    /// It works for this run, with an epoch that is meant.
    Ours,
    /// It is another, a zombie, or not there.
    Other,
    /// Its environment may not be read.
    Hidden,
}

/// Whether the process that a run was last known by is there.
pub(crate) fn liveness(process: RunProcess) -> Liveness {
    let Some(pid) = process.pid else {
        return if find(process).is_empty() { Liveness::Unknown } else { Liveness::Alive };
    };
    match identify(process, pid) {
        Identity::Ours => Liveness::Alive,
        Identity::Other => Liveness::Gone,
        Identity::Hidden => Liveness::Unknown,
    }
}

/// Signals the process groups of a run, and answers whether there were any.
pub(crate) fn stop(process: RunProcess, how: Stop) -> bool {
    let signal = match how {
        Stop::Ask => libc::SIGTERM,
        Stop::Force => libc::SIGKILL,
    };
    let leader = process.pid.filter(|pid| matches!(identify(process, *pid), Identity::Ours));
    let targets = match leader {
        Some(pid) if is_group_leader(pid) => vec![pid],
        // The leader is gone or not known: whoever carries the run's id is of its making.
        _ => find(process),
    };
    for pid in &targets {
        let target = libc::pid_t::try_from(*pid).unwrap_or(libc::pid_t::MAX);
        let target = if is_group_leader(*pid) { -target } else { target };
        // SAFETY: sending a signal touches no memory; the target was identified just before.
        if unsafe { libc::kill(target, signal) } != 0 {
            tracing::debug!(pid, error = %io::Error::last_os_error(), "a process of a run could not be signalled");
        }
    }
    !targets.is_empty()
}

/// Kills what is left in the process group of a leader that has just been reaped. Its number is not given to
/// another process while a member of the group lives; if none does, the signal goes nowhere.
pub(crate) fn sweep_group(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: sending a signal touches no memory.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}

/// All processes that carry the run's id, with an epoch that is meant.
fn find(process: RunProcess) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && matches!(identify(process, *pid), Identity::Ours))
        .collect()
}

fn identify(process: RunProcess, pid: u32) -> Identity {
    let folder = format!("/proc/{pid}");
    match stat_fields(pid) {
        Some(stat) if !stat.starts_with('Z') && !stat.starts_with('X') => {}
        _ => return Identity::Other,
    }
    let environment = match fs::read(Path::new(&folder).join("environ")) {
        Ok(environment) => environment,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Identity::Hidden,
        Err(_) => return Identity::Other,
    };
    let value = |name: &str| {
        environment
            .split(|b| *b == 0)
            .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let ours = value(RUN_ID).is_some_and(|id| id == process.run_id.to_string())
        && value(EPOCH).and_then(|epoch| epoch.parse::<i64>().ok()).is_some_and(|epoch| epoch <= process.epoch);
    if ours { Identity::Ours } else { Identity::Other }
}

/// `/proc/<pid>/stat` from its third field, the state, on: the second, the name, may hold anything (proc(5)).
fn stat_fields(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat[stat.rfind(')')? + 1..].trim_start().to_owned())
}

/// Whether the process leads its process group, the third field from the state on.
fn is_group_leader(pid: u32) -> bool {
    stat_fields(pid).and_then(|stat| stat.split(' ').nth(2)?.parse::<u32>().ok()) == Some(pid)
}
