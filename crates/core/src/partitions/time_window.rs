//! Partitions that are windows of time.
//!
//! The windows lie between the ticks of a cron schedule, so they follow one another without gap or overlap through
//! every change of the clock. A key is the start of its window, written with `fmt`. Where the autumn repeats an
//! hour, the second of two windows with the same local start has its UTC offset behind the key, as in Dagster:
//! `2024-10-27-02:00`, then `2024-10-27-02:00+0100`.

use catchment_model::{Code, Problem};
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cron::{CronSchedule, Tick};

const MINUTE_FORMAT: &str = "%Y-%m-%d-%H:%M";
const DAY_FORMAT: &str = "%Y-%m-%d";
const OFFSET: &str = "%z";

/// How many windows a new definition tries its key format on.
const FORMAT_SAMPLE: usize = 32;

/// How long the windows are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cadence {
    /// An hour, from `minute_offset`.
    Hourly,
    /// A day, from `hour_offset`:`minute_offset`.
    Daily,
    /// A week, from the weekday `day_offset` (0 is Sunday).
    Weekly,
    /// A month, from the day of the month `day_offset` (0 and 1 are the first).
    Monthly,
    /// From tick to tick of a cron expression.
    Cron {
        /// The expression; offsets must be 0.
        expression: String,
    },
}

/// What defines time windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeWindowSpec {
    /// How long the windows are.
    pub cadence: Cadence,
    /// The first window begins here or at the first tick after it: local time of `timezone`.
    pub start: DateTime,
    /// No window ends after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime>,
    /// The time zone's IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Minutes after the hour, 0 to 59.
    #[serde(default)]
    pub minute_offset: u8,
    /// Hours after midnight, 0 to 23.
    #[serde(default)]
    pub hour_offset: u8,
    /// The weekday (weekly) or the day of the month (monthly).
    #[serde(default)]
    pub day_offset: u8,
    /// 0: only windows that have ended. More: so many windows beyond these. Less: so many of these less.
    #[serde(default)]
    pub end_offset: i32,
    /// How keys are written (strftime): by default `%Y-%m-%d-%H:%M` for hours and cron, `%Y-%m-%d` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmt: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl TimeWindowSpec {
    /// Windows in UTC without offsets.
    pub fn new(cadence: Cadence, start: DateTime) -> Self {
        Self {
            cadence,
            start,
            end: None,
            timezone: utc(),
            minute_offset: 0,
            hour_offset: 0,
            day_offset: 0,
            end_offset: 0,
            fmt: None,
        }
    }

    fn cron(&self) -> Result<String, Problem> {
        let Self { minute_offset: minute, hour_offset: hour, day_offset: day, .. } = self;
        let (allowed, cron) = match &self.cadence {
            Cadence::Hourly => ((59, 0, 0), format!("{minute} * * * *")),
            Cadence::Daily => ((59, 23, 0), format!("{minute} {hour} * * *")),
            Cadence::Weekly => ((59, 23, 6), format!("{minute} {hour} * * {day}")),
            Cadence::Monthly => ((59, 23, 31), format!("{minute} {hour} {} * *", day.max(&1))),
            Cadence::Cron { expression } => ((0, 0, 0), expression.clone()),
        };
        for (name, value, most) in
            [("minute_offset", minute, allowed.0), ("hour_offset", hour, allowed.1), ("day_offset", day, allowed.2)]
        {
            if *value > most {
                return Err(Problem::new(Code::InvalidConfig, format!("{name} {value} does not fit these partitions"))
                    .cause(format!("the most that it can be is {most}"))
                    .remedy("change the offset, or use a cron expression without offsets"));
            }
        }
        Ok(cron)
    }
}

/// A span of time: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeWindow {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// A checked definition of time windows. In JSON it is its [`TimeWindowSpec`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "TimeWindowSpec", into = "TimeWindowSpec")]
pub struct TimeWindowPartitions {
    spec: TimeWindowSpec,
    schedule: CronSchedule,
    fmt: String,
    first: Timestamp,
    end: Option<Timestamp>,
}

impl PartialEq for TimeWindowPartitions {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Eq for TimeWindowPartitions {}

impl From<TimeWindowPartitions> for TimeWindowSpec {
    fn from(partitions: TimeWindowPartitions) -> Self {
        partitions.spec
    }
}

impl TryFrom<TimeWindowSpec> for TimeWindowPartitions {
    type Error = Problem;

