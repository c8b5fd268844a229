//! Keeps a task for each sensor or schedule that runs, of every location, so that none waits for another.
//!
//! Which there are comes from the last known definitions of the locations, whether they answer now or not; which of
//! them run, from what was decided about them. One whose definition changes, or that stops, ends its tick first: there
//! is never more than one tick of it at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::Instigator;
use catchment_core::definitions::{LocationSnapshot, ScheduleSpec, SensorKind, SensorSpec};
use catchment_core::instigator::{InstigatorKind, InstigatorState};
use catchment_model::Problem;
use catchment_settings::task;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::reconcile::{Reconcile, drive};
use crate::schedules::Schedule;
use crate::sensors::Sensor;

/// Between two looks that nothing woke.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same while a task is ending that is to be replaced.
const ENDING_INTERVAL: Duration = Duration::from_millis(100);

/// What a supervisor looks after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sensors that are evaluated by user code.
    Sensors,
    /// Sensors of automation conditions.
    Automation,
    /// Schedules.
    Schedules,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Sensors, Self::Automation, Self::Schedules];
}

/// The definition that a task works by.
#[derive(Debug, Clone, PartialEq)]
enum Definition {
    Sensor(SensorSpec),
    Schedule(Box<ScheduleSpec>),
}

impl Definition {
    fn running_by_default(&self) -> bool {
        match self {
            Self::Sensor(spec) => spec.running_by_default,
            Self::Schedule(spec) => spec.running_by_default,
        }
    }
}

struct Running {
    definition: Definition,
    stop: CancellationToken,
    task: JoinHandle<()>,
    lag: Arc<AtomicI64>,
}

pub(crate) struct Supervisor {
    context: Context,
    role: Role,
    tasks: BTreeMap<Instigator, Running>,
}

impl Supervisor {
    pub(crate) fn new(context: Context, role: Role) -> Self {
        Self { context, role, tasks: BTreeMap::new() }
    }

    /// What is to run now.
    async fn wanted(&self) -> Result<BTreeMap<Instigator, Definition>, Problem> {
        let mut states: BTreeMap<_, _> =
            self.context.instance.instigators().await?.into_iter().map(|s| (s.instigator.clone(), s)).collect();
        let mut wanted = BTreeMap::new();
        for location in self.context.locations.all() {
            let Some(snapshot) = &location.snapshot else { continue };
            for (instigator, definition) in self.defined(&location.name, snapshot) {
                if self.runs(&instigator, &definition, states.remove(&instigator)).await? {
                    wanted.insert(instigator, definition);
                }
            }
        }
        self.forget_the_undefined(states).await?;
        Ok(wanted)
    }

    /// Notes that what the code of a location does not define any more does not run: where it comes back one day,
    /// nothing is made up for.
    async fn forget_the_undefined(&self, states: BTreeMap<Instigator, InstigatorState>) -> Result<(), Problem> {
        for (instigator, state) in states {
            let location = self.context.locations.get(&instigator.location);
            let Some(snapshot) = location.filter(|location| location.is_here).and_then(|l| l.snapshot.clone()) else {
                continue;
            };
            let name = &instigator.name;
            let is_gone = match self.role {
                Role::Sensors => {
                    instigator.kind == InstigatorKind::Sensor && snapshot.sensors.iter().all(|spec| spec.name != *name)
                }
                // They are among the sensors.
                Role::Automation => false,
                Role::Schedules => {
                    instigator.kind == InstigatorKind::Schedule
                        && snapshot.schedules.iter().all(|spec| spec.name != *name)
                }
            };
            if is_gone && state.running_since.is_some() {
                tracing::info!(%instigator, "it is not defined any more");
                self.context.instance.set_status(&instigator, state.status, false, self.context.now()).await?;
            }
        }
        Ok(())
    }

    fn defined(&self, location: &str, snapshot: &LocationSnapshot) -> Vec<(Instigator, Definition)> {
        let sensor = |spec: SensorSpec| (Instigator::sensor(location, &spec.name), Definition::Sensor(spec));
        let is_automation = |spec: &&SensorSpec| matches!(spec.kind, SensorKind::Automation { .. });
        match self.role {
            Role::Sensors => snapshot.sensors.iter().filter(|spec| !is_automation(spec)).cloned().map(sensor).collect(),
            Role::Automation => snapshot.sensors.iter().filter(is_automation).cloned().map(sensor).collect(),
            Role::Schedules => {
                let defined = |spec: &ScheduleSpec| {
                    (Instigator::schedule(location, &spec.name), Definition::Schedule(Box::new(spec.clone())))
                };
                snapshot.schedules.iter().map(defined).collect()
            }
        }
    }

    /// Whether it runs; where it begins to because of its code, or no longer does, that is noted with the time.
    async fn runs(
        &self,
        instigator: &Instigator,
        definition: &Definition,
        state: Option<InstigatorState>,
    ) -> Result<bool, Problem> {
        let status = state.as_ref().map(|state| state.status).unwrap_or_default();
        let runs = status.runs(definition.running_by_default());
        let is_noted = state.is_some_and(|state| state.running_since.is_some());
        if runs != is_noted {
            self.context.instance.set_status(instigator, status, runs, self.context.now()).await?;
        }
        Ok(runs)
    }

    fn start(&mut self, instigator: Instigator, definition: Definition) {
        tracing::info!(%instigator, "it runs");
        let stop = self.context.stop.child_token();
        let context = Context { stop: stop.clone(), ..self.context.clone() };
        let location = instigator.location.clone();
        let (task, lag) = match definition.clone() {
            Definition::Sensor(spec) => {
                let sensor = Sensor::new(context.clone(), &location, spec);
                let lag = sensor.lag_handle();
                (task::spawn("sensor", drive(sensor, context)), lag)
            }
            Definition::Schedule(spec) => {
                let schedule = Schedule::new(context.clone(), &location, *spec);
                (task::spawn("schedule", drive(schedule, context)), Arc::default())
            }
        };
        self.tasks.insert(instigator, Running { definition, stop, task, lag });
    }
}

#[async_trait]
impl Reconcile for Supervisor {
    fn name(&self) -> &str {
        match self.role {
            Role::Sensors => "sensors",
            Role::Automation => "automation sensors",
            Role::Schedules => "schedules",
        }
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some(match self.role {
            Role::Sensors => "SENSOR",
            Role::Automation => "ASSET",
            Role::Schedules => "SCHEDULER",
        })
    }

    /// That of the sensor that lies behind the most.
    fn lag(&self) -> i64 {
        self.tasks.values().map(|running| running.lag.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_sensors())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let wanted = self.wanted().await?;
        self.tasks.retain(|instigator, running| {
            if wanted.get(instigator) != Some(&running.definition) && !running.stop.is_cancelled() {
                tracing::info!(%instigator, "it stops, or begins anew with another definition");
                running.stop.cancel();
            }
            !running.task.is_finished()
        });
        let mut is_ending = false;
        for (instigator, definition) in wanted {
            match self.tasks.get(&instigator) {
                None => self.start(instigator, definition),
                Some(running) => is_ending |= running.stop.is_cancelled(),
            }
        }
        Ok(if is_ending { ENDING_INTERVAL } else { INTERVAL })
    }
}

impl Drop for Supervisor {
    /// A tick that is open is ended by the next one; what it admitted is in the state.
    fn drop(&mut self) {
        for running in self.tasks.values() {
            running.task.abort();
        }
    }
}
