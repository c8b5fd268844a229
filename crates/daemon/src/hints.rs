//! Hints between the tasks of the daemon: something may be worth a look. None is lost while a task is busy.

use tokio::sync::watch;

/// One channel for those who look at sensors, one for those who look at runs.
#[derive(Debug)]
pub(crate) struct Hints {
    sensors: watch::Sender<()>,
    runs: watch::Sender<()>,
}

impl Hints {
    pub(crate) fn new() -> Self {
        Self { sensors: watch::Sender::new(()), runs: watch::Sender::new(()) }
    }

    /// Something has happened outside.
    pub(crate) fn all(&self) {
        self.sensors.send_replace(());
        self.runs();
    }

    /// A run was made or has changed.
    pub(crate) fn runs(&self) {
        self.runs.send_replace(());
    }

    pub(crate) fn on_sensors(&self) -> watch::Receiver<()> {
        self.sensors.subscribe()
    }

    pub(crate) fn on_runs(&self) -> watch::Receiver<()> {
        self.runs.subscribe()
    }
}