    fn try_from(spec: TimeWindowSpec) -> Result<Self, Problem> {
        Self::new(spec)
    }
}

impl TimeWindowPartitions {
    /// Checks a definition.
    ///
    /// # Errors
    /// `invalid_config` for an offset that does not fit, a wrong cron expression or time zone, and a format that
    /// cannot be read back or gives two windows the same key.
    pub fn new(spec: TimeWindowSpec) -> Result<Self, Problem> {
        let schedule = CronSchedule::parse(&[spec.cron()?], &spec.timezone)?;
        let late = || Problem::new(Code::InvalidConfig, format!("no window begins at {} or after it", spec.start));
        let start = first_instant(&schedule, spec.start).ok_or_else(late)?;
        let first = schedule.next_tick(before(start)).ok_or_else(late)?.at;
        let end = spec.end.map(|end| first_instant(&schedule, end).ok_or_else(late)).transpose()?;
        let fmt = spec.fmt.clone().unwrap_or_else(|| match spec.cadence {
            Cadence::Hourly | Cadence::Cron { .. } => MINUTE_FORMAT.to_owned(),
            Cadence::Daily | Cadence::Weekly | Cadence::Monthly => DAY_FORMAT.to_owned(),
        });
        let partitions = Self { spec, schedule, fmt, first, end };
        partitions.check_format()?;
        Ok(partitions)
    }

    /// What defines it.
    pub fn spec(&self) -> &TimeWindowSpec {
        &self.spec
    }

    /// The schedule whose ticks bound the windows.
    pub fn schedule(&self) -> &CronSchedule {
        &self.schedule
    }

    /// All keys, oldest first.
    pub fn keys(&self, now: Timestamp) -> Vec<String> {
        let Some(span) = self.span(now) else { return Vec::new() };
        self.ticks_from(span.start).take_while(|tick| tick.at < span.end).map(|tick| self.key(tick)).collect()
    }

    /// How many keys there are; days are counted, not keys made.
    pub fn count(&self, now: Timestamp) -> u64 {
        self.span(now).map_or(0, |span| self.schedule.count(span.start, span.end))
    }

    /// Whether the key is of a window that is there now.
    pub fn contains(&self, key: &str, now: Timestamp) -> bool {
        let span = self.span(now);
        span.zip(self.window_of(key)).is_some_and(|(span, window)| span.start <= window.start && window.end <= span.end)
    }

    /// The oldest key.
    pub fn first_key(&self, now: Timestamp) -> Option<String> {
        let span = self.span(now)?;
        self.ticks_from(span.start).next().map(|tick| self.key(tick))
    }

    /// The newest key.
    pub fn last_key(&self, now: Timestamp) -> Option<String> {
        self.schedule.previous_tick(self.span(now)?.end).map(|tick| self.key(tick))
    }

    /// The window of the newest key.
    pub fn last_window(&self, now: Timestamp) -> Option<TimeWindow> {
        let end = self.span(now)?.end;
        Some(TimeWindow { start: self.schedule.previous_before(end)?, end })
    }

    /// From the start of the first window to the end of the last one. None where there is no window.
    pub fn span(&self, now: Timestamp) -> Option<TimeWindow> {
        let mut end = self.schedule.last_at_or_before(now)?.max(self.first);
        for _ in 0..self.spec.end_offset {
            end = self.schedule.next_after(end)?;
        }
        if let Some(limit) = self.end.filter(|limit| *limit < end) {
            end = self.schedule.last_at_or_before(limit)?;
        }
        for _ in self.spec.end_offset..0 {
            end = self.schedule.previous_before(end)?;
        }
        (self.first < end).then_some(TimeWindow { start: self.first, end })
    }

    /// The window of a key, whether it is there now or not. None for what is no key of these windows.
    pub fn window_of(&self, key: &str) -> Option<TimeWindow> {
        let start = self.tick_of(key)?.at;
        Some(TimeWindow { start, end: self.schedule.next_after(start)? })
    }

    /// The key of the window that holds this instant, whether it is there now or not.
    pub fn key_at(&self, at: Timestamp) -> Option<String> {
        self.schedule.previous_tick(after(at)).map(|tick| self.key(tick))
    }

    /// The keys of the windows that overlap this one, whether they are there now or not.
    pub(crate) fn keys_overlapping(&self, window: TimeWindow) -> Vec<String> {
        if window.start >= window.end {
            return Vec::new();
        }
        let Some(first) = self.schedule.last_at_or_before(window.start) else { return Vec::new() };
        self.ticks_from(first).take_while(|tick| tick.at < window.end).map(|tick| self.key(tick)).collect()
    }

    /// The border of windows that lies `by` windows after `tick` (before it where `by` is negative).
    pub(crate) fn shift(&self, tick: Timestamp, by: i32) -> Option<Timestamp> {
        (0..by.unsigned_abs()).try_fold(tick, |tick, _| {
            if by > 0 { self.schedule.next_after(tick) } else { self.schedule.previous_before(tick) }
        })
    }

    pub(super) fn range(&self, start: &str, end: &str) -> Vec<String> {
        let (Some(start), Some(end)) = (self.tick_of(start), self.tick_of(end)) else { return Vec::new() };
        self.ticks_from(start.at).take_while(|tick| tick.at <= end.at).map(|tick| self.key(tick)).collect()
    }

