//! From partitions of assets to runs: what has the same partition goes into the same run.

use std::collections::BTreeMap;

use catchment_core::definitions::{ASSET_JOB, LocationSnapshot};
use catchment_core::partitions::PartitionSubset;
use catchment_core::sensor::RunRequest;
use catchment_core::{Selection, tags};

/// The runs of one tick. Assets of one partitions definition, or without one, share the runs of their partitions; a
/// check goes with its asset where that is asked for too.
pub(super) fn grouped(
    snapshot: &LocationSnapshot,
    requested: &[(String, PartitionSubset)],
    tick: i64,
) -> Vec<RunRequest> {
    type Group<'a> = (&'static str, Option<&'a str>, Option<&'a str>);
    let mut groups: BTreeMap<Group<'_>, Selection> = BTreeMap::new();
    let asked_for = |key: &str, partition: Option<&str>| {
        requested.iter().any(|(requested, subset)| requested == key && subset.contains(partition))
    };
    for (key, subset) in requested {
        if let Some(asset) = snapshot.asset(key) {
            for partition in subset.iter() {
                let group = ("assets", asset.partitions.as_deref(), partition);
                groups.entry(group).or_default().assets.push(key.clone());
            }
        } else if let Some(check) = snapshot.checks.iter().find(|check| check.key() == *key) {
            let partitions = snapshot.asset(&check.asset_key).and_then(|asset| asset.partitions.as_deref());
            for partition in subset.iter().filter(|partition| !asked_for(&check.asset_key, *partition)) {
                groups.entry(("checks", partitions, partition)).or_default().checks.push(key.clone());
            }
        }
    }
    groups
        .into_iter()
        .map(|((what, definition, partition), selection)| RunRequest {
            run_key: Some(format!(
                "{tick} {what} {} {}",
                definition.unwrap_or_default(),
                partition.unwrap_or_default()
            )),
            job_name: ASSET_JOB.to_owned(),
            selection,
            tags: [(tags::FROM_AUTOMATION_CONDITION.to_owned(), "true".to_owned())].into(),
            partition_key: partition.map(str::to_owned),
            ..RunRequest::default()
        })
        .collect()
}
