//! Claims about this machine: the home folder, the disk, who holds the locks.

use catchment_model::{Code, Problem};
use catchment_settings::lock::{Lock, LockError};
use catchment_settings::{Home, durable};

use super::Check;
use crate::humane;

/// Below this much free disk, big files may not fit.
const ROOM_FOR_WORK: u64 = 5_000_000_000;
/// Below this much free disk, state may not be written any more.
const ROOM_FOR_STATE: u64 = 200_000_000;

pub(super) fn checks(home: &Home) -> Vec<Check> {
    let mut checks = vec![writable(home), room(home)];
    checks.extend(["dev", "daemon", "s3"].map(|name| lock(home, name)));
    checks
}

fn writable(home: &Home) -> Check {
    const CLAIM: &str = "the home folder can be written";
    let place = home.root().display().to_string();
    if !home.root().exists() {
        return Check::skipped(CLAIM, format!("{place} is not there yet; `catchment dev` makes it"));
    }
    let probe = home.root().join(".doctor");
    let written = durable::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => Check::passed(CLAIM, place),
        Err(e) => Check::failed(
            CLAIM,
            Problem::new(Code::Io, "the home folder cannot be written")
                .place(place)
                .cause(e.to_string())
                .remedy("give yourself the right to write it, or choose another with CATCHMENT_HOME"),
        ),
    }
}

fn room(home: &Home) -> Check {
    const CLAIM: &str = "the disk has room";
    let Some(there) = home.root().ancestors().find(|folder| folder.exists()) else {
        return Check::skipped(CLAIM, "no folder of the home's path is there");
    };
    let free = match rustix::fs::statvfs(there) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(e) => return Check::skipped(CLAIM, format!("{}: {e}", there.display())),
    };
    let text = format!("{} free", humane::bytes(free));
    let problem = || {
        Problem::new(Code::LimitExceeded, text.clone())
            .place(there.display().to_string())
            .remedy("free some, or move CATCHMENT_HOME to a larger disk; `catchment lake gc` removes garbage")
    };
    match free {
        ..ROOM_FOR_STATE => Check::failed(CLAIM, problem()),
        ROOM_FOR_STATE..ROOM_FOR_WORK => Check::warning(CLAIM, problem()),
        _ => Check::passed(CLAIM, text),
    }
}

fn lock(home: &Home, name: &'static str) -> Check {
    let claim = match name {
        "dev" => "`catchment dev` holds its lock",
        "daemon" => "the daemon holds its lock",
        _ => "the S3 server holds its lock",
    };
    let path = home.lock_file(name);
    if !path.exists() {
        return Check::skipped(claim, "it was never started here");
    }
    match Lock::take(&path) {
        Ok(_) => Check::skipped(claim, "it does not run"),
        Err(LockError::Held { holder, .. }) => {
            Check::passed(claim, format!("process {}", holder.as_deref().unwrap_or("(unknown)")))
        }
        Err(error) => Check::failed(claim, error.into()),
    }
}
