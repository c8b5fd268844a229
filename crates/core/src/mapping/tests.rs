use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::date;
use proptest::prelude::*;

use super::{DimensionMapping, PartitionMapping, Sides};
use crate::partitions::{Cadence, PartitionContext, PartitionSubset, PartitionsDefinition, TimeWindowSpec};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

fn no_keys() -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([("datasets".to_owned(), vec!["roads".to_owned(), "lakes".to_owned()])])
}

fn time(cadence: Cadence, start: (i8, i8)) -> PartitionsDefinition {
    let spec = TimeWindowSpec::new(cadence, date(2024, start.0, start.1).at(0, 0, 0, 0));
    PartitionsDefinition::time_window(TimeWindowSpec { timezone: "Europe/Zurich".into(), ..spec })
        .expect("a definition")
}

fn keys(keys: &[&str]) -> PartitionsDefinition {
    PartitionsDefinition::with_keys(keys.iter().copied()).expect("a definition")
}

fn multi(dimensions: [(&str, PartitionsDefinition); 2]) -> PartitionsDefinition {
    PartitionsDefinition::multi(dimensions).expect("a definition")
}

struct Case {
    mapping: PartitionMapping,
    up: Option<PartitionsDefinition>,
    down: Option<PartitionsDefinition>,
}

impl Case {
    fn default_of(up: Option<PartitionsDefinition>, down: Option<PartitionsDefinition>) -> Self {
        let mapping = PartitionMapping::default_of(Sides { upstream: up.as_ref(), downstream: down.as_ref() });
        Self { mapping, up, down }
    }

    fn sides(&self) -> Sides<'_> {
        Sides { upstream: self.up.as_ref(), downstream: self.down.as_ref() }
    }

    /// The upstream keys of downstream ones, and those that are missing.
    fn up(&self, downstream: &[&str], now: &str) -> (Vec<String>, Vec<String>) {
        let dynamic = no_keys();
        let subset = match self.down {
            Some(_) => PartitionSubset::of(downstream.iter().copied()),
            None => PartitionSubset::unpartitioned(),
        };
        let cx = PartitionContext { now: at(now), dynamic: &dynamic };
        let found = self.mapping.upstream_keys(&subset, self.sides(), cx).expect("it fits");
        (found.subset.iter().map(|k| k.unwrap_or("-").to_owned()).collect(), found.missing.into_iter().collect())
    }

    fn down(&self, upstream: &[&str], now: &str) -> Vec<String> {
        let dynamic = no_keys();
        let subset = match self.up {
            Some(_) => PartitionSubset::of(upstream.iter().copied()),
            None => PartitionSubset::unpartitioned(),
        };
        let cx = PartitionContext { now: at(now), dynamic: &dynamic };
        let found = self.mapping.downstream_keys(&subset, self.sides(), cx).expect("it fits");
        found.iter().map(|key| key.unwrap_or("-").to_owned()).collect()
    }
}

const NOW: &str = "2024-11-05T00:00:00Z";

#[test]
fn a_day_needs_its_hours_and_an_hour_its_day() {
    let case = Case::default_of(Some(time(Cadence::Hourly, (10, 1))), Some(time(Cadence::Daily, (10, 1))));
    assert_eq!(case.mapping, PartitionMapping::OVERLAP);
    let (hours, missing) = case.up(&["2024-10-27"], NOW);
    assert_eq!((hours.len(), missing.len()), (25, 0), "the autumn's day has 25 hours");
    assert!(hours.contains(&"2024-10-27-02:00+0100".to_owned()));
    assert_eq!(case.down(&["2024-10-27-02:00+0100", "2024-10-28-00:00"], NOW), ["2024-10-27", "2024-10-28"]);
    let case = Case::default_of(Some(time(Cadence::Daily, (10, 1))), Some(time(Cadence::Hourly, (10, 1))));
    assert_eq!(case.up(&["2024-10-27-23:00"], NOW).0, ["2024-10-27"]);
    assert_eq!(case.down(&["2024-10-27"], NOW).len(), 25);
}

#[test]
fn a_week_across_a_months_end_needs_both_months() {
    let case = Case::default_of(Some(time(Cadence::Monthly, (1, 1))), Some(time(Cadence::Weekly, (1, 1))));
    assert_eq!(case.up(&["2024-09-29"], NOW).0, ["2024-09-01", "2024-10-01"]);
    assert_eq!(case.down(&["2024-09-01"], "2024-10-15T00:00:00Z").first().map(String::as_str), Some("2024-09-01"));
}

