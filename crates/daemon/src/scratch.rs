//! Removes the scratch of runs that have ended, however they ended.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use catchment_core::RunId;
use catchment_settings::clock;

use crate::Daemon;

/// Between two sweeps that no end of a run made due.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sweeps when it is due: at the start, after the end of a run, and now and then.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    last: Option<Instant>,
}

impl Sweeper {
    /// A run has ended.
    pub(crate) fn due(&mut self) {
        self.last = None;
    }

    /// Removes what belongs to no live run. What cannot be removed (a dying process still writes there) stays due.
    pub(crate) async fn sweep(&mut self, daemon: &Daemon) {
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        match sweep(daemon).await {
            Ok(()) => self.last = Some(clock::monotonic()),
            Err(error) => tracing::debug!(%error, "scratch could not be swept; it is tried again"),
        }
    }
}

async fn sweep(daemon: &Daemon) -> io::Result<()> {
    // The folders first: a run is in the state before it has one, so a folder whose run is not live by then is left over.
    let found = run_folders(&daemon.home.scratch_root())?;
    if found.is_empty() {
        return Ok(());
    }
    let live: HashSet<_> = daemon
        .context
        .instance
        .live_runs()
        .await
        .map_err(io::Error::other)?
        .into_iter()
        .map(|run| run.run_id)
        .collect();
    let mut outcome = Ok(());
    for run_id in found.into_iter().filter(|id| !live.contains(id)) {
        match tokio::fs::remove_dir_all(daemon.home.scratch_dir(&run_id.to_string())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => outcome = Err(error),
            _ => {}
        }
    }
    outcome
}

/// The runs that have a folder; what has another name is not ours.
fn run_folders(root: &Path) -> io::Result<Vec<RunId>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root)? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()));
    }
    Ok(found)
}
