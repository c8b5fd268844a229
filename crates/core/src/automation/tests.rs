use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::date;
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::{AutomationCondition, AutomationState, AutomationView, Evaluation, evaluate};
use crate::mapping::PartitionMapping;
use crate::partitions::{Cadence, DynamicKeys, PartitionSubset, PartitionsDefinition, TimeWindowSpec};

/// The last materialisation of a partition.
#[derive(Debug, Clone, PartialEq)]
struct Materialized {
    event: i64,
    data: u32,
    before: Option<u32>,
    targets: BTreeSet<String>,
}

type Cell = (String, Option<String>);

/// A small world that tests change between ticks.
#[derive(Default)]
struct World {
    partitions: BTreeMap<String, PartitionsDefinition>,
    dynamic: BTreeMap<String, Vec<String>>,
    deps: BTreeMap<String, Vec<String>>,
    mappings: BTreeMap<(String, String), PartitionMapping>,
    conditions: BTreeMap<String, AutomationCondition>,
    versions: BTreeMap<String, String>,
    materialized: BTreeMap<Cell, Materialized>,
    in_progress: BTreeSet<Cell>,
    failed: BTreeSet<Cell>,
    requested: BTreeMap<String, PartitionSubset>,
    apart: BTreeSet<String>,
    /// Checks by asset: key, whether it blocks, and whether it passed.
    checks: BTreeMap<String, Vec<(String, bool, Option<bool>)>>,
    event: i64,
    states: BTreeMap<String, AutomationState>,
    now: Timestamp,
}

fn of<'a>(asset: &str, cells: impl Iterator<Item = &'a Cell>) -> PartitionSubset {
    cells.filter(|(known, _)| known == asset).map(|(_, key)| key.clone()).collect()
}

impl AutomationView for World {
    fn partitions(&self, asset: &str) -> Option<&PartitionsDefinition> {
        self.partitions.get(asset)
    }
    fn dynamic(&self) -> &dyn DynamicKeys {
        &self.dynamic
    }
    fn dependencies(&self, asset: &str) -> Vec<String> {
        self.deps.get(asset).cloned().unwrap_or_default()
    }
    fn mapping(&self, asset: &str, dependency: &str) -> Option<PartitionMapping> {
        self.mappings.get(&(asset.to_owned(), dependency.to_owned())).cloned()
    }
    fn downstream_conditions(&self, asset: &str) -> Vec<(String, AutomationCondition)> {
        let downstream = self.deps.iter().filter(|(_, deps)| deps.iter().any(|dep| dep == asset));
        downstream.filter_map(|(name, _)| Some((name.clone(), self.conditions.get(name)?.clone()))).collect()
    }
    fn executable_together(&self, _: &str, dependency: &str) -> bool {
        !self.apart.contains(dependency)
    }
    fn code_version(&self, asset: &str) -> Option<String> {
        self.versions.get(asset).cloned()
    }
    fn newest_event(&self) -> i64 {
        self.event
    }
    fn materialized(&self, asset: &str) -> PartitionSubset {
        of(asset, self.materialized.keys())
    }
    fn in_progress(&self, asset: &str) -> PartitionSubset {
        of(asset, self.in_progress.iter())
    }
    fn failed(&self, asset: &str) -> PartitionSubset {
        of(asset, self.failed.iter())
    }
    fn updated_since(&self, asset: &str, event: i64, _: Timestamp) -> PartitionSubset {
        of(asset, self.materialized.iter().filter(|(_, last)| last.event > event).map(|(cell, _)| cell))
    }
    fn data_version_changed_since(&self, asset: &str, event: i64, _: Timestamp) -> PartitionSubset {
        let changed = |last: &Materialized| last.event > event && last.before != Some(last.data);
        of(asset, self.materialized.iter().filter(|(_, last)| changed(last)).map(|(cell, _)| cell))
    }
    fn executed_with(&self, asset: &str, target: &str) -> PartitionSubset {
        of(asset, self.materialized.iter().filter(|(_, last)| last.targets.contains(target)).map(|(cell, _)| cell))
    }
    fn checks(&self, asset: &str) -> Vec<(String, bool)> {
        self.checks.get(asset).into_iter().flatten().map(|(key, blocking, _)| (key.clone(), *blocking)).collect()
    }
    fn check_result(&self, check: &str, passed: bool) -> PartitionSubset {
        let checks = self.checks.values().flatten().filter(|(key, _, result)| key == check && *result == Some(passed));
        checks.map(|_| None).collect()
    }
    fn requested_last_tick(&self, asset: &str) -> PartitionSubset {
        self.states.get(asset).map(|state| state.requested.clone()).unwrap_or_default()
    }
    fn requested_this_tick(&self, asset: &str) -> PartitionSubset {
        self.requested.get(asset).cloned().unwrap_or_default()
    }
}

