use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{DateTime, date};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::{
    Cadence, KeyPage, MultiKey, PartitionContext, PartitionRanges, PartitionSubset, PartitionsDefinition,
    TimeWindowPartitions, TimeWindowSpec, check_key,
};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

fn windows(spec: TimeWindowSpec) -> TimeWindowPartitions {
    TimeWindowPartitions::new(spec).expect("a definition")
}

fn daily(start: &str) -> TimeWindowSpec {
    TimeWindowSpec::new(Cadence::Daily, start.parse().expect("a time"))
}

fn dynamic() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([("datasets".to_owned(), vec!["roads".to_owned(), "lakes".to_owned(), "alps".to_owned()])])
}

/// Definitions as of noon (UTC) of 2026-11-21.
fn cx(dynamic: &BTreeMap<String, Vec<String>>) -> PartitionContext<'_> {
    PartitionContext { now: at("2026-11-21T12:00:00Z"), dynamic }
}

#[test]
fn keys_have_dagsters_formats_and_windows_are_complete() {
    let now = at("2026-11-21T12:30:00Z");
    let keys = |cadence, start: DateTime| windows(TimeWindowSpec::new(cadence, start)).keys(now);
    assert_eq!(keys(Cadence::Hourly, date(2026, 11, 21).at(10, 0, 0, 0)), ["2026-11-21-10:00", "2026-11-21-11:00"]);
    assert_eq!(keys(Cadence::Daily, date(2026, 11, 19).at(0, 0, 0, 0)), ["2026-11-19", "2026-11-20"]);
    assert_eq!(keys(Cadence::Weekly, date(2026, 11, 2).at(0, 0, 0, 0)), ["2026-11-08"]);
    assert_eq!(keys(Cadence::Monthly, date(2026, 9, 2).at(0, 0, 0, 0)), ["2026-10-01"]);
    assert_eq!(keys(Cadence::Daily, date(2026, 11, 21).at(0, 0, 0, 0)), [""; 0]);
}

#[test]
fn an_end_offset_adds_windows_that_are_not_over_or_takes_some_away() {
    let now = at("2026-11-21T12:00:00Z");
    let keys = |end_offset| windows(TimeWindowSpec { end_offset, ..daily("2026-11-18T00:00") }).keys(now);
    assert_eq!(keys(1), ["2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21"]);
    assert_eq!(keys(2).last().map(String::as_str), Some("2026-11-22"));
    assert_eq!(keys(-1), ["2026-11-18", "2026-11-19"]);
    assert_eq!(keys(-3), [""; 0]);
    // The current window is there, though none is over yet.
    let future = windows(TimeWindowSpec { end_offset: 1, ..daily("2026-11-21T00:00") });
    assert_eq!(future.keys(now), ["2026-11-21"]);
}

#[test]
fn no_window_ends_after_the_end() {
    let end = Some(date(2026, 11, 20).at(6, 0, 0, 0));
    let partitions = windows(TimeWindowSpec { end, end_offset: 3, ..daily("2026-11-18T00:00") });
    assert_eq!(partitions.keys(at("2026-12-24T00:00:00Z")), ["2026-11-18", "2026-11-19"]);
}

#[test]
fn offsets_move_the_windows() {
    let now = at("2026-11-21T12:00:00Z");
    let spec = TimeWindowSpec { hour_offset: 6, minute_offset: 30, ..daily("2026-11-19T00:00") };
    let partitions = windows(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..spec });
    assert_eq!(partitions.keys(now), ["2026-11-19", "2026-11-20"]);
    let window = partitions.window_of("2026-11-20").expect("a window");
    assert_eq!((window.start, window.end), (at("2026-11-20T05:30:00Z"), at("2026-11-21T05:30:00Z")));
    let monthly = TimeWindowSpec { day_offset: 15, ..TimeWindowSpec::new(Cadence::Monthly, date(2026, 9, 1).into()) };
    assert_eq!(windows(monthly).keys(now), ["2026-09-15", "2026-10-15"]);
    let weekly = TimeWindowSpec { day_offset: 1, ..TimeWindowSpec::new(Cadence::Weekly, date(2026, 11, 1).into()) };
    assert_eq!(windows(weekly).keys(now), ["2026-11-02", "2026-11-09"]);
}

