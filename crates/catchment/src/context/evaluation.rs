//! What sensors and schedules are told of an evaluation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use catchment_core::instigator::TickLog;
use catchment_core::sensor::SensorInput;
use catchment_core::{Event, Level, Run};
use catchment_instance::SharedInstance;
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use jiff::Timestamp;

use super::{Context, its_own_extractor};
use crate::extract::{FromContext, Need};
use crate::resource::Resources;

/// The lines that an evaluation logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<TickLog>>>);

impl Lines {
    fn push(&self, level: Level, message: String) {
        let line = TickLog { timestamp: clock::now(), level, message };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn all(&self) -> Vec<TickLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

macro_rules! logs_to_its_tick {
    ($context:ident) => {
        impl $context {
            /// The tick.
            pub fn tick_id(&self) -> &str {
                &self.0.tick_id
            }

            /// Writes a line to the tick's log.
            pub fn log(&self, message: impl Into<String>) {
                self.log_at(Level::Info, message);
            }

            /// Writes a line of that level to the tick's log.
            pub fn log_at(&self, level: Level, message: impl Into<String>) {
                self.0.lines.push(level, message.into());
            }

            /// The lines so far, oldest first.
            pub fn log_lines(&self) -> Vec<TickLog> {
                self.0.lines.all()
            }

            /// The state of the orchestrator, to read what runs did.
            ///
            /// # Errors
            /// Where it cannot be opened.
            pub async fn instance(&self) -> Result<SharedInstance, Problem> {
                self.0.resources.instance().await
            }
        }

        its_own_extractor!($context);

        impl Context for $context {
            fn resources(&self) -> &Resources {
                &self.0.resources
            }
        }
    };
}

struct Evaluation {
    sensor: String,
    tick_id: String,
    cursor: Option<String>,
    input: SensorInput,
    resources: Resources,
    lines: Lines,
}

/// The evaluation of a sensor: its cursor, what happened since, and what it has to say.
#[derive(Clone)]
pub struct SensorContext(Arc<Evaluation>);

logs_to_its_tick!(SensorContext);

impl SensorContext {
    /// A context, also for a test that calls a sensor's function.
    pub fn new(
        sensor: impl Into<String>,
        tick_id: impl Into<String>,
        cursor: Option<String>,
        resources: Resources,
    ) -> Self {
        Self(Arc::new(Evaluation {
            sensor: sensor.into(),
            tick_id: tick_id.into(),
            cursor,
            input: SensorInput::default(),
            resources,
            lines: Lines::default(),
        }))
    }

    /// The same with what the daemon tells besides the cursor: events and their runs.
    pub fn with_input(self, input: SensorInput) -> Self {
        let Evaluation { sensor, tick_id, cursor, resources, .. } = &*self.0;
        Self(Arc::new(Evaluation {
            sensor: sensor.clone(),
            tick_id: tick_id.clone(),
            cursor: cursor.clone(),
            input,
            resources: resources.clone(),
            lines: Lines::default(),
        }))
    }

    /// The sensor.
    pub fn sensor(&self) -> &str {
        &self.0.sensor
    }

    /// The cursor that an earlier evaluation left.
    pub fn cursor(&self) -> Option<&str> {
        self.0.cursor.as_deref()
    }

    /// When its last tick began.
    pub fn last_tick_at(&self) -> Option<Timestamp> {
        self.0.input.last_tick_at
    }

    /// The events that it was called for, oldest first: none for a sensor that watches what lies outside.
    pub fn events(&self) -> &[Event] {
        &self.0.input.events
    }

    /// The runs that those events belong to.
    pub fn runs(&self) -> &[Run] {
        &self.0.input.runs
    }

    /// The newest of the events for each asset, of a sensor of assets.
    pub fn newest_by_asset(&self) -> BTreeMap<&str, &Event> {
        self.events().iter().filter_map(|event| Some((event.event.asset_key()?, event))).collect()
    }

    /// The same for one of its events and the run of that.
    pub(crate) fn of_event(&self, event: &Event) -> Self {
        let runs = self.runs().iter().filter(|run| run.run_id == event.event.run_id).cloned().collect();
        let input = SensorInput { last_tick_at: self.last_tick_at(), events: vec![event.clone()], runs };
        let Evaluation { sensor, tick_id, cursor, resources, lines, .. } = &*self.0;
        let (sensor, tick_id, cursor, lines) = (sensor.clone(), tick_id.clone(), cursor.clone(), lines.clone());
        Self(Arc::new(Evaluation { sensor, tick_id, cursor, input, resources: resources.clone(), lines }))
    }
}

/// The newest event that a sensor of runs or assets is called for.
impl FromContext<SensorContext> for Event {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &SensorContext, _: &str) -> Result<Self, Problem> {
        context.events().last().cloned().ok_or_else(|| called_for_nothing(context, "an event"))
    }
}

/// The run that a sensor of runs is called for, or that made the asset.
impl FromContext<SensorContext> for Run {
    fn needs(_: &str) -> Vec<Need> {
        Vec::new()
    }

    async fn from_context(context: &SensorContext, _: &str) -> Result<Self, Problem> {
        context.runs().last().cloned().ok_or_else(|| called_for_nothing(context, "a run"))
    }
}

fn called_for_nothing(context: &SensorContext, what: &str) -> Problem {
    Problem::new(Code::InvalidConfig, format!("the sensor takes {what}, and was called for none"))
        .place(format!("sensor {}", context.sensor()))
        .remedy("make it a `#[run_status_sensor]` or an `#[asset_sensor]`")
}

struct ScheduleEvaluation {
    schedule: String,
    tick_id: String,
    scheduled_for: Timestamp,
    last_tick_at: Option<Timestamp>,
    resources: Resources,
    lines: Lines,
}

/// The evaluation of a schedule for one of its times.
#[derive(Clone)]
pub struct ScheduleContext(Arc<ScheduleEvaluation>);

logs_to_its_tick!(ScheduleContext);

impl ScheduleContext {
    /// A context, also for a test that calls a schedule's function.
    pub fn new(
        schedule: impl Into<String>,
        tick_id: impl Into<String>,
        scheduled_for: Timestamp,
        last_tick_at: Option<Timestamp>,
        resources: Resources,
    ) -> Self {
        Self(Arc::new(ScheduleEvaluation {
            schedule: schedule.into(),
            tick_id: tick_id.into(),
            scheduled_for,
            last_tick_at,
            resources,
            lines: Lines::default(),
        }))
    }

    /// The schedule.
    pub fn schedule(&self) -> &str {
        &self.0.schedule
    }

    /// The time that the tick stands for; it may be evaluated later.
    pub fn scheduled_for(&self) -> Timestamp {
        self.0.scheduled_for
    }

    /// When its last tick began.
    pub fn last_tick_at(&self) -> Option<Timestamp> {
        self.0.last_tick_at
    }
}