impl World {
    /// `down` needs `up`; neither has partitions, `down` has the condition.
    fn pair(condition: AutomationCondition) -> Self {
        let mut world = Self { now: "2026-11-21T00:00:10Z".parse().expect("a time"), ..Self::default() };
        world.deps.insert("down".into(), vec!["up".into()]);
        world.conditions.insert("down".into(), condition);
        world
    }

    fn materialize(&mut self, asset: &str, key: Option<&str>) {
        self.materialize_with(asset, key, &[asset], 0);
    }

    fn materialize_with(&mut self, asset: &str, key: Option<&str>, targets: &[&str], data: u32) {
        self.event += 1;
        let cell = (asset.to_owned(), key.map(str::to_owned));
        let before = self.materialized.get(&cell).map(|last| last.data);
        let targets = targets.iter().map(|&target| target.to_owned()).collect();
        self.materialized.insert(cell, Materialized { event: self.event, data, before, targets });
    }

    /// Evaluates the conditions of `assets` in this order, as one tick, half a minute after the last.
    fn tick(&mut self, assets: &[&str]) -> Vec<Evaluation> {
        self.now += 30.seconds();
        self.requested.clear();
        let mut evaluations = Vec::new();
        let mut states = self.states.clone();
        for &asset in assets {
            let previous = self.states.get(asset).cloned().unwrap_or_default();
            let evaluation = evaluate(&self.conditions[asset], asset, self, &previous, self.now).expect("mappings fit");
            self.requested.insert(asset.to_owned(), evaluation.true_subset.clone());
            states.insert(asset.to_owned(), evaluation.state.clone());
            evaluations.push(evaluation);
        }
        self.states = states;
        evaluations
    }

    /// Ticks `down` alone; what it asks for.
    fn down(&mut self) -> Vec<String> {
        self.tick(&["down"])[0].true_subset.iter().map(|key| key.unwrap_or("-").to_owned()).collect()
    }
}

const NOTHING: [&str; 0] = [];

fn daily(start: (i16, i8, i8)) -> PartitionsDefinition {
    let spec = TimeWindowSpec::new(Cadence::Daily, date(start.0, start.1, start.2).at(0, 0, 0, 0));
    PartitionsDefinition::time_window(spec).expect("a definition")
}

#[test]
fn eager_follows_an_update_of_a_dependency_once() {
    let mut world = World::pair(AutomationCondition::eager());
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING, "what happened before the condition was set does not count");
    world.materialize("up", None);
    assert_eq!(world.down(), ["-"]);
    assert_eq!(world.down(), NOTHING, "it was asked for");
    world.materialize("down", None);
    assert_eq!(world.down(), NOTHING);
    world.materialize("up", None);
    assert_eq!(world.down(), ["-"]);
}

#[test]
fn eager_waits_while_a_dependency_is_missing_or_something_is_in_progress_and_does_not_forget() {
    let mut world = World::pair(AutomationCondition::eager());
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.down();
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING, "`other` is missing");
    world.in_progress.insert(("other".into(), None));
    world.materialize("other", None);
    assert_eq!(world.down(), NOTHING, "`other` is in progress");
    world.in_progress = BTreeSet::from([("down".into(), None)]);
    assert_eq!(world.down(), NOTHING, "it is itself in progress");
    world.in_progress.clear();
    assert_eq!(world.down(), ["-"]);
}

#[test]
fn eager_goes_into_the_run_of_a_dependency_that_is_asked_for_in_the_same_tick() {
    let mut world = World::pair(AutomationCondition::eager());
    world.conditions.insert("up".into(), AutomationCondition::eager());
    world.deps.insert("up".into(), vec!["source".into()]);
    world.tick(&["up", "down"]);
    world.materialize("source", None);
    let both = world.tick(&["up", "down"]);
    assert!(both.iter().all(|evaluation| !evaluation.true_subset.is_empty()));
    // Both came out of one run, so the update of `up` asks for nothing more.
    world.materialize_with("up", None, &["up", "down"], 0);
    world.materialize_with("down", None, &["up", "down"], 0);
    let after = world.tick(&["up", "down"]);
    assert!(after.iter().all(|evaluation| evaluation.true_subset.is_empty()));
}

