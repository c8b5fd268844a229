//! Which daemon decides: at most one of all that share a state.
//!
//! The lead is a lease with an epoch. It is renewed well before its end; whoever leads writes through a handle that is
//! fenced with the epoch, so that one that was suspended and wakes up late changes nothing. A daemon that does not
//! lead waits, looks now and then, and takes over when the lease has run out or was given back.

use std::io;
use std::path::Path;
use std::time::Duration;

use catchment_core::RunId;
use catchment_instance::SharedInstance;
use catchment_settings::{Home, clock, durable};
use tokio_util::sync::CancellationToken;

use crate::monitor::later;

/// How far ahead the lead is taken: after this time another daemon may take over.
const AHEAD: Duration = Duration::from_secs(6);
/// Between two renewals, and between two looks of one that waits.
const EVERY: Duration = Duration::from_millis(1500);

/// What a daemon is known by: its home, and this start of it.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    home: String,
    name: String,
}

impl Holder {
    /// The name of this process, which holds the lock of `home`. A home has an id of its own, made at its first start:
    /// hosts and paths may be the same elsewhere.
    ///
    /// # Errors
    /// Where the id can be neither read nor written.
    pub(crate) fn new(home: &Home) -> io::Result<Self> {
        let file = home.lock_file("daemon").with_extension("id");
        let id = match std::fs::read_to_string(&file) {
            Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
            Ok(_) => make_id(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_id(&file)?,
            Err(error) => return Err(error),
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let home = format!("{}:{id}", host.trim());
        let name = format!("{home}#{}:{}", std::process::id(), RunId::random());
        Ok(Self { home, name })
    }

    /// Whether that is an earlier process of the same home. It has ended: this one holds the home's lock.
    fn came_after(&self, other: &str) -> bool {
        other != self.name && other.rsplit_once('#').is_some_and(|(home, _)| home == self.home)
    }
}

fn make_id(file: &Path) -> io::Result<String> {
    let id = RunId::random().to_string();
    durable::write(file, id.as_bytes())?;
    Ok(id)
}

/// Waits until this daemon leads; answers the epoch.
pub(crate) async fn win(instance: &SharedInstance, holder: &Holder) -> i64 {
    let mut said = false;
    loop {
        let now = clock::now();
        match instance.lead(&holder.name, later(now, AHEAD), now).await {
            Ok(leading) if leading.holder == holder.name => return leading.epoch,
            Ok(leading) if holder.came_after(&leading.holder) => {
                give_back(instance, &leading.holder).await;
                continue;
            }
            Ok(leading) if !said => {
                said = true;
                tracing::info!(leader = leading.holder, "another daemon leads; this one waits to take over");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the lead could not be asked for; it is tried again"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Renews the lead until `stop`, or until it is lost, which stops the daemon's tasks.
pub(crate) async fn keep(instance: SharedInstance, holder: Holder, epoch: i64, stop: CancellationToken) {
    let mut held_until = clock::monotonic() + AHEAD;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let now = clock::now();
        let asked = clock::monotonic();
        match instance.lead(&holder.name, later(now, AHEAD), now).await {
            Ok(leading) if leading.holder == holder.name && leading.epoch == epoch => held_until = asked + AHEAD,
            Ok(leading) => {
                tracing::warn!(leader = leading.holder, "another daemon leads now; this one lets go");
                stop.cancel();
                return;
            }
            Err(error) if clock::monotonic() >= held_until => {
                tracing::warn!(%error, "the lead could not be renewed in time; this daemon lets go");
                stop.cancel();
                return;
            }
            Err(error) => tracing::debug!(%error, "the lead could not be renewed; it is tried again"),
        }
    }
}

/// Gives the lead back, so that another need not wait for its end.
pub(crate) async fn resign(instance: &SharedInstance, holder: &Holder) {
    give_back(instance, &holder.name).await;
}

async fn give_back(instance: &SharedInstance, holder: &str) {
    if let Err(error) = instance.resign(holder).await {
        tracing::debug!(%error, "the lead could not be given back; it runs out by itself");
    }
}
