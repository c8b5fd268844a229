//! Sensors: one task each, so that a slow one delays no other, and a supervisor that learns from the location which
//! there are.
//!
//! A tick: finish what earlier ticks have admitted, evaluate, admit in one transaction, launch (by a hint to the
//! queue), finish. While the location is away, one failed tick says so, no further ones are written, and the sensor
//! tries again by itself. On shutdown a tick is cut off where it stands; the next daemon's first tick takes it up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::definitions::SensorSpec;
use catchment_core::sensor::{Claim, ClaimOutcome};
use catchment_instance::Admitted;
use catchment_model::Problem;
use catchment_settings::{clock, task};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Daemon;
use crate::location::LocationError;
use crate::reconcile::{Reconcile, backoff, drive};

/// How many claims are finished in one call.
const CLAIMS_AT_ONCE: u32 = 500;
/// Between two looks at the definitions of a location that answers.
const DESCRIBE_INTERVAL: Duration = Duration::from_secs(30);

/// Keeps a task for each sensor that the location defines.
pub(crate) struct Supervisor {
    daemon: Arc<Daemon>,
    tasks: HashMap<String, (SensorSpec, JoinHandle<()>)>,
}

impl Supervisor {
    pub(crate) fn new(daemon: Arc<Daemon>) -> Self {
        Self { daemon, tasks: HashMap::new() }
    }
}

#[async_trait]
impl Reconcile for Supervisor {
    fn name(&self) -> &str {
        "sensors"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("SENSOR")
    }

    /// Definitions change with a start of the location, which nobody announces.
    fn hint(&self) -> Option<watch::Receiver<()>> {
        None
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let snapshot = self.daemon.location.describe().await?;
        let wanted: HashMap<_, _> =
            snapshot.sensors.into_iter().filter(|s| s.running_by_default).map(|s| (s.name.clone(), s)).collect();
        self.tasks.retain(|name, (spec, running)| {
            let keep = wanted.get(name) == Some(spec) && !running.is_finished();
            if !keep {
                // Its tick, if one is open, is ended by the next one; what it admitted is in the state.
                running.abort();
            }
            keep
        });
        for (name, spec) in wanted {
            if !self.tasks.contains_key(&name) {
                tracing::info!(sensor = name, "the sensor is watched");
                let sensor = Sensor::new(self.daemon.clone(), &snapshot.location, spec.clone());
                self.tasks.insert(name, (spec, task::spawn("sensor", drive(sensor, self.daemon.clone()))));
            }
        }
        Ok(DESCRIBE_INTERVAL)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for (_, running) in self.tasks.values() {
            running.abort();
        }
    }
}

struct Sensor {
    daemon: Arc<Daemon>,
    location: String,
    name: String,
    interval: Duration,
    /// Whether the location was away at the last try.
    away: bool,
    /// How often in a row claims were left unfinished.
    unfinished: u32,
}

impl Sensor {
    fn new(daemon: Arc<Daemon>, location: &str, spec: SensorSpec) -> Self {
        let interval = match spec.minimum_interval_s {
            0 => daemon.settings.sensor_interval,
            seconds => Duration::from_secs(seconds.into()),
        };
        Self { daemon, location: location.to_owned(), name: spec.name, interval, away: false, unfinished: 0 }
    }

    /// One tick, from the finishing of old claims to that of new ones.
    async fn tick(&self, tick: i64) -> Result<Option<Problem>, LocationError> {
        let state = |e| LocationError::Refused(Problem::from(e));
        let instance = &self.daemon.instance;
        let open = instance.unfinished_claims(&self.name, CLAIMS_AT_ONCE).await.map_err(state)?;
        let mut left = self.finish(open).await?;
        let cursor = instance.cursor(&self.name).await.map_err(state)?;
        let result = match self.daemon.location.evaluate_sensor(&self.name, cursor, tick).await? {
            Ok(result) => result,
            Err(problem) => return Err(LocationError::Refused(problem)),
        };
        let Admitted { tick, claims } =
            instance.admit(tick, &self.location, result, clock::now()).await.map_err(state)?;
        if !tick.run_ids.is_empty() {
            self.daemon.hints.runs();
            tracing::info!(sensor = self.name, tick = tick.id, runs = tick.run_ids.len(), "the sensor asked for runs");
        }
        for claim in &tick.rejected {
            if let ClaimOutcome::Rejected { problem } = &claim.outcome {
                tracing::warn!(sensor = self.name, key = claim.claim.key, %problem, "an object was refused");
            }
        }
        catchment_settings::failpoint::hit("daemon.admitted");
        // The tick is ended: what fails from here on leaves claims for the next one.
        match self.finish(claims).await {
            Ok(problem) => left = left.or(problem),
            Err(error) => left = Some(error.into()),
        }
        Ok(left)
    }

    /// Tells the sensor the outcomes, then notes which are finished; answers why the others are not.
    async fn finish(&self, claims: Vec<Claim>) -> Result<Option<Problem>, LocationError> {
        if claims.is_empty() {
            return Ok(None);
        }
        let (finished, problem) = self.daemon.location.finish_claims(&self.name, &claims).await?;
        catchment_settings::failpoint::hit("daemon.claims_finished");
        let done = async {
            // The run may have started, or ended, before its batch was in the ledger.
            for claim in claims.iter().filter(|c| finished.contains(&c.claim)) {
                if let ClaimOutcome::Accepted { run_id, .. } = claim.outcome {
                    self.daemon.ledger_sync.sync(run_id).await?;
                }
            }
            Ok(self.daemon.instance.finish_claims(&self.name, &finished).await?)
        };
        done.await.map_err(LocationError::Refused)?;
        Ok(problem)
    }
}

#[async_trait]
impl Reconcile for Sensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.daemon.hints.on_sensors())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        if self.away {
            self.daemon.location.describe().await?;
            tracing::info!(sensor = self.name, "the code location is back");
            self.away = false;
        }
        let tick = self.daemon.instance.begin_tick(&self.name, clock::now()).await?.id;
        match self.tick(tick).await {
            Ok(None) => {
                self.unfinished = 0;
                Ok(self.interval)
            }
            Ok(Some(problem)) => {
                tracing::warn!(sensor = self.name, %problem, "claims are left to finish; it is tried again");
                self.unfinished += 1;
                Ok(backoff(self.unfinished).min(self.interval))
            }
            Err(LocationError::Refused(problem)) => {
                tracing::warn!(sensor = self.name, tick, %problem, "the tick failed");
                self.daemon.instance.fail_tick(tick, problem, clock::now()).await?;
                Ok(self.interval)
            }
            Err(LocationError::Away(problem)) => {
                self.away = true;
                self.daemon.instance.fail_tick(tick, problem.clone(), clock::now()).await?;
                Err(problem)
            }
        }
    }
}