#[test]
fn a_dependency_that_cannot_go_into_the_same_run_is_waited_for() {
    let mut world = World::pair(AutomationCondition::eager());
    world.conditions.insert("up".into(), AutomationCondition::eager());
    world.deps.insert("up".into(), vec!["source".into()]);
    world.apart.insert("up".into());
    world.tick(&["up", "down"]);
    world.materialize("source", None);
    let first = world.tick(&["up", "down"]);
    assert_eq!(first.iter().map(|evaluation| evaluation.true_subset.len()).collect::<Vec<_>>(), [1, 0]);
    world.materialize("up", None);
    let second = world.tick(&["up", "down"]);
    assert_eq!(second.iter().map(|evaluation| evaluation.true_subset.len()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn eager_and_on_missing_take_up_keys_that_were_added_later() {
    for condition in [AutomationCondition::eager(), AutomationCondition::on_missing()] {
        let mut world = World::pair(condition);
        world.partitions.insert("down".into(), PartitionsDefinition::Dynamic { name: "datasets".into() });
        world.dynamic.insert("datasets".into(), vec!["old".into()]);
        world.materialize("up", None);
        assert_eq!(world.down(), NOTHING, "`old` was there before");
        world.dynamic.insert("datasets".into(), vec!["old".into(), "new".into()]);
        assert_eq!(world.down(), ["new"]);
        assert_eq!(world.down(), NOTHING);
        world.failed.insert(("down".into(), Some("new".into())));
        assert_eq!(world.down(), NOTHING, "a failure is not tried for ever");
    }
}

#[test]
fn on_missing_waits_for_its_dependencies() {
    let mut world = World::pair(AutomationCondition::on_missing());
    world.partitions.insert("down".into(), PartitionsDefinition::Dynamic { name: "datasets".into() });
    world.down();
    world.dynamic.insert("datasets".into(), vec!["new".into()]);
    assert_eq!(world.down(), NOTHING);
    world.materialize("up", None);
    assert_eq!(world.down(), ["new"]);
}

#[test]
fn on_cron_waits_after_the_tick_until_all_dependencies_are_updated() {
    let mut world = World::pair(AutomationCondition::on_cron("0 9 * * *", "Europe/Zurich").expect("a condition"));
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.now = "2026-11-21T07:00:00Z".parse().expect("a time");
    assert_eq!(world.down(), NOTHING);
    world.materialize("up", None);
    world.materialize("other", None);
    assert_eq!(world.down(), NOTHING, "before nine");
    world.now = "2026-11-21T08:00:00Z".parse().expect("a time");
    assert_eq!(world.down(), NOTHING, "updates before nine do not count");
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING);
    world.materialize("other", None);
    assert_eq!(world.down(), ["-"]);
    world.materialize("up", None);
    world.materialize("other", None);
    assert_eq!(world.down(), NOTHING, "once a day");
    world.now = "2026-11-22T08:00:00Z".parse().expect("a time");
    world.down();
    world.materialize("up", None);
    world.materialize("other", None);
    assert_eq!(world.down(), ["-"], "the next day again");
}

#[test]
fn on_cron_without_dependencies_runs_at_the_tick() {
    let mut world = World::pair(AutomationCondition::on_cron("@hourly", "UTC").expect("a condition"));
    world.deps.clear();
    assert_eq!(world.down(), NOTHING);
    world.now += 1.hour();
    assert_eq!(world.down(), ["-"]);
    assert_eq!(world.down(), NOTHING);
}

#[test]
fn a_tick_of_the_clock_counts_for_one_evaluation_even_at_its_very_moment() {
    let mut world = World::pair(AutomationCondition::cron_tick_passed("0 * * * *", "UTC").expect("a condition"));
    world.now = "2026-11-21T00:59:00Z".parse().expect("a time");
    let passed: Vec<_> = (0..4).map(|_| world.down().len()).collect();
    assert_eq!(passed, [0, 1, 0, 0], "the second evaluation is at 01:00:00");
}

#[test]
fn only_the_newest_window_is_taken_or_those_within_the_lookback() {
    let mut world = World::pair(AutomationCondition::in_latest_time_window(None));
    world.partitions.insert("down".into(), daily((2026, 11, 1)));
    assert_eq!(world.down(), ["2026-11-20"]);
    let within = |hours: u64| AutomationCondition::in_latest_time_window(Some(Duration::from_secs(hours * 3600)));
    world.conditions.insert("down".into(), within(48));
    assert_eq!(world.down(), ["2026-11-19", "2026-11-20"]);
    world.conditions.insert("down".into(), within(49));
    assert_eq!(world.down().len(), 3);
    let kinds = PartitionsDefinition::with_keys(["a", "b"]).expect("a definition");
    let both = PartitionsDefinition::multi([("kind", kinds), ("date", daily((2026, 11, 1)))]).expect("a definition");
    world.partitions.insert("down".into(), both);
    world.conditions.insert("down".into(), AutomationCondition::in_latest_time_window(None));
    assert_eq!(world.down(), ["2026-11-20|a", "2026-11-20|b"]);
    world.partitions.insert("down".into(), daily((2026, 12, 1)));
    assert_eq!(world.down(), NOTHING);
}

#[test]
fn any_and_all_dependencies_see_the_partitions_that_are_needed() {
    let mut world = World::pair(AutomationCondition::any_deps_match(AutomationCondition::Missing));
    world.partitions.insert("down".into(), daily((2026, 11, 18)));
    let hours = TimeWindowSpec::new(Cadence::Hourly, date(2026, 11, 18).at(0, 0, 0, 0));
    world.partitions.insert("up".into(), PartitionsDefinition::time_window(hours).expect("a definition"));
    for hour in 0..24 {
        world.materialize("up", Some(&format!("2026-11-19-{hour:02}:00")));
    }
    world.materialize("up", Some("2026-11-20-05:00"));
    assert_eq!(world.down(), ["2026-11-18", "2026-11-20"]);
    let materialized = AutomationCondition::Missing.not();
    world.conditions.insert("down".into(), AutomationCondition::all_deps_match(materialized));
    assert_eq!(world.down(), ["2026-11-19", "2026-11-20"], "some partition of each dependency is enough");
}

#[test]
fn dependencies_can_be_chosen() {
    let ignoring = |json: &str| serde_json::from_str::<AutomationCondition>(json).expect("a condition");
    let mut world =
        World::pair(ignoring(r#"{"kind": "any_deps_match", "condition": {"kind": "missing"}, "ignore": ["other"]}"#));
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING);
    world.conditions.insert(
        "down".into(),
        ignoring(r#"{"kind": "any_deps_match", "condition": {"kind": "missing"}, "allow": ["other"]}"#),
    );
    assert_eq!(world.down(), ["-"]);
}

#[test]
fn a_ready_made_condition_can_be_changed() {
    let missing = AutomationCondition::any_deps_missing().not();
    let mut world = World::pair(AutomationCondition::eager().without(&missing));
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.down();
    world.materialize("up", None);
    assert_eq!(world.down(), ["-"], "though `other` is missing");
    let others = BTreeSet::from(["other".to_owned()]);
    let mut world = World::pair(AutomationCondition::eager().ignore(&others));
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.down();
    world.materialize("up", None);
    assert_eq!(world.down(), ["-"], "`other` is not looked at");
    let mut world = World::pair(AutomationCondition::eager().allow(&others));
    world.deps.insert("down".into(), vec!["up".into(), "other".into()]);
    world.down();
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING, "only `other` is looked at");
    let latest = AutomationCondition::in_latest_time_window(None);
    let changed = AutomationCondition::on_missing().replace(&latest, &AutomationCondition::InProgress);
    assert!(matches!(changed, AutomationCondition::Labeled { condition, .. }
        if matches!(&*condition, AutomationCondition::And { operands } if operands[0] == AutomationCondition::InProgress)));
}

#[test]
fn changes_of_code_and_data_are_seen_in_one_tick() {
    let mut world = World::pair(AutomationCondition::CodeVersionChanged);
    world.versions.insert("down".into(), "1".into());
    assert_eq!(world.down(), NOTHING);
    world.versions.insert("down".into(), "2".into());
    assert_eq!((world.down().len(), world.down().len()), (1, 0));
    let mut world = World::pair(AutomationCondition::any_deps_match(AutomationCondition::DataVersionChanged));
    world.materialize_with("up", None, &["up"], 1);
    assert_eq!(world.down(), NOTHING);
    world.materialize_with("up", None, &["up"], 1);
    assert_eq!(world.down(), NOTHING, "the same data again");
    world.materialize_with("up", None, &["up"], 2);
    assert_eq!((world.down().len(), world.down().len()), (1, 0));
}

#[test]
fn checks_are_looked_at_and_only_blocking_ones_hold_back() {
    let mut world = World::pair(AutomationCondition::all_deps_blocking_checks_passed());
    let check = |name: &str, blocking, passed| (format!("up:{name}"), blocking, passed);
    assert_eq!(world.down(), ["-"], "there are none");
    world.checks.insert("up".into(), vec![check("size", true, Some(true)), check("taste", false, Some(false))]);
    assert_eq!(world.down(), ["-"]);
    world.checks.insert("up".into(), vec![check("size", true, Some(true)), check("shape", true, None)]);
    assert_eq!(world.down(), NOTHING, "one was not evaluated yet");
    let failed = AutomationCondition::any_checks_match(AutomationCondition::CheckFailed, false);
    world.conditions.insert("down".into(), AutomationCondition::any_deps_match(failed));
    assert_eq!(world.down(), NOTHING);
    world.checks.insert("up".into(), vec![check("taste", false, Some(false))]);
    assert_eq!(world.down(), ["-"]);
    // A check has no partitions here, so it speaks for all of its asset's.
    let kinds = PartitionsDefinition::with_keys(["a", "b"]).expect("a definition");
    world.partitions.extend([("up".to_owned(), kinds.clone()), ("down".to_owned(), kinds)]);
    assert_eq!(world.down(), ["a", "b"]);
}

#[test]
fn any_downstream_is_true_where_a_downstream_condition_is() {
    let mut world = World::pair(AutomationCondition::cron_tick_passed("@hourly", "UTC").expect("a condition"));
    world.conditions.insert("up".into(), AutomationCondition::any_downstream());
    assert!(world.tick(&["up"])[0].true_subset.is_empty());
    world.now += 1.hour();
    let evaluation = world.tick(&["up"]).remove(0);
    assert_eq!(evaluation.true_subset, PartitionSubset::unpartitioned());
    assert_eq!(evaluation.result.children[0].label.as_deref(), Some("down"));
    // What is downstream may say the same; that does not go round in a circle.
    world.conditions.insert("down".into(), AutomationCondition::any_downstream());
    assert!(world.tick(&["up"])[0].true_subset.is_empty());
}

#[test]
fn a_new_condition_begins_anew() {
    let mut world = World::pair(AutomationCondition::eager());
    world.down();
    world.in_progress.insert(("down".into(), None));
    world.materialize("up", None);
    assert_eq!(world.down(), NOTHING);
    world.conditions.insert("down".into(), AutomationCondition::eager().labeled("changed"));
    world.in_progress.clear();
    assert_eq!(world.down(), NOTHING, "what the old one waited for is not the new one's");
}

#[test]
fn people_see_each_part_with_its_label_and_what_it_was_true_of() {
    let mut world = World::pair(AutomationCondition::eager());
    world.materialize("up", None);
    world.down();
    world.materialize("up", None);
    let evaluation = world.tick(&["down"]).remove(0);
    let result = &evaluation.result;
    assert_eq!((result.label.as_deref(), result.name.as_str(), result.candidates), (Some("eager"), "AND", 1));
    let names: Vec<_> =
        result.children.iter().map(|child| child.label.clone().unwrap_or_else(|| child.name.clone())).collect();
    assert_eq!(names, ["in_latest_time_window", "SINCE", "NOT", "NOT", "NOT"]);
    let handled = &result.children[1].children[1];
    assert_eq!(handled.label.as_deref(), Some("handled"));
    assert!(handled.true_subset.is_empty());
    let missing = &result.children[2].children[0];
    assert_eq!((missing.label.as_deref(), missing.children[0].asset.as_str()), (Some("any_deps_missing"), "up"));
    let text =
        AutomationCondition::any_deps_match(AutomationCondition::Missing.and(AutomationCondition::InProgress.not()));
    assert_eq!(text.to_string(), "any_deps_match((missing and not in_progress))");
}

#[test]
fn conditions_and_their_memory_are_the_same_after_a_journey_as_json() {
    let conditions = [
        AutomationCondition::eager(),
        AutomationCondition::on_cron("0 9 * * *", "Europe/Zurich").expect("a condition"),
        AutomationCondition::on_missing(),
        AutomationCondition::any_downstream().or(AutomationCondition::ExecutionFailed),
    ];
    for condition in conditions {
        let json = serde_json::to_string(&condition).expect("JSON");
        assert_eq!(serde_json::from_str::<AutomationCondition>(&json).expect("a condition"), condition);
        let mut world = World::pair(condition);
        world.materialize("up", None);
        let evaluation = world.tick(&["down"]).remove(0);
        let json = serde_json::to_string(&evaluation).expect("JSON");
        assert_eq!(serde_json::from_str::<Evaluation>(&json).expect("an evaluation"), evaluation);
    }
    assert_eq!(serde_json::from_str::<AutomationState>("{}").expect("a state"), AutomationState::default());
}

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// What is true of `x` in each tick: three leaves over four keys.
fn ticks() -> impl Strategy<Value = Vec<[BTreeSet<&'static str>; 3]>> {
    let set = || prop::collection::btree_set(prop::sample::select(KEYS.to_vec()), 0..=4);
    prop::collection::vec([set(), set(), set()], 1..6)
}

fn conditions() -> impl Strategy<Value = AutomationCondition> {
    let leaf = prop::sample::select(vec![
        AutomationCondition::Missing,
        AutomationCondition::InProgress,
        AutomationCondition::ExecutionFailed,
    ]);
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
            inner.clone().prop_map(AutomationCondition::not),
            inner.clone().prop_map(AutomationCondition::newly_true),
            (inner.clone(), inner).prop_map(|(a, b)| a.since(b)),
        ]
    })
}

