use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::CronSchedule;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

fn cron(expression: &str, timezone: &str) -> CronSchedule {
    CronSchedule::parse(&[expression], timezone).expect("a schedule")
}

/// The ticks in a span, as local times with their offset.
fn local(expression: &str, timezone: &str, from: &str, until: &str) -> Vec<String> {
    let schedule = cron(expression, timezone);
    let ticks = schedule.ticks_between(at(from), at(until), 1_000);
    ticks.into_iter().map(|tick| tick.to_zoned(schedule.zone().clone()).strftime("%d %H:%M%z").to_string()).collect()
}

#[test]
fn a_fixed_time_in_the_spring_gap_ticks_at_the_next_time_that_exists() {
    let ticks = local("30 2 * * *", "Europe/Zurich", "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
    assert_eq!(ticks, ["31 03:00+0200", "01 02:30+0200"]);
}

#[test]
fn times_of_the_gap_do_not_tick_beside_one_that_is_there_anyway() {
    let ticks = local("0,30 2,3 * * *", "Europe/Zurich", "2024-03-31T00:00:00Z", "2024-03-31T12:00:00Z");
    assert_eq!(ticks, ["31 03:00+0200", "31 03:30+0200"]);
}

#[test]
fn a_fixed_time_that_the_autumn_repeats_ticks_once_at_the_later() {
    let ticks = local("30 2 * * *", "Europe/Zurich", "2024-10-26T12:00:00Z", "2024-10-28T12:00:00Z");
    assert_eq!(ticks, ["27 02:30+0100", "28 02:30+0100"]);
}

#[test]
fn every_hour_is_every_real_hour() {
    for (from, until, hours) in
        [("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z", 23), ("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z", 25)]
    {
        for (expression, minutes) in [("0 * * * *", 60), ("*/15 * * * *", 15), ("@hourly", 60), ("0 */1 * * *", 60)] {
            let ticks = cron(expression, "Europe/Zurich").ticks_between(at(from), at(until), 1_000);
            assert_eq!(ticks.len(), hours * 60 / minutes, "{expression}");
            let step = (minutes * 60) as i64;
            assert!(ticks.windows(2).all(|pair| pair[1].as_second() - pair[0].as_second() == step), "{expression}");
        }
    }
}

#[test]
fn every_other_hour_keeps_its_hours_and_neither_loses_nor_doubles_one() {
    let spring = local("0 */2 * * *", "Europe/Zurich", "2024-03-30T22:59:00Z", "2024-03-31T05:00:00Z");
    assert_eq!(spring, ["31 00:00+0100", "31 03:00+0200", "31 04:00+0200", "31 06:00+0200"]);
    let autumn = local("0 */2 * * *", "Europe/Zurich", "2024-10-26T21:59:00Z", "2024-10-27T05:00:00Z");
    assert_eq!(autumn, ["27 00:00+0200", "27 02:00+0100", "27 04:00+0100", "27 06:00+0100"]);
}

#[test]
fn a_skipped_day_ticks_with_the_next() {
    let ticks = local("@daily", "Pacific/Apia", "2011-12-28T12:00:00Z", "2011-12-31T12:00:00Z");
    assert_eq!(ticks, ["29 00:00-1000", "31 00:00+1400", "01 00:00+1400"]);
}

#[test]
fn names_lists_and_the_days_of_month_and_week_mean_what_they_mean_in_cron() {
    let next = |expression, after| cron(expression, "UTC").next_after(at(after)).map(|tick| tick.to_string());
    let cases = [
        ("0 6 * * MON-FRI", "2026-11-20T06:00:00Z", "2026-11-23T06:00:00Z"),
        ("0 6 * * 7", "2026-11-20T06:00:00Z", "2026-11-22T06:00:00Z"),
        ("0 0 1 JAN,jul *", "2026-03-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("0 0 29 2 *", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"),
        ("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("0 0 L * *", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
        // Either the day of the month or that of the week.
        ("0 0 13 * FRI", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z"),
        ("@weekly", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("@monthly", "2026-11-21T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("@yearly", "2026-11-21T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("@midnight", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("*/20 * * * *", "2026-11-21T00:00:00.5Z", "2026-11-21T00:20:00Z"),
    ];
    for (expression, after, expected) in cases {
        assert_eq!(next(expression, after).as_deref(), Some(expected), "{expression}");
    }
}

#[test]
fn several_expressions_tick_whenever_one_does_and_once_together() {
    let schedule = CronSchedule::parse(&["0 */6 * * *", "0 12 * * *", "30 9 * * *"], "UTC").expect("a schedule");
    let ticks = schedule.ticks_between(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), 100);
    let hours: Vec<_> = ticks.iter().map(|tick| tick.strftime("%H:%M").to_string()).collect();
    assert_eq!(hours, ["06:00", "09:30", "12:00", "18:00", "00:00"]);
    assert_eq!(schedule.previous_before(at("2026-01-01T12:00:00Z")), Some(at("2026-01-01T09:30:00Z")));
    assert_eq!(schedule.last_at_or_before(at("2026-01-01T12:00:00Z")), Some(at("2026-01-01T12:00:00Z")));
    assert_eq!(schedule.count(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")), 5);
    assert_eq!(schedule.ticks_between(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), 3).len(), 3);
}

#[test]
fn what_is_wrong_with_an_expression_or_zone_is_said() {
    let message = |expressions: &[&str], zone| CronSchedule::parse(expressions, zone).expect_err("refused").to_string();
    for (expression, why) in [
        ("0 0 * *", "has 4 fields, not 5"),
        ("0 0 0 * * *", "has 6 fields, not 5"),
        ("61 * * * *", "`61 * * * *` is no cron expression"),
        ("0 0 30 2 *", "would never tick"),
        ("0 MON * * *", "the hour field `MON` has a name that it cannot hold"),
        ("0 0 * FRI *", "the month field"),
        ("0,,5 * * * *", "the minute field `0,,5` has an empty item"),
        ("@fortnightly", "this name is not known"),
        ("", "has 0 fields"),
    ] {
        let message = message(&[expression], "UTC");
        assert!(message.contains(why), "{expression}: {message}");
    }
    assert!(message(&["@daily"], "Europe/Zuerich").contains("`Europe/Zuerich` is no time zone"));
    assert!(message(&[], "UTC").contains("no cron expression"));
}

#[test]
fn the_smallest_gap_is_that_of_the_expressions_not_of_the_clock() {
    let gap = |expressions: &[&str]| {
        CronSchedule::parse(expressions, "Europe/Zurich").expect("a schedule").smallest_gap().as_secs()
    };
    assert_eq!(gap(&["* * * * *"]), 60);
    assert_eq!(gap(&["*/25 * * * *"]), 10 * 60);
    assert_eq!(gap(&["@daily"]), 24 * 3600);
    assert_eq!(gap(&["@monthly"]), 28 * 24 * 3600);
    assert_eq!(gap(&["0 0 29 2 *"]), (4 * 365 + 1) * 24 * 3600);
    assert_eq!(gap(&["0 9 * * *", "30 9 * * *"]), 30 * 60);
    assert_eq!(cron("0 0 * * MON", "UTC").smallest_gap(), Duration::from_secs(7 * 24 * 3600));
}

#[test]
fn a_schedule_is_the_same_after_a_journey_as_json_and_a_wrong_one_is_refused() {
    let schedule = cron("0 6 * * *", "Europe/Zurich");
    let json = serde_json::to_string(&schedule).expect("JSON");
    assert_eq!(json, r#"{"expressions":["0 6 * * *"],"timezone":"Europe/Zurich"}"#);
    assert_eq!(serde_json::from_str::<CronSchedule>(&json).expect("a schedule"), schedule);
    let utc = serde_json::from_str::<CronSchedule>(r#"{"expressions":["@daily"]}"#).expect("a schedule");
    assert_eq!(utc.timezone(), "UTC");
    assert!(serde_json::from_str::<CronSchedule>(r#"{"expressions":["nonsense"]}"#).is_err());
}

/// A field as text, and what it holds.
type Field = (&'static str, fn(i8) -> bool);

const MINUTES: &[Field] = &[
    ("0", |m| m == 0),
    ("30", |m| m == 30),
    ("*", |_| true),
    ("*/15", |m| m % 15 == 0),
    ("5-50/20", |m| m == 5 || m == 25 || m == 45),
    ("0,1,59", |m| m == 0 || m == 1 || m == 59),
];
const HOURS: &[Field] = &[
    ("*", |_| true),
    ("*/1", |_| true),
    ("0", |h| h == 0),
    ("1", |h| h == 1),
    ("2", |h| h == 2),
    ("3", |h| h == 3),
    ("*/2", |h| h % 2 == 0),
    ("1-3", |h| (1..=3).contains(&h)),
    ("2,14", |h| h == 2 || h == 14),
    ("23", |h| h == 23),
];
const DAYS: &[Field] = &[("*", |_| true), ("*", |_| true), ("27-31", |d| d >= 27), ("1", |d| d == 1)];
const WEEKDAYS: &[Field] = &[
    ("*", |_| true),
    ("*", |_| true),
    // From Monday as 1.
    ("SUN", |w| w == 7),
    ("MON-SAT", |w| w < 7),
];

/// Three days around changes of the clock, and some without.
const PLACES: &[(&str, (i16, i8, i8))] = &[
    ("Europe/Zurich", (2024, 3, 30)),
    ("Europe/Zurich", (2024, 10, 26)),
    ("America/New_York", (2024, 3, 9)),
    ("America/New_York", (2024, 11, 2)),
    ("Australia/Lord_Howe", (2024, 4, 6)),
    ("Australia/Lord_Howe", (2024, 10, 5)),
    ("Antarctica/Troll", (2024, 3, 30)),
    ("Antarctica/Troll", (2024, 10, 26)),
    ("America/Sao_Paulo", (2018, 11, 3)),
    ("America/Sao_Paulo", (2018, 2, 17)),
    ("Pacific/Apia", (2011, 12, 29)),
    ("Asia/Kolkata", (2024, 2, 28)),
    ("Europe/Dublin", (2050, 10, 29)),
    ("UTC", (2024, 2, 28)),
];

#[derive(Debug, Clone)]
struct Case {
    text: String,
    minute: Field,
    hour: Field,
    day: Field,
    weekday: Field,
    zone: &'static str,
    from: Timestamp,
    until: Timestamp,
}

impl Case {
    fn matches(&self, local: DateTime) -> bool {
        let (day, weekday) = ((self.day.1)(local.day()), (self.weekday.1)(local.weekday().to_monday_one_offset()));
        let both_named = self.day.0 != "*" && self.weekday.0 != "*";
        (self.minute.1)(local.minute())
            && (self.hour.1)(local.hour())
            && if both_named { day || weekday } else { day && weekday }
    }

    /// Minute by minute: through real time for every hour, through the wall clock for single hours.
    fn model(&self) -> BTreeSet<Timestamp> {
        let zone = TimeZone::get(self.zone).expect("a zone");
        if self.hour.0.starts_with('*') && self.hour.0 != "*/2" {
            let minutes = (0..).map(|n| self.from + n.minutes()).take_while(|t| *t < self.until);
            return minutes.filter(|t| self.matches(zone.to_datetime(*t))).collect();
        }
        // A day more on either side, for what a change of the clock moves in or out.
        let first = zone.to_datetime(self.from).checked_sub(1.day()).expect("a time");
        let last = zone.to_datetime(self.until).checked_add(1.day()).expect("a time");
        let walls = first.series(1.minute()).take_while(|wall| *wall < last).filter(|wall| self.matches(*wall));
        let ticks = walls.map(|wall| {
            let existing = wall
                .series(1.minute())
                .find(|wall| !matches!(zone.to_ambiguous_timestamp(*wall).offset(), AmbiguousOffset::Gap { .. }))
                .expect("gaps end");
            zone.to_ambiguous_timestamp(existing).later().expect("it exists")
        });
        ticks.filter(|tick| *tick >= self.from && *tick < self.until).collect()
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let pick = |fields: &'static [Field]| prop::sample::select(fields.to_vec());
    (pick(MINUTES), pick(HOURS), pick(DAYS), pick(WEEKDAYS), prop::sample::select(PLACES.to_vec())).prop_map(
        |(minute, hour, day, weekday, (zone, (year, month, number)))| {
            let start = date(year, month, number).at(0, 0, 0, 0).in_tz(zone).expect("a time").timestamp();
            Case {
                text: format!("{} {} {} * {}", minute.0, hour.0, day.0, weekday.0),
                minute,
                hour,
                day,
                weekday,
                zone,
                from: start,
                until: start + 72.hours(),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ticks_are_those_of_a_walk_minute_by_minute_in_both_directions(case in cases()) {
        let schedule = cron(&case.text, case.zone);
        let model: Vec<_> = case.model().into_iter().collect();
        let just_before = case.from - 1.nanosecond();
        let forward = schedule.ticks_between(just_before, case.until - 1.nanosecond(), usize::MAX);
        prop_assert_eq!(&forward, &model, "forward");
        let mut backward: Vec<_> =
            std::iter::successors(schedule.previous_before(case.until), |tick| schedule.previous_before(*tick))
                .take_while(|tick| *tick >= case.from)
                .collect();
        backward.reverse();
        prop_assert_eq!(&backward, &model, "backward");
        // Both directions also agree on the wall-clock time that a tick is named by.
        for tick in &model {
            let named = (schedule.next_tick(*tick - 1.nanosecond()), schedule.previous_tick(*tick + 1.nanosecond()));
            prop_assert_eq!(named.0, named.1);
        }
    }

    #[test]
    fn ticks_are_counted_without_walking_them(case in cases(), span in (0i64..4320, 0i64..4320)) {
        let schedule = cron(&case.text, case.zone);
        let (from, until) = (case.from + span.0.min(span.1).minutes(), case.from + span.0.max(span.1).minutes());
        let model = case.model();
        prop_assert_eq!(schedule.count(from, until), model.range(from..until).count() as u64);
    }

    #[test]
    fn from_any_moment_the_next_and_the_last_tick_are_neighbours(case in cases(), seconds in 0i64..259_200) {
        let schedule = cron(&case.text, case.zone);
        let moment = case.from + seconds.seconds();
        let model = case.model();
        if let Some(last) = model.range(..=moment).next_back() {
            prop_assert_eq!(schedule.last_at_or_before(moment), Some(*last));
        }
        if let Some(next) = model.range(moment + 1.nanosecond()..).next() {
            prop_assert_eq!(schedule.next_after(moment), Some(*next));
        }
    }
}
