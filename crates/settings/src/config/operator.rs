//! `catchment.yaml`: limits, retries, retention and alerts of an installation. Names and defaults are Dagster's
//! (`dagster.yaml`) unless a field says otherwise.

use std::collections::BTreeMap;
use std::fmt;

use catchment_model::problem::{Code, Fault, Problem};
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::alerts::Alerts;
use super::load::{Checked, fault, parse, read};
use super::scalar::{flag, number, some_number};
use crate::Home;

/// The largest limit of a concurrency pool.
const LARGEST_POOL: u32 = 1000;

/// What `catchment.yaml` says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatorConfig {
    /// Which queued runs may start.
    pub run_queue: RunQueue,
    /// Concurrency pools.
    pub concurrency: Concurrency,
    /// Failed runs that are run again.
    pub run_retries: RunRetries,
    /// How long a run may take for what.
    pub run_monitoring: RunMonitoring,
    /// How long what is kept.
    pub retention: Retention,
    /// Sensors.
    pub sensors: Sensors,
    /// Schedules.
    pub schedules: Schedules,
    /// Backfills.
    pub backfills: Backfills,
    /// Freshness policies.
    pub freshness: Freshness,
    /// Who is told of what.
    pub alerts: Alerts,
}

impl OperatorConfig {
    /// Reads `<home>/catchment.yaml`; without it, everything is at its default.
    ///
    /// # Errors
    /// `invalid_config` with every fault, its path and what is allowed there.
    pub fn load(home: &Home) -> Result<Self, Problem> {
        let get = |name: &str| std::env::var(name).ok();
        Ok(read(&home.config_file(), get)?.unwrap_or_default())
    }

    /// The same from a text; `get` looks variables up.
    ///
    /// # Errors
    /// As [`OperatorConfig::load`].
    pub fn from_yaml(text: &str, get: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        parse(text, std::path::Path::new("catchment.yaml"), get)
    }
}

impl Checked for OperatorConfig {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.run_queue.max_concurrent_runs < -1 {
            faults.push(fault(
                "$.run_queue.max_concurrent_runs",
                format!("{} is less than -1", self.run_queue.max_concurrent_runs),
                "-1 (no limit), 0 (none starts), or more",
            ));
        }
        if self.concurrency.pools.default_limit.is_some_and(|limit| limit > LARGEST_POOL) {
            faults.push(fault(
                "$.concurrency.pools.default_limit",
                "the limit is too large",
                format!("0 to {LARGEST_POOL}"),
            ));
        }
        faults.extend(self.alerts.faults());
        faults
    }
}

/// Section `run_queue`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunQueue {
    /// Runs that may work at once: 10; -1 does not bound, 0 starts none.
    #[serde(deserialize_with = "number")]
    pub max_concurrent_runs: i64,
    /// The same for runs with a tag.
    pub tag_concurrency_limits: Vec<TagConcurrencyLimit>,
}

impl Default for RunQueue {
    fn default() -> Self {
        Self { max_concurrent_runs: 10, tag_concurrency_limits: Vec::new() }
    }
}

/// How many runs with a tag may work at once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagConcurrencyLimit {
    /// The tag.
    pub key: String,
    /// Of which runs with it the limit speaks.
    #[serde(default)]
    pub value: TagLimitValue,
    /// So many.
    #[serde(deserialize_with = "number")]
    pub limit: u32,
}

/// Of which runs with a tag a limit speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TagLimitValue {
    /// All together, whatever their value.
    #[default]
    Any,
    /// Those with the same value, for each value: `{applyLimitPerUniqueValue: true}`.
    PerUniqueValue,
    /// Those with this value.
    Is(String),
}