#[test]
fn the_hour_that_the_autumn_repeats_has_two_windows_with_two_keys() {
    let spec = TimeWindowSpec::new(Cadence::Hourly, date(2024, 10, 27).at(1, 0, 0, 0));
    let partitions = windows(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..spec });
    let keys = partitions.keys(at("2024-10-27T03:00:00Z"));
    let expected = ["2024-10-27-01:00", "2024-10-27-02:00", "2024-10-27-02:00+0100", "2024-10-27-03:00"];
    assert_eq!(keys, expected);
    assert_eq!(partitions.window_of(expected[1]).expect("a window").start, at("2024-10-27T00:00:00Z"));
    assert_eq!(partitions.window_of(expected[2]).expect("a window").start, at("2024-10-27T01:00:00Z"));
    assert_eq!(partitions.window_of("2024-10-27-02:00+0200"), None, "the first is written without its offset");
}

#[test]
fn a_spring_day_has_one_hour_less_and_a_day_window_is_shorter() {
    let hours = TimeWindowSpec::new(Cadence::Hourly, date(2024, 3, 31).at(0, 0, 0, 0));
    let hours = windows(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..hours });
    assert_eq!(hours.count(at("2024-03-31T22:00:00Z")), 23);
    assert_eq!(hours.window_of("2024-03-31-02:00"), None);
    let days = windows(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..daily("2024-03-30T00:00") });
    let window = days.window_of("2024-03-31").expect("a window");
    assert_eq!(window.end.as_second() - window.start.as_second(), 23 * 3600);
}

#[test]
fn formats_may_leave_the_time_out_but_not_what_tells_windows_apart() {
    let now = at("2026-11-21T12:00:00Z");
    let monthly = TimeWindowSpec::new(Cadence::Monthly, date(2026, 9, 1).into());
    let monthly = TimeWindowSpec { fmt: Some("%Y-%m".into()), day_offset: 3, ..monthly };
    let partitions = windows(monthly.clone());
    assert_eq!(partitions.keys(now), ["2026-09", "2026-10"]);
    assert_eq!(partitions.window_of("2026-10").expect("a window").start, at("2026-10-03T00:00:00Z"));
    let weekly = TimeWindowSpec::new(Cadence::Weekly, date(2026, 11, 1).into());
    let weekly = windows(TimeWindowSpec { fmt: Some("%G-W%V".into()), day_offset: 1, ..weekly });
    assert_eq!(weekly.keys(now), ["2026-W45", "2026-W46"]);
    for fmt in ["%Y", "%d", "%Q-nonsense", "day", "%Y...%m", ""] {
        let problem = TimeWindowPartitions::new(TimeWindowSpec { fmt: Some(fmt.into()), ..monthly.clone() });
        assert!(problem.is_err(), "{fmt} was accepted");
    }
}

#[test]
fn offsets_that_do_not_fit_are_refused() {
    let hourly = || TimeWindowSpec::new(Cadence::Hourly, date(2026, 1, 1).into());
    let message = |spec| TimeWindowPartitions::new(spec).expect_err("refused").to_string();
    assert!(message(TimeWindowSpec { hour_offset: 1, ..hourly() }).contains("hour_offset 1"));
    assert!(message(TimeWindowSpec { minute_offset: 60, ..hourly() }).contains("most that it can be is 59"));
    let cron = TimeWindowSpec { cadence: Cadence::Cron { expression: "0 6".into() }, ..hourly() };
    assert!(message(cron).contains("has 2 fields"));
    assert!(message(TimeWindowSpec { timezone: "Mars".into(), ..hourly() }).contains("no time zone"));
}

#[test]
fn keys_of_two_dimensions_are_joined_in_the_order_of_the_dimensions_names() {
    let dynamic = dynamic();
    let days = PartitionsDefinition::time_window(daily("2026-11-19T00:00")).expect("a definition");
    let kinds = PartitionsDefinition::with_keys(["raster", "vector"]).expect("a definition");
    let multi = PartitionsDefinition::multi([("kind", kinds.clone()), ("date", days.clone())]).expect("a definition");
    let keys = ["2026-11-19|raster", "2026-11-19|vector", "2026-11-20|raster", "2026-11-20|vector"];
    assert_eq!(multi.keys(cx(&dynamic)), keys);
    assert_eq!(multi.count(cx(&dynamic)), 4);
    assert_eq!(multi.first_key(cx(&dynamic)).as_deref(), Some(keys[0]));
    assert_eq!(multi.last_key(cx(&dynamic)).as_deref(), Some(keys[3]));
    assert!(multi.contains(keys[2], cx(&dynamic)));
    assert!(!multi.contains("raster|2026-11-19", cx(&dynamic)));
    assert!(!multi.contains("2026-11-19|raster|x", cx(&dynamic)));
    assert_eq!(multi.window_of(keys[3]), days.window_of("2026-11-20"));
    assert_eq!(multi.range(keys[1], keys[3], cx(&dynamic)).expect("keys"), [keys[1], keys[3]]);
    let PartitionsDefinition::Multi { dimensions } = &multi else { panic!("not two dimensions") };
    let key = MultiKey::parse(keys[1], dimensions).expect("a key");
    assert_eq!(key.0["kind"], "vector");
    assert_eq!(key.to_string(), keys[1]);
    assert!(PartitionsDefinition::multi([("kind", kinds.clone())]).is_err(), "one dimension");
    assert!(PartitionsDefinition::multi([("a", kinds), ("b", multi)]).is_err(), "dimensions within dimensions");
}