    /// None where the cursor is no key.
    pub(super) fn page(
        &self,
        cursor: Option<&str>,
        limit: usize,
        descending: bool,
        now: Timestamp,
    ) -> Option<Vec<String>> {
        let cursor = match cursor {
            Some(cursor) => Some(self.tick_of(cursor)?.at),
            None => None,
        };
        let Some(span) = self.span(now) else { return Some(Vec::new()) };
        let keys = if descending {
            let last = self.schedule.previous_tick(cursor.map_or(span.end, |cursor| cursor.min(span.end)));
            std::iter::successors(last, |tick| self.schedule.previous_tick(tick.at))
                .take_while(|tick| tick.at >= span.start)
                .take(limit)
                .map(|tick| self.key(tick))
                .collect()
        } else {
            let from = cursor.map_or(span.start, |cursor| after(cursor).max(span.start));
            self.ticks_from(from).take_while(|tick| tick.at < span.end).take(limit).map(|tick| self.key(tick)).collect()
        };
        Some(keys)
    }

    /// The ticks at `from` and after it.
    fn ticks_from(&self, from: Timestamp) -> impl Iterator<Item = Tick> {
        std::iter::successors(self.schedule.next_tick(before(from)), |tick| self.schedule.next_tick(tick.at))
    }

    /// The key of the window that begins with this tick.
    fn key(&self, tick: Tick) -> String {
        let zone = self.schedule.zone();
        let offset = zone.to_offset(tick.at);
        let repeated = self.schedule.repeats_every_hour()
            && !has_offset(&self.fmt)
            && matches!(zone.to_ambiguous_timestamp(tick.named).offset(), AmbiguousOffset::Fold { after, .. } if after == offset);
        let mut parts = BrokenDownTime::from(tick.named);
        parts.set_offset(Some(offset));
        let fmt = if repeated { format!("{}{OFFSET}", self.fmt) } else { self.fmt.clone() };
        // `check_format` has shown that the format can be written.
        parts.to_string(&fmt).unwrap_or_default()
    }

    fn tick_of(&self, key: &str) -> Option<Tick> {
        let mut parts =
            strtime::parse(&self.fmt, key).or_else(|_| strtime::parse(format!("{}{OFFSET}", self.fmt), key)).ok()?;
        let named = civil(&mut parts)?;
        let from = match parts.offset() {
            Some(offset) => offset.to_timestamp(named).ok()?,
            None => first_instant(&self.schedule, named)?,
        };
        // A format may drop the time of day, so the tick may lie behind what was read.
        for tick in self.ticks_from(from) {
            if tick.named < named {
                continue;
            }
            if self.key(tick) == key {
                return Some(tick);
            }
            if tick.named > named {
                break;
            }
        }
        None
    }

    fn check_format(&self) -> Result<(), Problem> {
        let wrong = |why: String| {
            Problem::new(Code::InvalidConfig, format!("`{}` is no format for these partition keys", self.fmt))
                .cause(why)
                .remedy("use strftime fields down to the windows' length, such as `%Y-%m-%d-%H:%M`")
        };
        strtime::format(&self.fmt, &self.first.to_zoned(self.schedule.zone().clone()))
            .map_err(|error| wrong(error.to_string()))?;
        for tick in self.ticks_from(self.first).take(FORMAT_SAMPLE) {
            let key = self.key(tick);
            super::check_key(&key)?;
            if self.tick_of(&key) != Some(tick) {
                return Err(wrong(format!("`{key}` does not say which window it is")));
            }
        }
        Ok(())
    }
}

fn has_offset(fmt: &str) -> bool {
    fmt.contains(OFFSET) || fmt.contains("%:z")
}

/// The first instant whose wall clock shows `civil`, or the end of the gap that swallows it.
fn first_instant(schedule: &CronSchedule, civil: DateTime) -> Option<Timestamp> {
    match schedule.zone().to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, after } => {
            // The clock jumps somewhere between these two, which are a gap apart.
            let earliest = after.to_timestamp(civil).ok()?;
            let latest = before.to_timestamp(civil).ok()?;
            schedule.zone().following(earliest).map(|change| change.timestamp()).find(|at| *at <= latest)
        }
    }
}

/// What was read, with what the format leaves out: the first month, day, hour and minute.
fn civil(parts: &mut BrokenDownTime) -> Option<DateTime> {
    let weekly =
        parts.iso_week().is_some() || parts.sunday_based_week().is_some() || parts.monday_based_week().is_some();
    if parts.day().is_none() && parts.day_of_year().is_none() && !weekly && parts.timestamp().is_none() {
        if parts.month().is_none() {
            parts.set_month(Some(1)).ok()?;
        }
        parts.set_day(Some(1)).ok()?;
    }
    if weekly && parts.weekday().is_none() {
        parts.set_weekday(Some(jiff::civil::Weekday::Monday));
    }
    let date: Date = parts.to_date().ok()?;
    let time = match parts.hour() {
        Some(hour) => Time::new(hour, parts.minute().unwrap_or(0), parts.second().unwrap_or(0), 0).ok()?,
        None => Time::midnight(),
    };
    Some(date.to_datetime(time))
}

fn before(at: Timestamp) -> Timestamp {
    at.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN)
}

fn after(at: Timestamp) -> Timestamp {
    at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
}
