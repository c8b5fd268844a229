//! What asks for runs by itself: sensors and schedules, their state and their ticks.

use std::fmt;
use std::str::FromStr;

use catchment_model::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::Level;
use crate::run::RunId;
use crate::sensor::Claim;

/// Kinds of instigators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstigatorKind {
    /// A sensor of any kind, the one that evaluates automation conditions among them.
    Sensor,
    /// A schedule.
    Schedule,
}

impl InstigatorKind {
    /// `sensor` or `schedule`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Schedule => "schedule",
        }
    }
}

/// One of them, by name. Its text is `sensor:<location>/<name>`: the key under which the state knows it, and the
/// scope of its run keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instigator {
    /// Its kind.
    pub kind: InstigatorKind,
    /// The code location that defines it. No location's name holds a `/`.
    pub location: String,
    /// Its name.
    pub name: String,
}

impl Instigator {
    /// The sensor of that name.
    pub fn sensor(location: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: InstigatorKind::Sensor, location: location.into(), name: name.into() }
    }

    /// The schedule of that name.
    pub fn schedule(location: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: InstigatorKind::Schedule, location: location.into(), name: name.into() }
    }
}

impl fmt::Display for Instigator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind.as_str(), self.location, self.name)
    }
}

impl FromStr for Instigator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` names no sensor or schedule: write sensor:<location>/<name>");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        let (location, name) = rest.split_once('/').ok_or_else(wrong)?;
        let kind = match kind {
            "sensor" => InstigatorKind::Sensor,
            "schedule" => InstigatorKind::Schedule,
            _ => return Err(wrong()),
        };
        Ok(Self { kind, location: location.to_owned(), name: name.to_owned() })
    }
}

impl Serialize for Instigator {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instigator {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an instigator runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InstigatorStatus {
    /// As its definition says: nobody has decided otherwise, or the decision was reset.
    #[default]
    DeclaredInCode,
    /// Someone has started it.
    Running,
    /// Someone has stopped it.
    Stopped,
}

impl InstigatorStatus {
    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeclaredInCode => "DECLARED_IN_CODE",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }

    /// Whether it runs, given what its definition says.
    pub fn runs(self, running_by_default: bool) -> bool {
        match self {
            Self::DeclaredInCode => running_by_default,
            Self::Running => true,
            Self::Stopped => false,
        }
    }
}

impl FromStr for InstigatorStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::DeclaredInCode, Self::Running, Self::Stopped]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no status of a sensor or schedule"))
    }
}

/// What the state keeps of an instigator between its ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstigatorState {
    /// Which one.
    pub instigator: Instigator,
    /// What was decided about it.
    pub status: InstigatorStatus,
    /// Since when it runs, where it does: a schedule never runs for a time before.
    pub running_since: Option<Timestamp>,
    /// A sensor's cursor; a schedule's last time that was dealt with, in RFC 3339.
    pub cursor: Option<String>,
    /// When its last tick began.
    pub last_tick_at: Option<Timestamp>,
}

/// How a tick ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TickStatus {
    /// It is being evaluated.
    Started,
    /// It asked for at least one run, refused at least one object, or reacted to a run.
    Success,
    /// It asked for nothing.
    Skipped,
    /// It failed.
    Failure,
}

impl TickStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Started, Self::Success, Self::Skipped, Self::Failure];

    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Skipped => "SKIPPED",
            Self::Failure => "FAILURE",
        }
    }
}

impl FromStr for TickStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| format!("`{text}` is no tick status"))
    }
}

/// A line that user code logged while a tick was evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TickLog {
    /// When.
    pub timestamp: Timestamp,
    /// How serious it is.
    pub level: Level,
    /// The line.
    pub message: String,
}

/// One evaluation of a sensor or schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Its id; rises.
    pub id: i64,
    /// What was evaluated.
    pub instigator: Instigator,
    /// How it ended.
    pub status: TickStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The time that it stands for, of a schedule.
    pub scheduled_for: Option<Timestamp>,
    /// The runs that it made.
    pub run_ids: Vec<RunId>,
    /// Run keys that were asked for again, and not launched again.
    pub duplicate_run_keys: Vec<String>,
    /// Objects that it refused, with the reason.
    pub rejected: Vec<Claim>,
    /// The runs that it reacted to, of a run-status sensor.
    #[serde(default)]
    pub origin_run_ids: Vec<RunId>,
    /// Why it asked for nothing.
    pub skip_reason: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What user code logged, oldest first.
    #[serde(default)]
    pub log: Vec<TickLog>,
}
