//! Sensors: one task each, so that a slow one delays no other.
//!
//! A tick: finish what earlier ticks have admitted, evaluate, admit in one transaction, launch (by a hint to the
//! queue), finish. While the location is away, one failed tick says so, no further ones are written, and the sensor
//! tries again by itself. What is cut off is taken up by the next tick.
//!
//! Here: sensors that look outside, and what all kinds share. `followed` is those that follow the event log; the one
//! of automation conditions is in `crate::automation`.

mod followed;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::Instigator;
use catchment_core::definitions::{SensorKind, SensorSpec};
use catchment_core::instigator::{InstigatorState, InstigatorStatus};
use catchment_core::sensor::{Claim, ClaimOutcome, SensorInput, SensorResult};
use catchment_core::{NewEvent, RunId};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::automation::Automation;
use crate::context::Context;
use crate::evaluation::{Failed, Ticks, complete};
use crate::locations::LocationState;
use crate::monitor::later;
use crate::reconcile::{Reconcile, backoff};

/// How many claims are finished in one call.
const CLAIMS_AT_ONCE: u32 = 500;

/// One sensor that runs.
pub struct Sensor {
    ticks: Ticks,
    spec: SensorSpec,
    /// Whether the location was away, or late, at the last try: it is asked for a word first then, so that no tick
    /// is written for each try.
    away: bool,
    /// How often in a row claims were left unfinished.
    unfinished: u32,
    /// Until when it rests, where its definition sets the least time between two evaluations.
    rests_until: Option<Timestamp>,
    /// What it has seen of the event log, where it follows it.
    place: followed::Place,
    automation: Automation,
    lag: Arc<AtomicI64>,
}

impl Sensor {
    /// A sensor of a location, as its definition says.
    pub fn new(context: Context, location: &str, spec: SensorSpec) -> Self {
        let instigator = Instigator::sensor(location, &spec.name);
        Self {
            automation: Automation::new(context.clone(), instigator.clone()),
            ticks: Ticks { context, instigator },
            spec,
            away: false,
            unfinished: 0,
            rests_until: None,
            place: followed::Place::default(),
            lag: Arc::default(),
        }
    }

    /// How far it lies behind the event log, in events; 0 of one that does not follow it.
    pub fn lag(&self) -> i64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// The same, for whoever watches it from another task.
    pub(crate) fn lag_handle(&self) -> Arc<AtomicI64> {
        self.lag.clone()
    }

