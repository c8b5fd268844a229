//! Properties of the queue, against what a person would count by hand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Decision, Granularity, Limits, RunPools, TagLimit, TagValue, Waits, next, priority};
use crate::run::{Run, RunId, RunStatus, Selection};
use crate::tags;

fn run(status: RunStatus, tags: BTreeMap<String, String>) -> Run {
    Run {
        run_id: RunId::random(),
        job_name: "j".into(),
        location: "l".into(),
        status,
        run_config: serde_json::Value::Null,
        tags,
        partition_key: None,
        selection: Selection::default(),
        parent_run_id: None,
        root_run_id: None,
        created_at: Timestamp::UNIX_EPOCH,
        launched_at: None,
        started_at: None,
        ended_at: None,
        lease_epoch: 0,
        lease_until: None,
        process: None,
        problem: None,
    }
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let status = prop::sample::select(RunStatus::ALL.to_vec());
    let priority = prop::option::of(prop::sample::select(vec!["-1", "0", "1", "7", "high"]));
    let team = prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    let pools = prop::sample::select(vec!["", "p", "q", "p,q", "p,-", "-"]);
    let one = (status, priority, team, pools).prop_map(|(status, priority, team, pools)| {
        let mut of = BTreeMap::from([("pools".to_owned(), pools.to_owned())]);
        of.extend(priority.map(|p| (tags::PRIORITY.to_owned(), p.to_owned())));
        of.extend(team.map(|t| ("team".to_owned(), t.to_owned())));
        run(status, of)
    });
    prop::collection::vec(one, 0..25)
}

/// A run's pools stand in its tag, `-` for a step without one.
fn pools(run: &Run) -> RunPools {
    let text = run.tags.get("pools").map_or("", String::as_str);
    let first: Vec<_> = text.split(',').filter(|p| !p.is_empty()).map(|p| (p != "-").then(|| p.to_owned())).collect();
    let all = first.iter().flatten().cloned().collect();
    RunPools { first, all }
}

fn limits() -> impl Strategy<Value = Limits> {
    let value = prop_oneof![
        Just(TagValue::Any),
        Just(TagValue::PerUniqueValue),
        Just(TagValue::Is("a".into())),
        Just(TagValue::Is("b".into())),
    ];
    let tag = (value, 0usize..4).prop_map(|(value, limit)| TagLimit { key: "team".into(), value, limit });
    let granularity = prop::sample::select(vec![Granularity::Step, Granularity::Run]);
    let pool = prop::option::of(0usize..3);
    (prop::option::of(0usize..12), prop::collection::vec(tag, 0..3), pool.clone(), pool, granularity).prop_map(
        |(max_concurrent_runs, tags, p, q, granularity)| Limits {
            max_concurrent_runs,
            tags,
            pools: [("p", p), ("q", q)].into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect(),
            granularity,
        },
    )
}

/// The runs that would be active if the chosen were launched.
fn active_after<'a>(runs: &'a [Run], decision: &Decision) -> Vec<&'a Run> {
    runs.iter().filter(|r| r.status.is_active() || decision.launch.contains(&r.run_id)).collect()
}

/// Whether a limit of tags or of runs is exceeded by these runs, counted afresh.
fn exceeded(active: &[&Run], limits: &Limits) -> bool {
    let too_many = |limit: &TagLimit| {
        let mut by_value: BTreeMap<&str, usize> = BTreeMap::new();
        for value in active.iter().filter_map(|r| r.tags.get(&limit.key)) {
            *by_value.entry(value).or_default() += 1;
        }
        match &limit.value {
            TagValue::Any => by_value.values().sum::<usize>() > limit.limit,
            TagValue::PerUniqueValue => by_value.values().any(|n| *n > limit.limit),
            TagValue::Is(value) => by_value.get(value.as_str()).is_some_and(|n| *n > limit.limit),
        }
    };
    let pool = |(name, slots): (&String, &usize)| {
        limits.granularity == Granularity::Run && active.iter().filter(|r| pools(r).all.contains(name)).count() > *slots
    };
    limits.max_concurrent_runs.is_some_and(|max| active.len() > max)
        || limits.tags.iter().any(too_many)
        || limits.pools.iter().any(pool)
}

