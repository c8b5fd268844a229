//! The schedule against single cases, and random graphs with random ends against what must hold of every run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use catchment_core::queue::{TagLimit, TagValue};
use catchment_settings::clock;
use proptest::prelude::*;

use super::{Edge, Id, Node, Runs, Schedule, Share};
use crate::executor::limits::Limits;

fn limits(max_concurrent: usize) -> Limits {
    Limits { max_concurrent, tags: Vec::new() }
}

fn node(after: &[usize]) -> Node {
    Node { after: after.iter().map(|node| Edge { node: *node, output: None }).collect(), ..Node::default() }
}

fn mapped(over: usize, after: &[usize]) -> Node {
    Node { mapped_over: Some(over), ..node(after) }
}

/// All that can start now, by node and mapping key.
fn start(schedule: &mut Schedule, now: Instant) -> Vec<Id> {
    std::iter::from_fn(|| schedule.next(now)).collect()
}

fn names(schedule: &Schedule, ids: &[Id]) -> Vec<String> {
    let name = |id: &Id| match schedule.mapping_key(*id) {
        Some(key) => format!("{}[{key}]", schedule.node(*id)),
        None => schedule.node(*id).to_string(),
    };
    ids.iter().map(name).collect()
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// A dynamic node 0, 1 and 2 mapped over it one after the other, 3 that collects, 4 beside them that 2 needs too.
fn fan() -> Vec<Node> {
    vec![node(&[]), mapped(0, &[0]), mapped(0, &[1, 4]), node(&[2]), node(&[])]
}

#[test]
fn the_highest_priority_starts_first_and_equals_start_in_order() {
    let nodes = [0, 5, 0, 5].map(|priority| Node { priority, ..node(&[]) });
    let mut schedule = Schedule::new(nodes.into(), limits(3));
    let started = start(&mut schedule, clock::monotonic());
    assert_eq!(names(&schedule, &started), ["1", "3", "0"]);
}

#[test]
fn each_branch_of_a_fan_goes_its_own_way_and_is_collected_at_the_end() {
    let now = clock::monotonic();
    let mut nodes = fan();
    nodes.swap(3, 4);
    nodes[2].after[1].node = 3;
    nodes[4].after[0].node = 2;
    let mut schedule = Schedule::new(nodes, limits(10));
    let roots = start(&mut schedule, now);
    assert_eq!(names(&schedule, &roots), ["0", "3"]);
    assert!(schedule.succeeded(roots[1], Vec::new(), &[]).is_empty());
    assert!(schedule.succeeded(roots[0], Vec::new(), &keys(&["b", "a"])).is_empty());
    let loads = start(&mut schedule, now);
    assert_eq!(names(&schedule, &loads), ["1[b]", "1[a]"], "in the order in which the keys were given");
    schedule.succeeded(loads[1], Vec::new(), &[]);
    let store = start(&mut schedule, now);
    assert_eq!(names(&schedule, &store), ["2[a]"], "b is not waited for");
    schedule.succeeded(store[0], Vec::new(), &[]);
    assert!(schedule.next(now).is_none(), "what collects waits for all");
    schedule.succeeded(loads[0], Vec::new(), &[]);
    let store = start(&mut schedule, now);
    schedule.succeeded(store[0], Vec::new(), &[]);
    let collect = start(&mut schedule, now);
    assert_eq!(names(&schedule, &collect), ["4"]);
    schedule.succeeded(collect[0], Vec::new(), &[]);
    assert!(schedule.is_over());
}

#[test]
fn a_branch_that_fails_takes_only_its_own_downstream_and_what_collects() {
    let now = clock::monotonic();
    let mut schedule = Schedule::new(vec![node(&[]), mapped(0, &[0]), mapped(0, &[1]), node(&[2])], limits(10));
    let root = start(&mut schedule, now);
    schedule.succeeded(root[0], Vec::new(), &keys(&["a", "b"]));
    let loads = start(&mut schedule, now);
    let skipped: Vec<_> = schedule.failed(loads[0]).into_iter().map(|skipped| skipped.id).collect();
    assert_eq!(names(&schedule, &skipped), ["2[a]", "3"]);
    schedule.succeeded(loads[1], Vec::new(), &[]);
    let store = start(&mut schedule, now);
    assert_eq!(names(&schedule, &store), ["2[b]"]);
}

#[test]
fn an_empty_fan_is_collected_at_once() {
    let now = clock::monotonic();
    let mut schedule = Schedule::new(vec![node(&[]), mapped(0, &[0]), mapped(0, &[1]), node(&[2])], limits(10));
    let root = start(&mut schedule, now);
    assert!(schedule.succeeded(root[0], Vec::new(), &[]).is_empty());
    let collect = start(&mut schedule, now);
    assert_eq!(names(&schedule, &collect), ["3"]);
}

#[test]
fn a_fan_whose_source_fails_is_skipped_as_a_whole() {
    let now = clock::monotonic();
    let mut schedule = Schedule::new(vec![node(&[]), mapped(0, &[0]), mapped(0, &[1]), node(&[2])], limits(10));
    let root = start(&mut schedule, now);
    let skipped: Vec<_> = schedule.failed(root[0]).into_iter().map(|skipped| skipped.id).collect();
    let mut skipped = names(&schedule, &skipped);
    skipped.sort();
    assert_eq!(skipped, ["1", "2", "3"]);
    assert!(schedule.is_over());
}

#[test]
fn an_output_that_is_left_out_skips_what_needs_it_and_nothing_else() {
    let now = clock::monotonic();
    let needs = |output| Node { after: vec![Edge { node: 0, output: Some(output) }], ..Node::default() };
    let mut schedule = Schedule::new(vec![node(&[]), needs(0), needs(1)], limits(10));
    let root = start(&mut schedule, now);
    let skipped = schedule.succeeded(root[0], vec![0], &[]);
    assert_eq!(skipped.len(), 1);
    assert_eq!((schedule.node(skipped[0].id), skipped[0].failed), (1, false));
    let rest = start(&mut schedule, now);
    assert_eq!(names(&schedule, &rest), ["2"]);
}

#[test]
fn a_re_execution_runs_one_branch_and_takes_the_others_as_given() {
    let now = clock::monotonic();
    let share = |runs| if runs { Share::Runs } else { Share::Given(Vec::new()) };
    let branches =
        |runs: &[(&str, bool)]| Runs::Keys(runs.iter().map(|(key, runs)| ((*key).into(), share(*runs))).collect());
    let nodes = vec![
        Node { runs: Runs::Given(Vec::new()), ..node(&[]) },
        Node { runs: branches(&[("a", false), ("b", true)]), ..mapped(0, &[0]) },
        Node { runs: branches(&[("a", false), ("b", true)]), ..mapped(0, &[1]) },
        node(&[2]),
    ];
    let mut schedule = Schedule::new(nodes, limits(10));
    let mut order = Vec::new();
    while let Some(id) = schedule.next(now) {
        order.extend(names(&schedule, &[id]));
        schedule.succeeded(id, Vec::new(), &[]);
    }
    assert_eq!(order, ["1[b]", "2[b]", "3"]);
    assert!(schedule.is_over());
}

#[test]
fn what_needs_an_output_that_an_earlier_run_left_out_is_skipped_at_first() {
    let needs = |node, output| Node { after: vec![Edge { node, output: Some(output) }], ..Node::default() };
    let given = Node { runs: Runs::Given(vec![0]), ..node(&[]) };
    let mut schedule = Schedule::new(vec![given, needs(0, 0), needs(1, 0), needs(0, 1), node(&[])], limits(10));
    let skipped: Vec<_> = schedule.skipped_at_first().iter().map(|skipped| (skipped.id, skipped.failed)).collect();
    let ids: Vec<_> = skipped.iter().map(|(id, _)| *id).collect();
    assert_eq!(names(&schedule, &ids), ["1", "2"]);
    assert!(skipped.iter().all(|(_, failed)| !failed));
    let rest = start(&mut schedule, clock::monotonic());
    assert_eq!(names(&schedule, &rest), ["3", "4"]);
}

#[test]
fn a_step_that_waits_to_be_tried_again_holds_no_place() {
    let now = clock::monotonic();
    let mut schedule = Schedule::new(vec![node(&[]), node(&[])], limits(1));
    let first = schedule.next(now).unwrap();
    let at = now + Duration::from_secs(5);
    schedule.again_at(first, at);
    let second = schedule.next(now).unwrap();
    assert_ne!(first, second);
    schedule.succeeded(second, Vec::new(), &[]);
    assert_eq!((schedule.next(now), schedule.wake_at(), schedule.is_over()), (None, Some(at), false));
    assert_eq!(schedule.next(at), Some(first));
}

#[test]
fn a_limit_by_tag_holds_for_each_value_of_its_own() {
    let tagged = |value: &str| Node { tags: [("db".to_owned(), value.to_owned())].into(), ..node(&[]) };
    let tags = vec![TagLimit { key: "db".into(), value: TagValue::PerUniqueValue, limit: 1 }];
    let nodes = vec![tagged("x"), tagged("x"), tagged("y"), node(&[])];
    let mut schedule = Schedule::new(nodes, Limits { max_concurrent: 10, tags });
    let started = start(&mut schedule, clock::monotonic());
    assert_eq!(names(&schedule, &started), ["0", "2", "3"]);
}

/// How a random step ends: after so many retries, well or not, with so many mapping keys where it is dynamic.
#[derive(Debug, Clone)]
struct Fate {
    needs: Vec<usize>,
    /// Mapped over the nearest dynamic step before it, where there is one.
    is_mapped: bool,
    is_dynamic: bool,
    retries: u8,
    succeeds: bool,
    mapping_keys: u8,
    tag: Option<bool>,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        any::<bool>(),
        prop::bool::weighted(0.2),
        0u8..3,
        prop::bool::weighted(0.8),
        0u8..4,
        prop::option::of(any::<bool>()),
    );
    prop::collection::vec(fate, 1..25).prop_map(|fates| {
        let fate = |(at, (needs, is_mapped, is_dynamic, retries, succeeds, mapping_keys, tag)): (usize, _)| {
            let needs: Vec<prop::sample::Index> = needs;
            let needs = if at == 0 { Vec::new() } else { needs.iter().map(|need| need.index(at)).collect() };
            Fate { needs, is_mapped, is_dynamic, retries, succeeds, mapping_keys, tag }
        };
        fates.into_iter().enumerate().map(fate).collect()
    })
}