#[test]
fn offsets_reach_into_windows_before_and_after() {
    let day = || Some(time(Cadence::Daily, (10, 1)));
    let offset = |start_offset, end_offset| Case {
        mapping: PartitionMapping::TimeWindow {
            start_offset,
            end_offset,
            allow_nonexistent_upstream_partitions: false,
        },
        up: day(),
        down: day(),
    };
    assert_eq!(offset(-1, 0).up(&["2024-10-05"], NOW).0, ["2024-10-04", "2024-10-05"]);
    assert_eq!(offset(-1, -1).up(&["2024-10-05"], NOW).0, ["2024-10-04"]);
    assert_eq!(offset(0, 1).up(&["2024-10-05"], NOW).0, ["2024-10-05", "2024-10-06"]);
    assert_eq!(offset(-1, 0).down(&["2024-10-05"], NOW), ["2024-10-05", "2024-10-06"]);
    assert_eq!(offset(1, 0).up(&["2024-10-05"], NOW).0, [""; 0], "a window turned inside out holds nothing");
    assert_eq!(offset(1, 0).down(&["2024-10-05"], NOW), [""; 0]);
}

#[test]
fn needed_partitions_that_are_not_there_are_named_unless_that_is_allowed() {
    let mut case = Case::default_of(Some(time(Cadence::Daily, (10, 10))), Some(time(Cadence::Weekly, (10, 1))));
    assert_eq!(case.up(&["2024-10-06"], NOW).1, ["2024-10-06", "2024-10-07", "2024-10-08", "2024-10-09"]);
    case.mapping =
        PartitionMapping::TimeWindow { start_offset: 0, end_offset: 0, allow_nonexistent_upstream_partitions: true };
    assert_eq!(
        case.up(&["2024-10-06"], NOW),
        (vec!["2024-10-10".into(), "2024-10-11".into(), "2024-10-12".into()], vec![])
    );
    let other = Case { mapping: PartitionMapping::Identity, up: Some(keys(&["a"])), down: Some(keys(&["a", "b"])) };
    assert_eq!(other.up(&["a", "b"], NOW), (vec!["a".into()], vec!["b".into()]));
}

#[test]
fn without_partitions_on_a_side_everything_goes_with_everything() {
    let to_one = Case::default_of(Some(keys(&["a", "b"])), None);
    assert_eq!(to_one.mapping, PartitionMapping::All);
    assert_eq!(to_one.up(&[], NOW).0, ["a", "b"]);
    assert_eq!(to_one.down(&["a"], NOW), ["-"]);
    let from_one = Case::default_of(None, Some(keys(&["a", "b"])));
    assert_eq!(from_one.up(&["a"], NOW).0, ["-"]);
    assert_eq!(from_one.down(&[], NOW), ["a", "b"]);
    let neither = Case::default_of(None, None);
    assert_eq!(neither.up(&[], NOW).0, ["-"]);
    assert_eq!(neither.down(&[], NOW), ["-"]);
}

#[test]
fn last_and_specific_go_with_all_that_is_downstream() {
    let last = Case {
        mapping: PartitionMapping::Last,
        up: Some(time(Cadence::Daily, (10, 1))),
        down: Some(keys(&["a", "b"])),
    };
    assert_eq!(last.up(&["a"], NOW).0, ["2024-11-04"]);
    assert_eq!(last.down(&["2024-11-04"], NOW), ["a", "b"]);
    assert_eq!(last.down(&["2024-11-03"], NOW), [""; 0]);
    let mapping = PartitionMapping::Specific { keys: BTreeSet::from(["b".into(), "z".into()]) };
    let specific = Case { mapping, up: Some(keys(&["a", "b"])), down: None };
    assert_eq!(specific.up(&[], NOW), (vec!["b".into()], vec!["z".into()]));
    assert_eq!((specific.down(&["b"], NOW), specific.down(&["a"], NOW)), (vec!["-".into()], vec![]));
}