proptest! {
    #[test]
    fn a_launch_never_exceeds_a_limit(runs in runs(), limits in limits()) {
        let decision = next(&runs, &limits, &pools);
        let before: Vec<_> = runs.iter().filter(|r| r.status.is_active()).collect();
        // Where a limit was lowered below what works already, nothing more of its kind may start.
        if !exceeded(&before, &limits) {
            prop_assert!(!exceeded(&active_after(&runs, &decision), &limits));
        }
    }

    #[test]
    fn whoever_waits_could_not_have_been_launched_too(runs in runs(), limits in limits()) {
        let decision = next(&runs, &limits, &pools);
        for (waiting, reason) in &decision.wait {
            let mut more = decision.clone();
            more.launch.push(*waiting);
            if limits.granularity == Granularity::Run || !matches!(reason, Waits::Pool { .. }) {
                prop_assert!(exceeded(&active_after(&runs, &more), &limits), "{reason:?}");
            }
        }
    }

    #[test]
    fn every_queued_run_is_decided_once(runs in runs(), limits in limits()) {
        let decision = next(&runs, &limits, &pools);
        let mut decided: Vec<_> = decision.launch.iter().chain(decision.wait.iter().map(|(id, _)| id)).collect();
        let mut queued: Vec<_> = runs.iter().filter(|r| r.status == RunStatus::Queued).map(|r| &r.run_id).collect();
        decided.sort();
        queued.sort();
        prop_assert_eq!(decided, queued);
    }

    #[test]
    fn nobody_is_overtaken_but_by_a_higher_priority(runs in runs(), max in 0usize..12) {
        let limits = Limits { max_concurrent_runs: Some(max), ..Limits::default() };
        let decision = next(&runs, &limits, &pools);
        let place = |run: &Run| decision.launch.iter().position(|id| *id == run.run_id).unwrap_or(usize::MAX);
        let queued: Vec<_> = runs.iter().filter(|r| r.status == RunStatus::Queued).collect();
        for (older, first) in queued.iter().enumerate() {
            for second in &queued[older + 1..] {
                if priority(first) >= priority(second) {
                    prop_assert!(place(first) <= place(second));
                } else {
                    prop_assert!(place(second) <= place(first));
                }
            }
        }
    }
}

#[test]
fn a_run_whose_first_steps_all_wait_for_full_pools_stays_in_the_queue() {
    let of = |pools: &str| run(RunStatus::Queued, BTreeMap::from([("pools".to_owned(), pools.to_owned())]));
    let runs = [of("p,q"), of("p,-"), of("p")];
    let limits = Limits { pools: BTreeMap::from([("p".into(), 0), ("q".into(), 0)]), ..Limits::default() };
    let decision = next(&runs, &limits, &pools);
    assert_eq!(decision.launch, [runs[1].run_id], "it has a step without a pool");
    let waits = Waits::Pool { pool: "p".into() };
    assert_eq!(decision.wait, [(runs[0].run_id, waits.clone()), (runs[2].run_id, waits)]);
}

#[test]
fn a_blocked_run_is_overtaken_by_one_that_need_not_wait() {
    let tagged = |team: &str, status| run(status, BTreeMap::from([("team".to_owned(), team.to_owned())]));
    let runs = [tagged("a", RunStatus::Started), tagged("a", RunStatus::Queued), tagged("b", RunStatus::Queued)];
    let tags = vec![TagLimit { key: "team".into(), value: TagValue::PerUniqueValue, limit: 1 }];
    let decision = next(&runs, &Limits { tags, ..Limits::default() }, &pools);
    assert_eq!(decision.launch, [runs[2].run_id]);
    let waits = Waits::Tag { key: "team".into(), value: "a".into(), limit: 1 };
    assert_eq!(decision.wait, [(runs[1].run_id, waits)]);
}
