//! Finds the processes of a run: pids are reused, so none is believed without a look at `/proc`.

use std::fs;
use std::io;
use std::path::Path;

use catchment_core::RunId;

use crate::{Liveness, Stop};

/// The variable by which a process is known to belong to a run; children inherit it.
pub(crate) const RUN_ID: &str = "CATCHMENT_RUN_ID";
/// The variable that holds the epoch that a process was started with.
pub(crate) const EPOCH: &str = "CATCHMENT_LEASE_EPOCH";

/// Whose processes are meant: those of a run, of this epoch and older ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose {
    pub(crate) run_id: RunId,
    pub(crate) epoch: i64,
}

/// Where a pid means something: a boot of a machine, and a namespace of pids on it (pid_namespaces(7)), which a
/// container has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PidSpace(String);

impl PidSpace {
    /// That of this process.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let namespace = fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string()).unwrap_or_default();
        let namespace: String = namespace.chars().filter(char::is_ascii_digit).collect();
        let boot = boot.split('-').next().unwrap_or_default();
        Self(format!("{}/{boot}-{namespace}", read("/proc/sys/kernel/hostname")))
    }

    /// What a process in it is known by everywhere: `pid@host/boot-namespace`.
    pub(crate) fn handle(&self, pid: u32) -> String {
        format!("{pid}@{}", self.0)
    }

    /// The pid, where the handle is of a process in it.
    pub(crate) fn pid(&self, handle: &str) -> Option<u32> {
        handle.split_once('@').filter(|(_, space)| *space == self.0)?.0.parse().ok()
    }
}

/// What `/proc/<pid>` says of a process, as far as it may be read.
enum Identity {
    /// It works for this run, with an epoch that is meant.
    Ours,
    /// It is another, a zombie, or not there.
    Other,
    /// Its environment may not be read.
    Hidden,
}

/// Whether a process that was a run's is still there, and still the run's.
pub(crate) fn liveness(whose: Whose, pid: u32) -> Liveness {
    match identify(whose, pid) {
        Identity::Ours => Liveness::Alive,
        Identity::Other => Liveness::Gone,
        Identity::Hidden => Liveness::Unknown,
    }
}

/// Signals the process groups of a run, `pid` leading one where that is known; answers whether there were any.
pub(crate) fn stop(whose: Whose, pid: Option<u32>, how: Stop) -> bool {
    let signal = match how {
        Stop::Ask => libc::SIGTERM,
        Stop::Force => libc::SIGKILL,
    };
    let leader = pid.filter(|pid| matches!(identify(whose, *pid), Identity::Ours));
    let targets = match leader {
        Some(pid) if is_group_leader(pid) => vec![pid],
        // The leader is gone or not known: whoever carries the run's id is of its making.
        _ => find(whose),
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
pub(crate) fn find(whose: Whose) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id() && matches!(identify(whose, *pid), Identity::Ours))
        .collect()
}

fn identify(whose: Whose, pid: u32) -> Identity {
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
    let ours = value(RUN_ID).is_some_and(|id| id == whose.run_id.to_string())
        && value(EPOCH).and_then(|epoch| epoch.parse::<i64>().ok()).is_some_and(|epoch| epoch <= whose.epoch);
    if ours { Identity::Ours } else { Identity::Other }
}

/// `/proc/<pid>/stat` from its third field, the state, on: the second, the name, may hold anything (proc(5)).
fn stat_fields(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat[stat.rfind(')')? + 1..].trim_start().to_owned())
}

/// Whether the process leads its process group, the third field from the state on.
pub(crate) fn is_group_leader(pid: u32) -> bool {
    stat_fields(pid).and_then(|stat| stat.split(' ').nth(2)?.parse::<u32>().ok()) == Some(pid)
}