impl<'de> Deserialize<'de> for TagLimitValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Unique {
            #[serde(rename = "applyLimitPerUniqueValue", deserialize_with = "flag")]
            per_unique_value: bool,
        }
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = TagLimitValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or {applyLimitPerUniqueValue: true}")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<TagLimitValue, E> {
                Ok(TagLimitValue::Is(v.to_owned()))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<TagLimitValue, E> {
                Ok(TagLimitValue::Is(v.to_string()))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<TagLimitValue, E> {
                Ok(TagLimitValue::Is(v.to_string()))
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<TagLimitValue, E> {
                Ok(TagLimitValue::Is(v.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TagLimitValue, A::Error> {
                let unique = Unique::deserialize(MapAccessDeserializer::new(map))?;
                Ok(if unique.per_unique_value { TagLimitValue::PerUniqueValue } else { TagLimitValue::Any })
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// Section `concurrency`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Concurrency {
    /// Pools.
    pub pools: Pools,
}

/// Section `concurrency.pools`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pools {
    /// The limit of a pool that has none of its own; without, it has no limit.
    #[serde(deserialize_with = "some_number")]
    pub default_limit: Option<u32>,
    /// What takes a slot.
    pub granularity: PoolGranularity,
}

impl Pools {
    /// The variable that says what takes a slot.
    pub const GRANULARITY: &str = "CATCHMENT_POOL_GRANULARITY";
    /// The variable that says the limit of a pool that has none of its own; there is none without it.
    pub const DEFAULT_LIMIT: &str = "CATCHMENT_POOL_DEFAULT_LIMIT";

    /// As variables for the process of a run, which may be where no `catchment.yaml` is.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let granularity = match self.granularity {
            PoolGranularity::Op => "op",
            PoolGranularity::Run => "run",
        };
        let limit = self.default_limit.map(|limit| (Self::DEFAULT_LIMIT.to_owned(), limit.to_string()));
        limit.into_iter().chain([(Self::GRANULARITY.to_owned(), granularity.to_owned())]).collect()
    }

    /// What [`Pools::variables`] wrote; `None` where they are not set.
    ///
    /// # Errors
    /// `invalid_config` where a value is none.
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Problem> {
        let wrong = |name: &str, value: &str, remedy: &str| {
            Problem::new(Code::InvalidConfig, format!("`{value}` is no value of {name}")).place(name).remedy(remedy)
        };
        let granularity = match get(Self::GRANULARITY).as_deref() {
            None => return Ok(None),
            Some("op") => PoolGranularity::Op,
            Some("run") => PoolGranularity::Run,
            Some(other) => return Err(wrong(Self::GRANULARITY, other, "set it to `op` or `run`")),
        };
        let limit = |text: String| {
            text.parse().map_err(|_| wrong(Self::DEFAULT_LIMIT, &text, "set it to a number, or not at all"))
        };
        Ok(Some(Self { default_limit: get(Self::DEFAULT_LIMIT).map(limit).transpose()?, granularity }))
    }
}

/// What takes a slot of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolGranularity {
    /// Each step, while it works.
    #[default]
    Op,
    /// A run with any step of the pool, while it works.
    Run,
}

/// Section `run_retries`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunRetries {
    /// Whether failed runs are run again without being told to by their own tag `dagster/max_retries`: no.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
    /// How often, where the run's tags do not say: 0.
    #[serde(deserialize_with = "number")]
    pub max_retries: u32,
    /// Whether also a run whose own step failed is (or only one that was lost): yes.
    #[serde(deserialize_with = "flag")]
    pub retry_on_asset_or_op_failure: bool,
}

impl Default for RunRetries {
    fn default() -> Self {
        Self { enabled: false, max_retries: 0, retry_on_asset_or_op_failure: true }
    }
}

/// Section `run_monitoring`, which is always on here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunMonitoring {
    /// From the launch of a process to its first word: 60 (Dagster: 180).
    #[serde(deserialize_with = "number")]
    pub start_timeout_seconds: u32,
    /// How long a cancelled run may take to let go before it is killed: 25, which is more than a program started through
    /// Pipes has (Dagster: 180).
    #[serde(deserialize_with = "number")]
    pub cancel_timeout_seconds: u32,
    /// How long a run may work, where its tag `dagster/max_runtime` does not say; 0, the default, does not bound.
    #[serde(deserialize_with = "number")]
    pub max_runtime_seconds: u32,
}

impl Default for RunMonitoring {
    fn default() -> Self {
        Self { start_timeout_seconds: 60, cancel_timeout_seconds: 25, max_runtime_seconds: 0 }
    }
}

/// Section `retention`. Used run keys are kept for ever, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Ticks of sensors: skipped ones 7 days.
    pub sensor: RetentionOf<PurgeByStatus>,
    /// Ticks of schedules: kept.
    pub schedule: RetentionOf<PurgeByStatus>,
    /// Evaluations of automation conditions: 30 days.
    pub auto_materialize: RetentionOf<PurgeAfterDays>,
    /// Runs that have ended, with their events: kept.
    pub runs: RetentionOf<PurgeAfterDays>,
    /// Log lines of runs that have ended; the runs, and what they made, stay: kept.
    pub logs: RetentionOf<PurgeAfterDays>,
    /// Alerts that were delivered or given up: 30 days.
    pub alerts: RetentionOf<PurgeAfterDays>,
}