#[test]
fn a_dimension_follows_from_the_asset_that_has_only_it() {
    let days = || time(Cadence::Daily, (11, 3));
    let both = || multi([("date", days()), ("kind", keys(&["raster", "vector"]))]);
    let down = Case::default_of(Some(both()), Some(days()));
    assert_eq!(down.mapping, PartitionMapping::MultiToSingle { dimension: None });
    assert_eq!(down.up(&["2024-11-03"], NOW).0, ["2024-11-03|raster", "2024-11-03|vector"]);
    assert_eq!(down.down(&["2024-11-03|vector"], NOW), ["2024-11-03"]);
    let up = Case::default_of(Some(keys(&["raster", "vector"])), Some(both()));
    assert_eq!(up.up(&["2024-11-03|vector"], NOW).0, ["vector"]);
    assert_eq!(up.down(&["vector"], NOW), ["2024-11-03|vector", "2024-11-04|vector"]);
    // A time dimension also follows from windows of another length.
    let hours = Case::default_of(Some(time(Cadence::Hourly, (11, 3))), Some(both()));
    assert_eq!(hours.up(&["2024-11-03|vector"], NOW).0.len(), 24);
    let none = Case::default_of(Some(keys(&["x"])), Some(both()));
    assert_eq!(none.mapping, PartitionMapping::Identity);
}

#[test]
fn dimensions_of_the_same_name_go_together_and_others_go_with_all() {
    let kinds = || keys(&["raster", "vector"]);
    let up = multi([("date", time(Cadence::Hourly, (11, 3))), ("kind", kinds())]);
    let down = multi([("date", time(Cadence::Daily, (11, 3))), ("region", keys(&["north", "south"]))]);
    let case = Case::default_of(Some(up), Some(down));
    assert_eq!(case.up(&["2024-11-03|north"], NOW).0.len(), 24 * 2);
    assert_eq!(case.down(&["2024-11-03-05:00|raster"], NOW), ["2024-11-03|north", "2024-11-03|south"]);
}

#[test]
fn a_mapping_that_does_not_fit_says_so() {
    let dynamic = no_keys();
    let cx = PartitionContext { now: at(NOW), dynamic: &dynamic };
    let (up, down) = (keys(&["a"]), keys(&["b"]));
    let sides = Sides { upstream: Some(&up), downstream: Some(&down) };
    let dimension = |name: &str| PartitionMapping::MultiToSingle { dimension: Some(name.into()) };
    for mapping in [PartitionMapping::OVERLAP, dimension("x"), PartitionMapping::Multi { dimensions: BTreeMap::new() }]
    {
        let problem = mapping.upstream_keys(&PartitionSubset::of(["b"]), sides, cx).expect_err("it does not fit");
        assert!(problem.to_string().contains("does not fit"), "{problem}");
        assert!(mapping.downstream_keys(&PartitionSubset::of(["a"]), sides, cx).is_err());
    }
}