    /// Evaluates the sensor, where there is anything to evaluate; answers when to look again if nothing wakes it.
    ///
    /// # Errors
    /// `unavailable` where the location cannot be asked (said in one failed tick, and not again until it is back);
    /// errors of the state. In both cases nothing is lost: the next step takes it up.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        let location = self.location()?;
        if matches!(self.spec.kind, SensorKind::Automation { .. }) {
            return self.automation.step(&self.spec, &location).await;
        }
        if let Some(left) = self.rest() {
            return Ok(left);
        }
        // Whoever keeps the sensors ends this one in a moment; what woke both may have come here first.
        let state = self.ticks.context.instance.instigator(&self.ticks.instigator).await?;
        if state.status == InstigatorStatus::Stopped {
            return Ok(self.interval());
        }
        if self.away {
            self.measure_away().await?;
            // Whoever keeps the locations says when it is back; until then each sensor need not ask for itself.
            if let Some(problem) = location.problem.clone().filter(|_| !location.is_here) {
                return Err(problem);
            }
            location.client.describe().await?;
            tracing::info!(sensor = %self.ticks.instigator, "the code location is back");
            self.away = false;
        }
        let wait = match &self.spec.kind {
            SensorKind::RunStatus { .. } | SensorKind::Asset { .. } => self.follow(&location).await,
            SensorKind::Standard | SensorKind::Automation { .. } => self.look_outside(&location).await,
        }?;
        if self.spec.minimum_interval_s > 0 && wait >= self.interval() {
            self.rests_until = Some(later(self.ticks.context.now(), self.interval()));
        }
        Ok(wait)
    }

    /// How long it still rests, something having woken it before its time. A clock that was set back does not prolong it.
    fn rest(&mut self) -> Option<Duration> {
        let left = self.rests_until?.duration_since(self.ticks.context.now());
        let left = Duration::try_from(left).unwrap_or_default().min(self.interval());
        if left.is_zero() {
            self.rests_until = None;
            return None;
        }
        Some(left)
    }

    fn location(&self) -> Result<Arc<LocationState>, Problem> {
        let name = &self.ticks.instigator.location;
        self.ticks.context.locations.get(name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the code location {name} is not in the workspace any more"))
                .remedy("nothing: its sensors stop")
        })
    }

    fn interval(&self) -> Duration {
        match self.spec.minimum_interval_s {
            0 => self.ticks.context.sensor_interval,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    async fn look_outside(&mut self, location: &LocationState) -> Result<Duration, Problem> {
        // Before the tick begins: it is the last one that user code hears of.
        let state = self.ticks.context.instance.instigator(&self.ticks.instigator).await?;
        let tick = self.ticks.begin(None).await?;
        match self.tick(tick, state, location).await {
            Ok((None, more)) => {
                self.unfinished = 0;
                Ok(if more { Duration::ZERO } else { self.interval() })
            }
            Ok((Some(problem), _)) => {
                tracing::warn!(sensor = %self.ticks.instigator, %problem, "claims are left to finish; it is tried again");
                self.unfinished += 1;
                Ok(backoff(self.unfinished).min(self.interval()))
            }
            Err(failed) => self.failed(tick, failed, None).await,
        }
    }

    /// One tick, from the finishing of old claims to that of new ones. Answers why claims are left, and whether there
    /// is more.
    async fn tick(
        &self,
        tick: i64,
        state: InstigatorState,
        location: &LocationState,
    ) -> Result<(Option<Problem>, bool), Failed> {
        let instance = &self.ticks.context.instance;
        let open = instance.unfinished_claims(&self.ticks.instigator, CLAIMS_AT_ONCE).await?;
        let mut left = self.finish(open, location).await?;
        let input = SensorInput { last_tick_at: state.last_tick_at, ..SensorInput::default() };
        let result = self.evaluate(tick, location, state.cursor.as_deref(), &input).await?;
        let more = result.more;
        let admitted = self.ticks.admit(tick, result, &[]).await?;
        // The tick is ended: what fails from here on leaves claims for the next one.
        match self.finish(admitted.claims, location).await {
            Ok(problem) => left = left.or(problem),
            Err(failed) => left = Some(failed.into()),
        }
        Ok((left, more))
    }

    /// Asks user code, and completes its requests.
    async fn evaluate(
        &self,
        tick: i64,
        location: &LocationState,
        cursor: Option<&str>,
        input: &SensorInput,
    ) -> Result<SensorResult, Failed> {
        let asked = location.client.evaluate_sensor(&self.spec.name, cursor, tick, input);
        let mut result = self.ticks.ask(tick, asked).await?;
        if let Some(snapshot) = &location.snapshot {
            for request in &mut result.run_requests {
                complete(request, snapshot, &self.spec.jobs);
            }
        }
        result.asset_events =
            result.asset_events.into_iter().map(|event| NewEvent { run_id: RunId::NONE, ..event }).collect();
        Ok(result)
    }

    /// Ends a tick that gave no answer; answers when to try again.
    async fn failed(&mut self, tick: i64, failed: Failed, cursor: Option<&str>) -> Result<Duration, Problem> {
        match failed {
            Failed::Refused(problem) => {
                self.ticks.fail(tick, problem, cursor).await?;
                Ok(self.interval())
            }
            Failed::Late(problem) => {
                self.away = true;
                self.ticks.fail(tick, problem, cursor).await?;
                Ok(self.interval())
            }
            Failed::Away(problem) => {
                self.away = true;
                self.ticks.fail(tick, problem.clone(), None).await?;
                Err(problem)
            }
            Failed::State(problem) => Err(problem),
        }
    }

    /// Tells the sensor the outcomes, then notes which are finished; answers why the others are not.
    async fn finish(&self, claims: Vec<Claim>, location: &LocationState) -> Result<Option<Problem>, Failed> {
        if claims.is_empty() {
            return Ok(None);
        }
        let (mut finished, mut problem) = location.client.finish_claims(&self.spec.name, &claims).await?;
        catchment_settings::failpoint::hit("daemon.claims_finished");
        if let Some(ledger) = &self.ticks.context.ledger_sync {
            // The run may have started, or ended, before its batch was in the ledger.
            for claim in &claims {
                if let ClaimOutcome::Accepted { run_id, .. } = claim.outcome
                    && finished.contains(&claim.claim)
                    && let Err(error) = ledger.sync(run_id).await
                {
                    // It is left for the next tick; what else there is does not wait for it.
                    finished.retain(|key| *key != claim.claim);
                    problem = problem.or(Some(error));
                }
            }
        }
        self.ticks.context.instance.finish_claims(&self.ticks.instigator, &finished).await?;
        Ok(problem)
    }
}

#[async_trait]
impl Reconcile for Sensor {
    fn name(&self) -> &str {
        &self.spec.name
    }

    /// What follows the event log looks when a run has changed; the others when something has happened outside.
    fn hint(&self) -> Option<watch::Receiver<()>> {
        let hints = &self.ticks.context.hints;
        match self.spec.kind {
            SensorKind::Standard => Some(hints.on_sensors()),
            SensorKind::RunStatus { .. } | SensorKind::Asset { .. } => Some(hints.on_runs()),
            // It is evaluated at its interval.
            SensorKind::Automation { .. } => None,
        }
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Sensor::step(self).await
    }
}
