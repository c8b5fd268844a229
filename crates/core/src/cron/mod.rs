//! Cron schedules with a time zone: which instants they tick at.
//!
//! What happens at the changes of the clock:
//! - a fixed time inside the spring gap ticks at the first instant after the gap, and once only;
//! - a fixed time that the autumn repeats ticks once, at the later of the two;
//! - an expression whose hour field takes every hour (`*`) ticks whenever the wall clock matches: it neither loses
//!   nor doubles a real hour. `*/2` names single hours, so it counts as fixed times, as in Dagster.

mod expression;
mod walk;

#[cfg(test)]
mod tests;

use std::time::Duration;

use catchment_model::{Code, Problem};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use expression::Expression;
pub(crate) use walk::Tick;

/// How many ticks, and how long, [`CronSchedule::smallest_gap`] looks at.
const GAP_SAMPLE: (usize, i16) = (2_000, 8);

/// One cron expression or several (their union), in a time zone.
///
/// In JSON: `{"expressions": ["0 6 * * MON-FRI"], "timezone": "Europe/Zurich"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct CronSchedule {
    text: Text,
    parsed: Vec<Expression>,
    zone: TimeZone,
}

/// The schedule as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    expressions: Vec<String>,
    #[serde(default = "utc")]
    timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronSchedule {}

impl From<CronSchedule> for Text {
    fn from(schedule: CronSchedule) -> Self {
        schedule.text
    }
}

impl TryFrom<Text> for CronSchedule {
    type Error = Problem;

    fn try_from(text: Text) -> Result<Self, Problem> {
        Self::parse(&text.expressions, &text.timezone)
    }
}

impl CronSchedule {
    /// Reads cron expressions of five fields (minute, hour, day of month, month, day of week), with names (`MON`,
    /// `JAN`), or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`. Several
    /// expressions tick whenever one of them does. The time zone is an IANA name.
    ///
    /// # Errors
    /// `invalid_config` for an expression that is wrong or never ticks, for none at all, and for an unknown zone.
    pub fn parse<S: AsRef<str>>(expressions: &[S], timezone: &str) -> Result<Self, Problem> {
        let zone = zone(timezone)?;
        if expressions.is_empty() {
            return Err(Problem::new(Code::InvalidConfig, "a schedule has no cron expression")
                .remedy("give at least one, such as `0 6 * * *` or `@daily`"));
        }
        let expressions: Vec<String> = expressions.iter().map(|text| text.as_ref().trim().to_owned()).collect();
        let parsed = expressions.iter().map(|text| Expression::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { text: Text { expressions, timezone: timezone.to_owned() }, parsed, zone })
    }

    /// The expressions, as they were given.
    pub fn expressions(&self) -> &[String] {
        &self.text.expressions
    }

    /// The time zone's IANA name.
    pub fn timezone(&self) -> &str {
        &self.text.timezone
    }

    /// The first tick after `after`, never `after` itself. None only where time itself ends (the year 5000).
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_tick(after).map(|tick| tick.at)
    }

    /// The last tick before `before`, never `before` itself.
    pub fn previous_before(&self, before: Timestamp) -> Option<Timestamp> {
        self.previous_tick(before).map(|tick| tick.at)
    }

    /// The last tick at `at` or before it.
    pub fn last_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        self.previous_tick(walk::just_after(at)).map(|tick| tick.at)
    }

    /// The ticks after `after` and up to `until` (included), oldest first, at most `limit`.
    pub fn ticks_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |tick| self.next_after(*tick))
            .take_while(|tick| *tick <= until)
            .take(limit)
            .collect()
    }

    /// The shortest time between two ticks that follow one another, without what changes of the clock do to it (as
    /// Dagster, which samples in UTC): a day for `@daily` in any zone. Looked for in the eight years from 2024.
    pub fn smallest_gap(&self) -> Duration {
        let (ticks, years) = GAP_SAMPLE;
        let plain = Self { zone: TimeZone::UTC, ..self.clone() };
        let start = DateTime::constant(2023, 12, 31, 23, 59, 0, 0);
        let until = DateTime::constant(2024 + years, 1, 1, 0, 0, 0, 0);
        let mut smallest = i64::MAX;
        let mut previous: Option<i64> = None;
        let mut at = jiff::tz::Offset::UTC.to_timestamp(start).ok();
        for _ in 0..ticks {
            at = at.and_then(|at| plain.next_after(at));
            let Some(tick) = at else { break };
            if let Some(previous) = previous {
                smallest = smallest.min(tick.as_second() - previous);
                if jiff::tz::Offset::UTC.to_datetime(tick) > until {
                    break;
                }
            }
            previous = Some(tick.as_second());
        }
        Duration::from_secs(smallest.unsigned_abs())
    }

    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether the only expression takes every hour, so that the wall clock can say the same time twice.
    pub(crate) fn repeats_every_hour(&self) -> bool {
        self.parsed.iter().any(|expression| expression.every_hour)
    }

    pub(crate) fn next_tick(&self, after: Timestamp) -> Option<Tick> {
        self.parsed.iter().filter_map(|e| walk::next(e, &self.zone, after)).min()
    }

    pub(crate) fn previous_tick(&self, before: Timestamp) -> Option<Tick> {
        self.parsed.iter().filter_map(|e| walk::previous(e, &self.zone, before)).max()
    }

    /// How many ticks lie in `from..to`. Counts days, not ticks, where there is one expression.
    pub(crate) fn count(&self, from: Timestamp, to: Timestamp) -> u64 {
        if let [only] = self.parsed.as_slice() {
            return walk::count(only, &self.zone, from, to);
        }
        let first = self.next_after(walk::just_before(from));
        std::iter::successors(first, |tick| self.next_after(*tick)).take_while(|tick| *tick < to).count() as u64
    }
}

/// The time zone of this IANA name.
///
/// # Errors
/// `invalid_config` for a name that is not known, or where the machine has no time zone database.
pub(crate) fn zone(name: &str) -> Result<TimeZone, Problem> {
    TimeZone::get(name).map_err(|error| {
        let problem = Problem::new(Code::InvalidConfig, format!("`{name}` is no time zone that this machine knows"))
            .cause(error.to_string());
        if jiff::tz::db().is_definitively_empty() {
            problem.remedy("install the time zone database (the package `tzdata`), or use `UTC`")
        } else {
            problem.remedy("use a name of the IANA time zone database, such as `Europe/Zurich` or `UTC`")
        }
    })
}
