//! Plans that are carried out with random outcomes, against what a person would expect of each unit.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::{Progress, UnitState};
use crate::backfill::{BackfillId, BackfillPolicy, BackfillTarget, NewBackfill};
use crate::definitions::{AssetSpec, LocationSnapshot, PartitionsSpec};
use crate::mapping::PartitionMapping;
use crate::partitions::{PartitionContext, PartitionsDefinition};
use crate::run::RunId;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn no_keys() -> BTreeMap<String, Vec<String>> {
    BTreeMap::new()
}

fn context(dynamic: &BTreeMap<String, Vec<String>>) -> PartitionContext<'_> {
    PartitionContext { now: Timestamp::UNIX_EPOCH, dynamic }
}

fn snapshot(assets: Vec<AssetSpec>) -> LocationSnapshot {
    let definition = PartitionsDefinition::with_keys(KEYS).unwrap();
    LocationSnapshot {
        location: "l".into(),
        assets,
        partitions: vec![PartitionsSpec { name: "letters".into(), definition }],
        ..LocationSnapshot::default()
    }
}

fn asset(key: &str, deps: &[&str], partitioned: bool) -> AssetSpec {
    AssetSpec {
        key: key.into(),
        deps: deps.iter().map(|d| (*d).to_owned()).collect(),
        partitions: partitioned.then(|| "letters".to_owned()),
        ..AssetSpec::default()
    }
}

fn request(assets: &[&str], keys: &[&str], policy: Option<BackfillPolicy>) -> NewBackfill {
    NewBackfill {
        id: BackfillId("b".into()),
        location: "l".into(),
        target: BackfillTarget::Assets {
            assets: assets.iter().map(|a| (*a).to_owned()).collect(),
            partitions: keys.iter().map(|k| (*k).to_owned()).collect(),
        },
        policy,
        run_config: json!({}),
        tags: BTreeMap::new(),
        title: None,
        description: None,
    }
}

/// Plans until nothing new comes, each run ending as `well` says of its assets and keys; answers the runs in order.
fn carry_out(
    progress: &mut Progress,
    snapshot: &LocationSnapshot,
    mut well: impl FnMut(&[String], &[&str]) -> bool,
) -> Vec<(Vec<String>, Vec<String>)> {
    let dynamic = no_keys();
    let mut runs = Vec::new();
    loop {
        let new = progress.plan(usize::MAX, snapshot, context(&dynamic), RunId::random).unwrap();
        if new.is_empty() {
            return runs;
        }
        for chunk in new {
            let assets = progress.groups[chunk.group].assets.clone();
            let keys: Vec<_> = progress.keys(&chunk).into_iter().map(str::to_owned).collect();
            let ended_well = well(&assets, &keys.iter().map(String::as_str).collect::<Vec<_>>());
            progress.ended(chunk.run_id, ended_well);
            runs.push((assets, keys));
        }
    }
}

#[test]
fn assets_with_the_same_partitions_are_made_by_one_run_for_each_key() {
    let snapshot = snapshot(vec![asset("x", &[], true), asset("y", &["x"], true)]);
    let request = request(&["x", "y"], &["c", "a"], None);
    let mut progress = Progress::start(&request, &snapshot, context(&no_keys())).unwrap();
    let runs = carry_out(&mut progress, &snapshot, |_, _| true);
    let both = vec!["x".to_owned(), "y".to_owned()];
    assert_eq!(runs, [(both.clone(), vec!["a".to_owned()]), (both, vec!["c".to_owned()])], "in the definition's order");
    assert!(progress.is_over());
}

#[test]
fn what_needs_a_failed_partition_is_skipped() {
    let mut all = asset("sum", &["x"], false);
    all.mappings.insert("x".into(), PartitionMapping::All);
    let snapshot = snapshot(vec![asset("x", &[], true), all]);
    let request = request(&["x", "sum"], &["a", "b"], None);
    let mut progress = Progress::start(&request, &snapshot, context(&no_keys())).unwrap();
    let runs = carry_out(&mut progress, &snapshot, |_, keys| keys != ["b"]);
    assert_eq!(runs.len(), 2, "the sum was never asked for");
    let counts = progress.counts();
    assert_eq!((counts.done, counts.failed, counts.skipped), (1, 1, 1));
}

#[test]
fn a_single_run_takes_all_keys_that_follow_each_other() {
    let snapshot = snapshot(vec![asset("x", &[], true)]);
    let request = request(&["x"], &["a", "b", "d"], Some(BackfillPolicy::SingleRun));
    let mut progress = Progress::start(&request, &snapshot, context(&no_keys())).unwrap();
    let runs = carry_out(&mut progress, &snapshot, |_, _| true);
    let keys: Vec<_> = runs.into_iter().map(|(_, keys)| keys).collect();
    assert_eq!(keys, [vec!["a", "b"], vec!["d"]], "a range from a to d would hold c, which was not asked for");
}