#[test]
fn a_mapping_is_the_same_after_a_journey_as_json() {
    let dimensions = BTreeMap::from([(
        "date".to_owned(),
        DimensionMapping { dimension: "day".into(), mapping: Box::new(PartitionMapping::OVERLAP) },
    )]);
    let mapping = PartitionMapping::Multi { dimensions };
    let json = serde_json::to_string(&mapping).expect("JSON");
    assert_eq!(serde_json::from_str::<PartitionMapping>(&json).expect("a mapping"), mapping);
    let short = serde_json::from_str::<PartitionMapping>(r#"{"kind":"time_window","start_offset":-1}"#);
    assert!(matches!(short, Ok(PartitionMapping::TimeWindow { start_offset: -1, end_offset: 0, .. })));
}

fn time_definitions() -> impl Strategy<Value = PartitionsDefinition> {
    let cadence = prop::sample::select(vec![
        Cadence::Hourly,
        Cadence::Daily,
        Cadence::Weekly,
        Cadence::Cron { expression: "30 */6 * * *".into() },
        Cadence::Cron { expression: "0 2 * * *".into() },
    ]);
    (cadence, 20i8..30).prop_map(|(cadence, day)| time(cadence, (10, day)))
}

fn static_definitions() -> impl Strategy<Value = PartitionsDefinition> {
    prop::collection::btree_set("[a-d]", 1..4)
        .prop_map(|set| PartitionsDefinition::with_keys(set).expect("a definition"))
}

/// A mapping with sides that it fits.
fn cases() -> impl Strategy<Value = (PartitionMapping, PartitionsDefinition, PartitionsDefinition)> {
    let offsets = (-2i32..3, -2i32..3, any::<bool>());
    let window = (offsets, time_definitions(), time_definitions()).prop_map(|((start, end, allow), up, down)| {
        let mapping = PartitionMapping::TimeWindow {
            start_offset: start,
            end_offset: end,
            allow_nonexistent_upstream_partitions: allow,
        };
        (mapping, up, down)
    });
    let single = || prop_oneof![time_definitions(), static_definitions()];
    let plain = (
        prop::sample::select(vec![PartitionMapping::Identity, PartitionMapping::All, PartitionMapping::Last]),
        single(),
        single(),
    );
    let set = || prop::collection::btree_set("[a-e]", 0..3);
    let specific = (set(), static_definitions(), single())
        .prop_map(|(keys, up, down)| (PartitionMapping::Specific { keys }, up, down));
    let listed = (prop::collection::btree_map("[a-e]", set(), 0..4), static_definitions(), static_definitions())
        .prop_map(|(map, up, down)| (PartitionMapping::Static { map }, up, down));
    let pair =
        || (static_definitions(), time_definitions()).prop_map(|(kind, date)| multi([("date", date), ("kind", kind)]));
    let by_default = prop_oneof![
        (pair(), time_definitions()),
        (time_definitions(), pair()),
        (pair(), pair()),
        (time_definitions(), time_definitions()),
    ]
    .prop_map(|(up, down)| {
        (PartitionMapping::default_of(Sides { upstream: Some(&up), downstream: Some(&down) }), up, down)
    });
    prop_oneof![window, plain, specific, listed, by_default]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn both_directions_are_the_same_relation((mapping, up, down) in cases(), some in any::<prop::sample::Index>()) {
        let dynamic = no_keys();
        let cx = PartitionContext { now: at("2024-10-31T12:00:00Z"), dynamic: &dynamic };
        let sides = Sides { upstream: Some(&up), downstream: Some(&down) };
        let (ups, downs) = (up.keys(cx), down.keys(cx));
        prop_assume!(!ups.is_empty() && !downs.is_empty());
        // One key against all keys of the other side, each way.
        let u = &ups[some.index(ups.len())];
        let forward = mapping.downstream_keys(&PartitionSubset::of([u]), sides, cx).expect("it fits");
        for d in &downs {
            let needed = mapping.upstream_keys(&PartitionSubset::of([d]), sides, cx).expect("it fits");
            prop_assert_eq!(needed.subset.contains(Some(u)), forward.contains(Some(d)), "{} and {}", u, d);
            prop_assert!(needed.missing.iter().all(|key| !up.contains(key, cx)));
        }
        prop_assert!(forward.keys().all(|key| down.contains(key, cx)));
    }

    #[test]
    fn overlap_is_what_a_comparison_of_all_windows_finds(up in time_definitions(), down in time_definitions()) {
        let dynamic = no_keys();
        let cx = PartitionContext { now: at("2024-10-29T12:00:00Z"), dynamic: &dynamic };
        let sides = Sides { upstream: Some(&up), downstream: Some(&down) };
        let ups = up.keys(cx);
        for d in down.keys(cx) {
            let window = down.window_of(&d).expect("a window");
            let overlaps = |key: &&String| {
                let other = up.window_of(key).expect("a window");
                other.start < window.end && window.start < other.end
            };
            let model = PartitionSubset::of(ups.iter().filter(overlaps).cloned());
            let found = PartitionMapping::OVERLAP.upstream_keys(&PartitionSubset::of([&d]), sides, cx).expect("it fits");
            prop_assert_eq!(found.subset, model);
        }
    }

    #[test]
    fn the_mapping_of_a_set_is_the_union_of_its_keys((mapping, up, down) in cases(), split in any::<prop::sample::Index>()) {
        let dynamic = no_keys();
        let cx = PartitionContext { now: at("2024-10-30T12:00:00Z"), dynamic: &dynamic };
        let sides = Sides { upstream: Some(&up), downstream: Some(&down) };
        let downs = down.keys(cx);
        let (left, right) = downs.split_at(split.index(downs.len() + 1));
        let needed = |keys: &[String]| mapping.upstream_keys(&PartitionSubset::of(keys), sides, cx).expect("it fits").subset;
        prop_assert_eq!(needed(&downs), needed(left).union(&needed(right)));
    }
}
