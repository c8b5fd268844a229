//! Section `alerts`: rules that tell of something, and the channels that they tell it through.

use std::collections::BTreeMap;
use std::fmt;

use catchment_model::problem::Fault;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::load::fault;
use super::scalar::some_number;
use crate::Secret;

/// Section `alerts`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerts {
    /// Where alerts go, by name.
    pub channels: BTreeMap<String, Channel>,
    /// What is told where.
    pub rules: Vec<AlertRule>,
}

/// Where alerts go.
#[derive(Debug, Clone, PartialEq)]
pub enum Channel {
    /// The log of the daemon: `log`.
    Log,
    /// A web address that takes CloudEvents: `{webhook: URL, headers: {NAME: VALUE}}`.
    Webhook(Webhook),
}

/// A web address that takes CloudEvents by POST.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The address, which may hold a secret.
    #[serde(rename = "webhook")]
    pub url: Secret,
    /// Headers of each request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = Channel;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("log, or {webhook: URL, headers: {NAME: VALUE}}")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Channel, E> {
                match v {
                    "log" => Ok(Channel::Log),
                    _ => Err(E::custom("this is no channel; expected log, or {webhook: URL, headers: {NAME: VALUE}}")),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Channel, A::Error> {
                Webhook::deserialize(MapAccessDeserializer::new(map)).map(Channel::Webhook)
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// What an alert tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A run has failed and is not run again.
    RunFailure,
    /// A run has ended well.
    RunSuccess,
    /// A sensor's tick has failed.
    SensorFailure,
    /// A schedule's tick has failed.
    ScheduleFailure,
    /// A run works longer than the rule's `longer_than_seconds`.
    RunTooLong,
    /// A code location does not answer.
    LocationLost,
    /// An asset is later than its freshness policy allows.
    AssetLate,
    /// A check has failed.
    CheckFailure,
    /// A backfill has failed.
    BackfillFailure,
}

impl AlertKind {
    /// The text, as in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunFailure => "run_failure",
            Self::RunSuccess => "run_success",
            Self::SensorFailure => "sensor_failure",
            Self::ScheduleFailure => "schedule_failure",
            Self::RunTooLong => "run_too_long",
            Self::LocationLost => "location_lost",
            Self::AssetLate => "asset_late",
            Self::CheckFailure => "check_failure",
            Self::BackfillFailure => "backfill_failure",
        }
    }
}

/// What is told where. Filters that are given must all fit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRule {
    /// Its name; without, the kind and the place in the list (`run_failure-1`), see [`AlertRule::label`].
    #[serde(default)]
    pub name: Option<String>,
    /// What it tells of.
    pub on: AlertKind,
    /// The channels, by name.
    pub channels: Vec<String>,
    /// Only of this job.
    #[serde(default)]
    pub job: Option<String>,
    /// Only of this sensor, schedule, asset or check.
    #[serde(default)]
    pub target: Option<String>,
    /// Only of this code location.
    #[serde(default)]
    pub location: Option<String>,
    /// Only of runs with these tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// When a run is too long, in seconds; `run_too_long` needs it.
    #[serde(default, deserialize_with = "some_number")]
    pub longer_than_seconds: Option<u32>,
}

impl AlertRule {
    /// The name of the rule at this place of the list (from 0).
    pub fn label(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}-{}", self.on.as_str(), place + 1))
    }
}

impl Alerts {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, channel) in &self.channels {
            if let Channel::Webhook(hook) = channel
                && !(hook.url.reveal().starts_with("http://") || hook.url.reveal().starts_with("https://"))
            {
                let path = format!("$.alerts.channels.{name}.webhook");
                faults.push(fault(path, "the address is no URL", "http://… or https://…"));
            }
        }
        let known = self.channels.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut labels = BTreeMap::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let path = format!("$.alerts.rules[{place}]");
            if rule.channels.is_empty() {
                faults.push(fault(format!("{path}.channels"), "the rule has no channel", "at least one"));
            }
            for (nth, channel) in rule.channels.iter().enumerate() {
                if !self.channels.contains_key(channel) {
                    let what = format!("there is no channel `{channel}`");
                    faults.push(fault(format!("{path}.channels[{nth}]"), what, format!("one of: {known}")));
                }
            }
            let needs_time = rule.on == AlertKind::RunTooLong;
            if needs_time != rule.longer_than_seconds.is_some() {
                let what = "`longer_than_seconds` and `on: run_too_long` belong together";
                faults.push(fault(&*path, what, "both, or neither"));
            }
            if let Some(first) = labels.insert(rule.label(place), place) {
                let what = format!("rule {first} has the same name");
                faults.push(fault(format!("{path}.name"), what, "a name of its own for each rule"));
            }
        }
        faults
    }
}
