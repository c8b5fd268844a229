//! Named places where a test may kill, stop or delay the process.
//!
//! `CATCHMENT_FAILPOINTS=lake.before_commit=kill,s3.blob_written=stop` names them; unset, [`hit`] costs one
//! load of a static. The actions: `kill` (SIGKILL to oneself), `stop` (SIGSTOP to oneself), `sleep:<ms>`;
//! `kill@3` acts on the third time that the place is reached, so that earlier ones pass.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

enum Action {
    Signal(libc::c_int),
    Sleep(Duration),
}

struct Point {
    action: Action,
    at: u32,
    seen: AtomicU32,
}

static POINTS: OnceLock<HashMap<String, Point>> = OnceLock::new();

/// Marks a boundary of the way of a file; does nothing unless the environment names it.
pub fn hit(name: &str) {
    let points = POINTS.get_or_init(|| parse(&std::env::var("CATCHMENT_FAILPOINTS").unwrap_or_default()));
    let Some(point) = points.get(name) else { return };
    if point.seen.fetch_add(1, Ordering::SeqCst) + 1 != point.at {
        return;
    }
    tracing::warn!(name, "fail point reached");
    match point.action {
        // SAFETY: raising a signal on the own process touches no memory.
        Action::Signal(signal) => unsafe {
            libc::kill(libc::getpid(), signal);
        },
        Action::Sleep(time) => std::thread::sleep(time),
    }
}

fn parse(text: &str) -> HashMap<String, Point> {
    text.split(',')
        .filter_map(|entry| {
            let (name, what) = entry.trim().split_once('=')?;
            let (what, at) = what.split_once('@').unwrap_or((what, "1"));
            let action = match what {
                "kill" => Action::Signal(libc::SIGKILL),
                "stop" => Action::Signal(libc::SIGSTOP),
                _ => Action::Sleep(Duration::from_millis(what.strip_prefix("sleep:")?.parse().ok()?)),
            };
            Some((name.to_owned(), Point { action, at: at.parse().ok()?, seen: AtomicU32::new(0) }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_well_formed_entries_count() {
        let points = super::parse("a=kill, b=sleep:20@2 ,c=nonsense,d");
        assert_eq!(points.len(), 2);
        assert_eq!(points["b"].at, 2);
    }
}