#[test]
fn keys_that_could_not_be_told_from_a_range_or_from_two_keys_are_refused() {
    for key in ["", "a...b", "a\nb", "a\u{7}"] {
        assert!(check_key(key).is_err(), "{key:?}");
        assert!(PartitionsDefinition::with_keys([key]).is_err(), "{key:?}");
    }
    assert!(PartitionsDefinition::with_keys(["a", "b", "a"]).is_err(), "a key that is there twice");
    for key in ["a|b", "a,b", "[a", "a]"] {
        let definition = PartitionsDefinition::with_keys([key]).expect("alone it is fine");
        let other = PartitionsDefinition::with_keys(["x"]).expect("a definition");
        let message = PartitionsDefinition::multi([("left", definition), ("right", other)]).expect_err("refused");
        assert_eq!(message.place.as_deref(), Some("dimension `left`"));
    }
}

#[test]
fn a_range_names_the_key_that_is_not_there_and_wants_the_earlier_key_first() {
    let dynamic = dynamic();
    let datasets = PartitionsDefinition::Dynamic { name: "datasets".into() };
    assert_eq!(datasets.range("roads", "lakes", cx(&dynamic)).expect("keys"), ["roads", "lakes"]);
    let backwards = datasets.range("lakes", "roads", cx(&dynamic)).expect_err("refused");
    assert!(backwards.to_string().contains("`roads` comes before `lakes`"), "{backwards}");
    let unknown = datasets.range("roads", "seas", cx(&dynamic)).expect_err("refused");
    assert!(unknown.to_string().contains("`seas`"), "{unknown}");
}

#[test]
fn a_hundred_years_of_hours_are_counted_and_paged_without_making_their_keys() {
    let spec = TimeWindowSpec::new(Cadence::Hourly, date(1926, 1, 1).at(0, 0, 0, 0));
    let hours = PartitionsDefinition::time_window(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..spec });
    let (hours, dynamic) = (hours.expect("a definition"), dynamic());
    let now = at("2026-01-01T00:00:00Z");
    let cx = PartitionContext { now, dynamic: &dynamic };
    let first = at("1925-12-31T23:00:00Z");
    assert_eq!(hours.count(cx), u64::try_from((now.as_second() - first.as_second()) / 3600).expect("a count"));
    let page = hours.page(None, 2, true, cx).expect("a page");
    assert_eq!(page.keys, ["2026-01-01-00:00", "2025-12-31-23:00"]);
    let page = hours.page(page.cursor.as_deref(), 1, true, cx).expect("a page");
    assert_eq!(page.keys, ["2025-12-31-22:00"]);
    assert!(hours.page(Some("yesterday"), 1, true, cx).is_err());
}