/// What a condition is true of in each tick.
fn run(condition: &AutomationCondition, ticks: &[[BTreeSet<&'static str>; 3]]) -> Vec<PartitionSubset> {
    let mut world = World::pair(condition.clone());
    world.partitions.insert("down".into(), PartitionsDefinition::with_keys(KEYS).expect("a definition"));
    let cells = |set: &BTreeSet<&str>| set.iter().map(|key| ("down".to_owned(), Some((*key).to_owned()))).collect();
    let evaluate = |[materialized, in_progress, failed]: &[BTreeSet<&str>; 3]| {
        world.materialized.clear();
        for &key in materialized {
            world.materialize("down", Some(key));
        }
        (world.in_progress, world.failed) = (cells(in_progress), cells(failed));
        world.tick(&["down"]).remove(0).true_subset
    };
    ticks.iter().map(evaluate).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn conditions_obey_the_laws_of_logic(a in conditions(), b in conditions(), ticks in ticks()) {
        let same = |left: AutomationCondition, right: AutomationCondition| {
            prop_assert_eq!(run(&left, &ticks), run(&right, &ticks), "{} and {}", left, right);
            Ok(())
        };
        same(a.clone().and(b.clone()), b.clone().and(a.clone()))?;
        same(a.clone().or(b.clone()), b.clone().or(a.clone()))?;
        same(a.clone().and(a.clone()), a.clone())?;
        same(a.clone().not().not(), a.clone())?;
        same(a.clone().and(b.clone()).not(), a.clone().not().or(b.clone().not()))?;
        same(a.clone().or(b.clone()).not(), a.clone().not().and(b.not()))?;
        same(a.clone().labeled("x"), a)?;
    }

    #[test]
    fn memory_is_what_a_walk_through_the_ticks_finds(a in conditions(), b in conditions(), ticks in ticks()) {
        let (trigger, reset) = (run(&a, &ticks), run(&b, &ticks));
        let mut since = PartitionSubset::empty();
        let model: Vec<_> = trigger.iter().zip(&reset).map(|(trigger, reset)| {
            since = since.union(trigger).difference(reset);
            since.clone()
        }).collect();
        prop_assert_eq!(run(&a.clone().since(b), &ticks), model);
        let mut before = PartitionSubset::empty();
        let model: Vec<_> = trigger.iter().map(|now| {
            let newly = now.difference(&before);
            before = now.clone();
            newly
        }).collect();
        prop_assert_eq!(run(&a.newly_true(), &ticks), model);
    }
}
