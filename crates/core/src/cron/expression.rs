//! One cron expression over wall-clock times, without time zones.

use catchment_model::{Code, Problem};
use croner::parser::{CronParser, Seconds, Year};
use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time, date, time};

const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The fields in their order, and the letters that each may hold.
const FIELDS: [(&str, &[&str]); 5] = [
    ("minute", &[]),
    ("hour", &[]),
    ("day of month", &["L", "W", "LW"]),
    ("month", &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]),
    (
        "day of week",
        &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L", "SUNL", "MONL", "TUEL", "WEDL", "THUL", "FRIL", "SATL"],
    ),
];

/// Days repeat after this many years at the latest: the Gregorian calendar's cycle.
const CALENDAR_CYCLE: i16 = 400;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    cron: croner::Cron,
    /// Its times of day, in order.
    times: Vec<Time>,
    /// Whether every day matches, so that days need not be looked at one by one.
    every_day: bool,
    /// Whether it takes every hour of the day.
    pub(super) every_hour: bool,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |why: String| {
            Problem::new(Code::InvalidConfig, format!("`{text}` is no cron expression")).cause(why).remedy(
                "write five fields (minute, hour, day of month, month, day of week), such as `0 6 * * MON-FRI`, or \
                 one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly",
            )
        };
        let plain = if text.starts_with('@') {
            let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
            known.ok_or_else(|| wrong("this name is not known".to_owned()))?.1
        } else {
            text
        };
        check_fields(plain).map_err(&wrong)?;
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(plain)
            .map_err(|error| wrong(error.to_string()))?;
        let every_hour = cron.pattern.hours.values().len() == 24;
        let every_day = plain.split_whitespace().skip(2).all(|field| field == "*");
        let minutes = cron.pattern.minutes.values();
        let times = cron.pattern.hours.values().into_iter().flat_map(|hour| {
            minutes.iter().map(move |minute| {
                // croner answers values of 0..=23 and 0..=59.
                time(hour as i8, *minute as i8, 0, 0)
            })
        });
        let times = times.collect();
        let expression = Self { cron, times, every_day, every_hour };
        if expression.at_or_after(date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(wrong("no day of the calendar matches it, so it would never tick".to_owned()));
        }
        Ok(expression)
    }

    /// The first matching time at `from` or after it.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        if self.day_matches(from.date())
            && let Some(time) = self.times.iter().find(|time| **time >= from.time())
        {
            return Some(from.date().to_datetime(*time));
        }
        let last_year = from.year().saturating_add(CALENDAR_CYCLE);
        let mut day = from.date().tomorrow().ok()?;
        while day.year() <= last_year {
            if self.month_matches(day) {
                if self.day_matches(day) {
                    return Some(day.to_datetime(*self.times.first()?));
                }
                day = day.tomorrow().ok()?;
            } else {
                day = day.last_of_month().tomorrow().ok()?;
            }
        }
        None
    }

    /// The last matching time at `until` or before it.
    pub(super) fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        if self.day_matches(until.date())
            && let Some(time) = self.times.iter().rev().find(|time| **time <= until.time())
        {
            return Some(until.date().to_datetime(*time));
        }
        let first_year = until.year().saturating_sub(CALENDAR_CYCLE);
        let mut day = until.date().yesterday().ok()?;
        while day.year() >= first_year {
            if self.month_matches(day) {
                if self.day_matches(day) {
                    return Some(day.to_datetime(*self.times.last()?));
                }
                day = day.yesterday().ok()?;
            } else {
                day = day.first_of_month().yesterday().ok()?;
            }
        }
        None
    }

    /// How many matching times lie in `from..to`.
    pub(super) fn count(&self, from: DateTime, to: DateTime) -> u64 {
        if from >= to {
            return 0;
        }
        let before = |end: DateTime| {
            let times = self.times.iter().filter(|time| **time < end.time()).count();
            if self.day_matches(end.date()) { times as u64 } else { 0 }
        };
        self.days(from.date(), to.date()) * self.times.len() as u64 + before(to) - before(from)
    }

    /// How many matching days lie in `from..to`.
    fn days(&self, from: Date, to: Date) -> u64 {
        if self.every_day {
            return u64::from((to - from).get_days().unsigned_abs());
        }
        from.series(1.day()).take_while(|day| *day < to).filter(|day| self.day_matches(*day)).count() as u64
    }

    fn month_matches(&self, day: Date) -> bool {
        self.cron.pattern.month_match(day.month().unsigned_abs().into()).unwrap_or(false)
    }

    fn day_matches(&self, day: Date) -> bool {
        if self.every_day {
            return true;
        }
        let weekday = match day.weekday() {
            jiff::civil::Weekday::Sunday => croner::Weekday::Sunday,
            jiff::civil::Weekday::Monday => croner::Weekday::Monday,
            jiff::civil::Weekday::Tuesday => croner::Weekday::Tuesday,
            jiff::civil::Weekday::Wednesday => croner::Weekday::Wednesday,
            jiff::civil::Weekday::Thursday => croner::Weekday::Thursday,
            jiff::civil::Weekday::Friday => croner::Weekday::Friday,
            jiff::civil::Weekday::Saturday => croner::Weekday::Saturday,
        };
        let (month, number) = (day.month().unsigned_abs().into(), day.day().unsigned_abs().into());
        self.month_matches(day)
            && self.cron.pattern.day_match(day.year().into(), month, number, weekday).unwrap_or(false)
    }
}

/// What croner would let pass: empty items of a list, and names in a field where they mean nothing.
fn check_fields(text: &str) -> Result<(), String> {
    let fields: Vec<_> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields, not 5", fields.len()));
    }
    for (field, (name, names)) in fields.iter().zip(FIELDS) {
        if field.split(',').any(str::is_empty) {
            return Err(format!("the {name} field `{field}` has an empty item"));
        }
        let upper = field.to_uppercase();
        let words = upper.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        for word in words {
            if !names.contains(&word) {
                return Err(format!("the {name} field `{field}` has a name that it cannot hold, `{word}`"));
            }
        }
    }
    Ok(())
}