#[test]
fn ten_years_of_hours_are_kept_in_one_entry() {
    let dynamic = dynamic();
    let spec = TimeWindowSpec::new(Cadence::Hourly, date(2016, 11, 21).at(0, 0, 0, 0));
    let hours = PartitionsDefinition::time_window(spec).expect("a definition");
    let ranges = |subset: &PartitionSubset, definition| {
        serde_json::to_string(&PartitionRanges::of(subset, definition, cx(&dynamic))).expect("JSON")
    };
    let all = hours.all(cx(&dynamic));
    assert_eq!(ranges(&all, Some(&hours)), r#"["2016-11-21-00:00...2026-11-21-11:00"]"#);
    let but_one = all.difference(&PartitionSubset::of(["2016-11-21-01:00"]));
    let expected = r#"["2016-11-21-00:00","2016-11-21-02:00...2026-11-21-11:00"]"#;
    assert_eq!(ranges(&but_one, Some(&hours)), expected);
    assert_eq!(ranges(&PartitionSubset::unpartitioned(), None), "[null]");
    let datasets = PartitionsDefinition::Dynamic { name: "datasets".into() };
    assert_eq!(ranges(&datasets.all(cx(&dynamic)), Some(&datasets)), r#"["alps","lakes","roads"]"#);
}

#[test]
fn a_definition_is_the_same_after_a_journey_as_json() {
    let days = TimeWindowSpec { timezone: "Europe/Zurich".into(), ..daily("2026-11-19T00:00") };
    let days = PartitionsDefinition::time_window(days).expect("a definition");
    let datasets = PartitionsDefinition::Dynamic { name: "datasets".into() };
    let multi = PartitionsDefinition::multi([("date", days), ("dataset", datasets)]).expect("a definition");
    let json = serde_json::to_value(&multi).expect("JSON");
    assert_eq!(json["kind"], "multi");
    assert_eq!(json["dimensions"]["date"]["kind"], "time_window");
    assert_eq!(json["dimensions"]["date"]["cadence"]["kind"], "daily");
    assert_eq!(serde_json::from_value::<PartitionsDefinition>(json.clone()).expect("a definition"), multi);
    let mut wrong = json;
    wrong["dimensions"]["date"]["timezone"] = "Mars".into();
    assert!(serde_json::from_value::<PartitionsDefinition>(wrong).is_err());
}

/// Definitions around changes of the clock, and a moment some days later.
pub(crate) fn specs() -> impl Strategy<Value = (TimeWindowSpec, Timestamp)> {
    let places = prop::sample::select(vec![
        ("Europe/Zurich", date(2024, 3, 29)),
        ("Europe/Zurich", date(2024, 10, 25)),
        ("America/New_York", date(2024, 11, 1)),
        ("Australia/Lord_Howe", date(2024, 4, 5)),
        ("Australia/Lord_Howe", date(2024, 10, 4)),
        ("America/Sao_Paulo", date(2018, 11, 2)),
        ("America/Sao_Paulo", date(2018, 2, 16)),
        ("Pacific/Apia", date(2011, 12, 28)),
        ("Asia/Kolkata", date(2024, 2, 27)),
        ("UTC", date(2023, 12, 30)),
    ]);
    let cron = |text: &str| Cadence::Cron { expression: text.into() };
    let cadence = prop::sample::select(vec![
        Cadence::Hourly,
        Cadence::Daily,
        Cadence::Weekly,
        Cadence::Monthly,
        cron("*/30 * * * *"),
        cron("0 */3 * * *"),
        cron("15 2,14 * * *"),
        cron("0 0 L * *"),
    ]);
    (places, cadence, (0u8..60, 0u8..24, 0u8..7), 0i8..24, -2i32..4, 0i64..150).prop_map(
        |((zone, day), cadence, (minute, hour, weekday), start, end_offset, hours)| {
            let free = !matches!(cadence, Cadence::Cron { .. });
            let days = free && !matches!(cadence, Cadence::Hourly);
            let dated = matches!(cadence, Cadence::Weekly | Cadence::Monthly);
            let start = day.at(start, 0, 0, 0);
            let span = if dated { 20 * hours } else { hours };
            let now = start.in_tz(zone).expect("a time").timestamp() + span.hours();
            let spec = TimeWindowSpec {
                timezone: zone.into(),
                minute_offset: if free { minute } else { 0 },
                hour_offset: if days { hour } else { 0 },
                day_offset: if dated { weekday } else { 0 },
                end_offset,
                ..TimeWindowSpec::new(cadence, start)
            };
            (spec, now)
        },
    )
}

fn any_definition() -> impl Strategy<Value = PartitionsDefinition> {
    let statics = prop::collection::btree_set("[a-d]{1,2}", 0..8)
        .prop_map(|keys| PartitionsDefinition::with_keys(keys).expect("a definition"));
    let days = (15i8..21).prop_map(|day| {
        PartitionsDefinition::time_window(daily(&format!("2026-11-{day}T00:00"))).expect("a definition")
    });
    let datasets = Just(PartitionsDefinition::Dynamic { name: "datasets".into() });
    let single = prop_oneof![statics, days, datasets].boxed();
    let pair = (single.clone(), single.clone());
    let multi = pair.prop_map(|(a, b)| PartitionsDefinition::multi([("a", a), ("b", b)]).expect("a definition"));
    prop_oneof![single, multi]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_follow_one_another_and_each_has_its_own_key((spec, now) in specs()) {
        let partitions = windows(spec.clone());
        let keys = partitions.keys(now);
        prop_assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a key is there twice: {:?}", keys);
        prop_assert_eq!(partitions.count(now), keys.len() as u64);
        let mut previous = None;
        for key in &keys {
            let window = partitions.window_of(key).expect("a window");
            prop_assert!(window.start < window.end);
            prop_assert_eq!(previous.unwrap_or(window.start), window.start, "a gap or overlap before {}", key);
            prop_assert_eq!(partitions.key_at(window.start), Some(key.clone()));
            prop_assert_eq!(partitions.key_at(window.end - 1.nanosecond()), Some(key.clone()));
            prop_assert!(partitions.contains(key, now));
            previous = Some(window.end);
        }
        prop_assert_eq!(partitions.first_key(now), keys.first().cloned());
        prop_assert_eq!(partitions.last_key(now), keys.last().cloned());
        if let (Some(end), 0) = (previous, spec.end_offset) {
            prop_assert!(end <= now, "a window that is not over");
            prop_assert!(partitions.schedule().next_after(end).is_some_and(|next| next > now), "one is left out");
        }
        if let (Some(first), Some(span)) = (keys.first(), partitions.span(now)) {
            let earlier = partitions.key_at(span.start - 1.nanosecond()).expect("a key");
            prop_assert!(!partitions.contains(&earlier, now), "{} is before {}", earlier, first);
        }
    }

    #[test]
    fn a_range_is_the_keys_between((spec, now) in specs(), ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>())) {
        let definition = PartitionsDefinition::time_window(spec).expect("a definition");
        let dynamic = dynamic();
        let cx = PartitionContext { now, dynamic: &dynamic };
        let keys = definition.keys(cx);
        prop_assume!(!keys.is_empty());
        let (a, b) = (ends.0.index(keys.len()), ends.1.index(keys.len()));
        let range = definition.range(&keys[a], &keys[b], cx);
        if a <= b {
            prop_assert_eq!(range.expect("keys"), &keys[a..=b]);
        } else {
            prop_assert!(range.is_err());
        }
    }

    #[test]
    fn pages_put_together_are_all_keys(definition in any_definition(), limit in 1usize..5, descending in any::<bool>()) {
        let dynamic = dynamic();
        let cx = cx(&dynamic);
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let KeyPage { keys, cursor: next } = definition.page(cursor.as_deref(), limit, descending, cx).expect("a page");
            prop_assert!(keys.len() == limit || next.is_none());
            all.extend(keys);
            cursor = next;
            if cursor.is_none() { break; }
        }
        if descending { all.reverse(); }
        prop_assert_eq!(&all, &definition.keys(cx));
        prop_assert_eq!(all.len() as u64, definition.count(cx));
        prop_assert!(all.iter().all(|key| definition.contains(key, cx)));
        prop_assert_eq!(all.first().cloned(), definition.first_key(cx));
        prop_assert_eq!(all.last().cloned(), definition.last_key(cx));
    }

    #[test]
    fn a_set_that_is_kept_as_ranges_comes_back_whole((spec, now) in specs(), pattern in prop::collection::vec(any::<bool>(), 1..20)) {
        let definition = PartitionsDefinition::time_window(spec).expect("a definition");
        let dynamic = dynamic();
        let cx = PartitionContext { now, dynamic: &dynamic };
        let chosen = definition.keys(cx).into_iter().zip(pattern.iter().cycle()).filter(|(_, take)| **take);
        let mut subset = PartitionSubset::of(chosen.map(|(key, _)| key));
        subset.insert(Some("gone".into()));
        let ranges = PartitionRanges::of(&subset, Some(&definition), cx);
        let json = serde_json::to_string(&ranges).expect("JSON");
        let ranges = serde_json::from_str::<PartitionRanges>(&json).expect("ranges");
        prop_assert_eq!(ranges.subset(Some(&definition)), subset);
    }

    #[test]
    fn what_is_no_key_has_no_window((spec, _) in specs(), text in "[0-9+:-]{0,20}") {
        let partitions = windows(spec);
        if let Some(window) = partitions.window_of(&text) {
            prop_assert_eq!(partitions.key_at(window.start), Some(text));
        }
    }
}