/// The nodes of a random graph. A dynamic step is mapped over no other, and a mapped one needs its dynamic one.
fn graph(fates: &[Fate]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for (at, fate) in fates.iter().enumerate() {
        let over = (0..at).rev().find(|up| fates[*up].is_dynamic).filter(|_| fate.is_mapped && !fate.is_dynamic);
        let mut needs: BTreeSet<usize> = fate.needs.iter().copied().collect();
        needs.extend(over);
        let tags: BTreeMap<_, _> = fate.tag.map(|tag| ("t".to_owned(), tag.to_string())).into_iter().collect();
        nodes.push(Node { mapped_over: over, tags, ..node(&needs.into_iter().collect::<Vec<_>>()) });
    }
    nodes
}

proptest! {
    #[test]
    fn every_run_respects_order_limits_and_failures(
        fates in fates(),
        concurrency in 1usize..5,
        choices in prop::collection::vec(any::<prop::sample::Index>(), 400),
    ) {
        let tags = vec![TagLimit { key: "t".into(), value: TagValue::PerUniqueValue, limit: 2 }];
        let nodes = graph(&fates);
        let mut schedule = Schedule::new(nodes.clone(), Limits { max_concurrent: concurrency, tags });
        let mut now = clock::monotonic();
        let mut choices = choices.into_iter().cycle();
        let mut running: Vec<Id> = Vec::new();
        let mut attempts: BTreeMap<Id, u8> = BTreeMap::new();
        let (mut done, mut failed, mut skipped) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        loop {
            while let Some(id) = schedule.next(now) {
                prop_assert!(!done.contains(&id) && !failed.contains(&id) && !skipped.contains(&id));
                prop_assert!(!running.contains(&id), "a step runs at most once at a time");
                running.push(id);
                *attempts.entry(id).or_default() += 1;
                // Whatever it needs is done: the same branch of what is mapped over the same, all of anything else.
                let here = schedule.node(id);
                for edge in &nodes[here].after {
                    let same = nodes[edge.node].mapped_over.is_some()
                        && nodes[edge.node].mapped_over == nodes[here].mapped_over;
                    for up in schedule.instances(edge.node) {
                        if !same || schedule.mapping_key(up) == schedule.mapping_key(id) {
                            prop_assert!(done.contains(&up), "{here} runs before {}", edge.node);
                        }
                    }
                }
            }
            prop_assert!(running.len() <= concurrency);
            for value in [false, true] {
                let with = running.iter().filter(|id| fates[schedule.node(**id)].tag == Some(value)).count();
                prop_assert!(with <= 2, "{with} steps with the same tag");
            }
            if running.is_empty() {
                match schedule.wake_at() {
                    Some(at) => now = at,
                    None => break,
                }
                continue;
            }
            let id = running.swap_remove(choices.next().unwrap().index(running.len()));
            let fate = &fates[schedule.node(id)];
            if attempts[&id] <= fate.retries {
                schedule.again_at(id, now + Duration::from_secs(1));
                continue;
            }
            let gone = if fate.succeeds {
                done.insert(id);
                let keys: Vec<_> = (0..fate.mapping_keys).map(|key| key.to_string()).collect();
                schedule.succeeded(id, Vec::new(), if fate.is_dynamic { &keys } else { &[] })
            } else {
                failed.insert(id);
                schedule.failed(id)
            };
            for gone in gone {
                prop_assert!(gone.failed && (failed.contains(&gone.because_of) || skipped.contains(&gone.because_of)));
                prop_assert!(skipped.insert(gone.id), "a step is skipped once");
            }
        }
        prop_assert!(schedule.is_over());
        // Everything has an end, and what was skipped has a failure before it.
        for (node, fate) in fates.iter().enumerate().take(nodes.len()) {
            for id in schedule.instances(node) {
                let ends = [done.contains(&id), failed.contains(&id), skipped.contains(&id)];
                prop_assert_eq!(ends.iter().filter(|end| **end).count(), 1, "node {} of {:?}", node, nodes);
                if !skipped.contains(&id) {
                    prop_assert_eq!(attempts[&id], fate.retries + 1);
                }
            }
        }
        if failed.is_empty() {
            prop_assert!(skipped.is_empty());
        }
    }
}