#[test]
fn keys_that_are_not_there_are_refused() {
    let snapshot = snapshot(vec![asset("x", &[], true)]);
    let problem = Progress::start(&request(&["x"], &["z"], None), &snapshot, context(&no_keys())).unwrap_err();
    assert!(problem.to_string().contains("nothing to fill"), "{problem}");
}

/// A random graph: asset `n` needs some of those before it, by a mapping, and is partitioned or not.
fn graphs() -> impl Strategy<Value = Vec<AssetSpec>> {
    let one = (prop::collection::vec(any::<prop::sample::Index>(), 0..3), any::<bool>(), prop::bool::weighted(0.7));
    prop::collection::vec(one, 1..6).prop_map(|drawn| {
        let mut assets: Vec<AssetSpec> = Vec::new();
        for (place, (deps, all, partitioned)) in drawn.into_iter().enumerate() {
            let deps: Vec<String> =
                deps.into_iter().filter(|_| place > 0).map(|d| format!("x{}", d.index(place))).collect();
            let mut made = asset(&format!("x{place}"), &[], partitioned);
            for dep in deps {
                if !made.deps.contains(&dep) {
                    if all {
                        made.mappings.insert(dep.clone(), PartitionMapping::All);
                    }
                    made.deps.push(dep);
                }
            }
            assets.push(made);
        }
        assets
    })
}

proptest! {
    #[test]
    fn each_unit_is_made_once_and_never_before_what_it_needs(
        assets in graphs(),
        keys in prop::sample::subsequence(KEYS.to_vec(), 1..=4),
        chunk in prop::option::of(1u32..4),
        luck in prop::collection::vec(prop::bool::weighted(0.8), 64),
    ) {
        let snapshot = snapshot(assets.clone());
        let names: Vec<_> = assets.iter().map(|a| a.key.as_str()).collect();
        let policy = chunk.map_or(BackfillPolicy::SingleRun, |n| BackfillPolicy::MultiRun { max_partitions_per_run: n });
        let dynamic = no_keys();
        let mut progress =
            Progress::start(&request(&names, &keys, Some(policy)), &snapshot, context(&dynamic)).unwrap();
        // By asset and key: whether it was made well.
        let mut made: HashMap<(String, Option<String>), bool> = HashMap::new();
        let mut turn = 0;
        loop {
            // Cut off and taken up again: nothing else is kept.
            progress = serde_json::from_value(serde_json::to_value(&progress).unwrap()).unwrap();
            let new = progress.plan(2, &snapshot, context(&dynamic), RunId::random).unwrap();
            let Some(chunk) = new.first().or(progress.chunks.first()).cloned() else { break };
            let group = &progress.groups[chunk.group];
            let units: Vec<Option<String>> = group.keys[chunk.first..=chunk.last].to_vec();
            let well = luck[turn % luck.len()];
            turn += 1;
            for key in &group.assets {
                let spec = snapshot.asset(key).unwrap();
                for dep in spec.deps.iter().filter(|dep| !group.assets.contains(dep)) {
                    let upstream = snapshot.asset(dep).unwrap();
                    let all = spec.mappings.contains_key(dep) || spec.partitions.is_none();
                    for unit in &units {
                        let needed: Vec<Option<String>> = match (&upstream.partitions, all) {
                            (None, _) => vec![None],
                            (Some(_), true) => keys.iter().map(|k| Some((*k).to_owned())).collect(),
                            (Some(_), false) => vec![unit.clone()],
                        };
                        for need in needed {
                            prop_assert_eq!(made.get(&(dep.clone(), need.clone())), Some(&true), "{} {:?}", key, unit);
                        }
                    }
                }
                for unit in &units {
                    prop_assert!(made.insert((key.clone(), unit.clone()), well).is_none(), "made twice");
                }
            }
            progress.ended(chunk.run_id, well);
        }
        prop_assert!(progress.is_over(), "{:?}", progress.counts());
        let counts = progress.counts();
        prop_assert_eq!(counts.done + counts.failed + counts.skipped, counts.total);
        for group in &progress.groups {
            for (unit, state) in group.units() {
                for key in &group.assets {
                    let was = made.get(&(key.clone(), group.keys[unit].clone())).copied();
                    prop_assert_eq!(was, match state {
                        UnitState::Done => Some(true),
                        UnitState::Failed => Some(false),
                        _ => None,
                    });
                }
            }
        }
    }
}
