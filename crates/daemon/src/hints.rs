//! Hints between the tasks of the daemon: something may be worth a look. None is lost while a task is busy.

use tokio::sync::watch;

/// One channel for those who look at sensors, one for those who look at runs.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    sensors: watch::Sender<()>,
    runs: watch::Sender<()>,
}

impl Hints {
    /// Channels that nobody listens at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something has happened outside.
    pub fn all(&self) {
        self.sensors.send_replace(());
        self.runs();
    }

    /// A run was made or has changed.
    pub fn runs(&self) {
        self.runs.send_replace(());
    }

    /// What wakes those who look at sensors.
    pub fn on_sensors(&self) -> watch::Receiver<()> {
        self.sensors.subscribe()
    }

    /// What wakes those who look at runs.
    pub fn on_runs(&self) -> watch::Receiver<()> {
        self.runs.subscribe()
    }
}
