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
    let mut groups: BTreeMap<(Option<&str>, Option<&str>), Selection> = BTreeMap::new();
    for (key, subset) in requested {
        if let Some(asset) = snapshot.asset(key) {
            for partition in subset.iter() {
                let group = groups.entry((asset.partitions.as_deref(), partition)).or_default();
                group.assets.push(key.clone());
            }
        }
    }
    let mut checks = Selection::default();
    for check in &snapshot.checks {
        let key = check.key();
        if requested.iter().any(|(requested, _)| *requested == key)
            && !requested.iter().any(|(requested, _)| *requested == check.asset_key)
        {
            checks.checks.push(key);
        }
    }
    let of_checks = (!checks.checks.is_empty()).then_some(((None, None), checks, "checks"));
    let of_assets = groups.into_iter().map(|(group, selection)| (group, selection, "assets"));
    of_assets
        .chain(of_checks)
        .map(|((definition, partition), selection, what)| RunRequest {
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
