//! What a concern of the daemon works with. It has no clock and no code location of its own, so that a simulation can
//! call its steps on any state, at any time, with locations that it makes up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use catchment_instance::SharedInstance;
use catchment_settings::clock;
use catchment_settings::config::OperatorConfig;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::hints::Hints;
use crate::ledger_sync::LedgerSync;
use crate::locations::SharedLocations;

/// What tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that is read by a function.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for Clock {
    /// The machine's.
    fn default() -> Self {
        Self::new(clock::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// What the steps of a daemon share.
#[derive(Clone)]
pub struct Context {
    /// The state; a leading daemon's handle is fenced with its epoch.
    pub instance: SharedInstance,
    /// The code locations.
    pub locations: SharedLocations,
    /// What tells the time.
    pub clock: Clock,
    /// What the operator has set.
    pub config: Arc<OperatorConfig>,
    /// Between two evaluations of a sensor that nothing woke, where the sensor states no interval.
    pub sensor_interval: Duration,
    /// Keeps the ledger in step, where there is one.
    pub ledger_sync: Option<Arc<LedgerSync>>,
    /// Hints between the daemon's tasks.
    pub hints: Hints,
    /// Comes true when the daemon is to end.
    pub stop: CancellationToken,
}

impl Context {
    /// The context of one daemon, without a ledger.
    pub fn new(
        instance: SharedInstance,
        locations: SharedLocations,
        config: Arc<OperatorConfig>,
        clock: Clock,
    ) -> Self {
        Self {
            instance,
            locations,
            clock,
            sensor_interval: Duration::from_secs(config.sensors.minimum_interval_seconds.into()),
            config,
            ledger_sync: None,
            hints: Hints::new(),
            stop: CancellationToken::new(),
        }
    }

    /// How long an evaluation of user code may take.
    pub(crate) fn evaluation_timeout(&self) -> Duration {
        Duration::from_secs(self.config.sensors.timeout_seconds.into())
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// How long it is until a time; zero where that has passed.
pub(crate) fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// A time so long before another.
pub(crate) fn ago(now: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_sub(time).ok()).unwrap_or(Timestamp::MIN)
}