impl Default for Retention {
    fn default() -> Self {
        let all = RetentionOf { purge_after_days: PurgeByStatus::default() };
        let skipped = PurgeByStatus { skipped: PurgeAfterDays(7), ..all.purge_after_days };
        let month = RetentionOf { purge_after_days: PurgeAfterDays(30) };
        Self {
            sensor: RetentionOf { purge_after_days: skipped },
            schedule: all,
            auto_materialize: month,
            runs: RetentionOf { purge_after_days: PurgeAfterDays::NEVER },
            logs: RetentionOf { purge_after_days: PurgeAfterDays::NEVER },
            alerts: month,
        }
    }
}

/// How long one kind of thing is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionOf<T> {
    /// So many days.
    pub purge_after_days: T,
}

/// A number of days; a negative one keeps for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct PurgeAfterDays(#[serde(deserialize_with = "number")] pub i64);

impl PurgeAfterDays {
    /// Kept for ever.
    pub const NEVER: Self = Self(-1);

    /// The days, where they are bounded.
    pub fn days(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }
}

impl Default for PurgeAfterDays {
    fn default() -> Self {
        Self::NEVER
    }
}

/// Days by the status of a tick; one number stands for all of them. What is not given is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgeByStatus {
    /// SKIPPED.
    pub skipped: PurgeAfterDays,
    /// SUCCESS.
    pub success: PurgeAfterDays,
    /// FAILURE.
    pub failure: PurgeAfterDays,
    /// STARTED.
    pub started: PurgeAfterDays,
}

impl<'de> Deserialize<'de> for PurgeByStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape;
        impl Shape {
            fn all(days: i64) -> PurgeByStatus {
                let days = PurgeAfterDays(days);
                PurgeByStatus { skipped: days, success: days, failure: days, started: days }
            }
        }
        impl<'de> Visitor<'de> for Shape {
            type Value = PurgeByStatus;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of days, or numbers for skipped, success, failure and started")
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<PurgeByStatus, E> {
                Ok(Self::all(v))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<PurgeByStatus, E> {
                Ok(Self::all(i64::try_from(v).unwrap_or(i64::MAX)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<PurgeByStatus, E> {
                v.trim().parse().map(Self::all).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(v), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PurgeByStatus, A::Error> {
                let mut by_status = PurgeByStatus::default();
                let days = BTreeMap::<TickStatus, PurgeAfterDays>::deserialize(MapAccessDeserializer::new(map))?;
                for (status, days) in days {
                    match status {
                        TickStatus::Skipped => by_status.skipped = days,
                        TickStatus::Success => by_status.success = days,
                        TickStatus::Failure => by_status.failure = days,
                        TickStatus::Started => by_status.started = days,
                    }
                }
                Ok(by_status)
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TickStatus {
    Skipped,
    Success,
    Failure,
    Started,
}

/// Section `sensors`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sensors {
    /// The least time between two evaluations that nothing woke, of a sensor that states none: 30.
    #[serde(deserialize_with = "number")]
    pub minimum_interval_seconds: u32,
    /// How long one evaluation, of a sensor or a schedule, may take: 60.
    #[serde(deserialize_with = "number")]
    pub timeout_seconds: u32,
}

impl Default for Sensors {
    fn default() -> Self {
        Self { minimum_interval_seconds: 30, timeout_seconds: 60 }
    }
}

/// Section `schedules`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedules {
    /// How many missed ticks of a partitioned schedule are caught up: 5.
    #[serde(deserialize_with = "number")]
    pub max_catchup_runs: u32,
    /// How often a failed tick is tried again: 0.
    #[serde(deserialize_with = "number")]
    pub max_tick_retries: u32,
}

impl Default for Schedules {
    fn default() -> Self {
        Self { max_catchup_runs: 5, max_tick_retries: 0 }
    }
}

/// Section `backfills`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backfills {
    /// Runs that one look at a backfill makes at most: 500.
    #[serde(deserialize_with = "number")]
    pub runs_at_once: u32,
}

impl Default for Backfills {
    fn default() -> Self {
        Self { runs_at_once: 500 }
    }
}

/// Section `freshness`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Freshness {
    /// Whether policies are evaluated: yes.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { enabled: true }
    }
}
