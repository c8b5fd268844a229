//! How the target of a backfill is divided into groups, and which units of each there are.

use std::collections::{BTreeMap, HashSet};

use catchment_model::{Code, Problem};

use super::Group;
use crate::backfill::{BackfillPolicy, NewBackfill};
use crate::definitions::{AssetSpec, LocationSnapshot};
use crate::mapping::{PartitionMapping, Sides};
use crate::partitions::{PartitionContext, PartitionSubset, PartitionsDefinition};

pub(super) fn definition<'a>(snapshot: &'a LocationSnapshot, asset: &AssetSpec) -> Option<&'a PartitionsDefinition> {
    asset.partitions.as_deref().and_then(|name| snapshot.partitions(name))
}

pub(super) fn sides<'a>(snapshot: &'a LocationSnapshot, asset: &AssetSpec, dep: &str) -> Sides<'a> {
    let upstream = snapshot.asset(dep).and_then(|dep| definition(snapshot, dep));
    Sides { upstream, downstream: definition(snapshot, asset) }
}

pub(super) fn mapping(asset: &AssetSpec, dep: &str, sides: Sides<'_>) -> PartitionMapping {
    asset.mappings.get(dep).cloned().unwrap_or_else(|| PartitionMapping::default_of(sides))
}

pub(super) fn job_group(
    request: &NewBackfill,
    snapshot: &LocationSnapshot,
    cx: PartitionContext<'_>,
    job: &str,
    partitions: &[String],
) -> Result<Group, Problem> {
    let missing = |what: String, remedy: &str| Problem::new(Code::NotFound, what).remedy(remedy);
    let Some(spec) = snapshot.job(job) else {
        return Err(missing(format!("the location has no job `{job}`"), "name one that `catchment job list` shows"));
    };
    let Some(definition) = spec.partitions.as_deref().and_then(|name| snapshot.partitions(name)) else {
        return Err(Problem::new(Code::InvalidInput, format!("the job `{job}` has no partitions"))
            .remedy("launch it: `catchment job launch`"));
    };
    let there: HashSet<String> = definition.keys(cx).into_iter().collect();
    if let Some(unknown) = partitions.iter().find(|key| !there.contains(*key)) {
        return Err(missing(format!("the job `{job}` has no partition `{unknown}`"), "name keys that are there"));
    }
    let wanted = partitions.iter().map(String::as_str).collect();
    Ok(Group::partitioned(Vec::new(), definition, &wanted, cx, request.policy.unwrap_or_default()))
}

pub(super) fn asset_groups(
    request: &NewBackfill,
    snapshot: &LocationSnapshot,
    cx: PartitionContext<'_>,
    assets: &[String],
    partitions: &[String],
) -> Result<Vec<Group>, Problem> {
    let mut order = Vec::new();
    for key in assets {
        visit(snapshot, assets, key, &mut order)?;
    }
    let mut targets: BTreeMap<&str, PartitionSubset> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for asset in order {
        let target = target(snapshot, cx, asset, partitions, &targets)?;
        let policy = request.policy.or(asset.backfill_policy).unwrap_or_default();
        match joins(snapshot, asset, &groups, &target, policy) {
            Some(place) => groups[place].assets.push(asset.key.clone()),
            None => {
                let made = vec![asset.key.clone()];
                groups.push(match definition(snapshot, asset) {
                    Some(definition) => Group::partitioned(made, definition, &target.keys().collect(), cx, policy),
                    None => Group::whole(made, policy),
                });
            }
        }
        targets.insert(&asset.key, target);
    }
    Ok(groups)
}

/// Upstream first.
fn visit<'a>(
    snapshot: &'a LocationSnapshot,
    assets: &[String],
    key: &str,
    order: &mut Vec<&'a AssetSpec>,
) -> Result<(), Problem> {
    if order.iter().any(|asset| asset.key == key) {
        return Ok(());
    }
    let Some(asset) = snapshot.asset(key) else {
        return Err(Problem::new(Code::NotFound, format!("the location has no asset `{key}`"))
            .remedy("name one that `catchment asset list` shows"));
    };
    for dep in asset.deps.iter().filter(|dep| *dep != key && assets.contains(dep)) {
        visit(snapshot, assets, dep, order)?;
    }
    order.push(asset);
    Ok(())
}

/// The partitions of an asset that are to be made: those of the named keys that it has; where it has none of them,
/// those that follow from what is made upstream.
fn target(
    snapshot: &LocationSnapshot,
    cx: PartitionContext<'_>,
    asset: &AssetSpec,
    partitions: &[String],
    targets: &BTreeMap<&str, PartitionSubset>,
) -> Result<PartitionSubset, Problem> {
    let Some(own) = definition(snapshot, asset) else { return Ok(PartitionSubset::unpartitioned()) };
    let there: HashSet<String> = own.keys(cx).into_iter().collect();
    let named = PartitionSubset::of(partitions.iter().filter(|key| there.contains(*key)).cloned());
    if !named.is_empty() {
        return Ok(named);
    }
    let mut derived = PartitionSubset::empty();
    for dep in &asset.deps {
        if let Some(upstream) = targets.get(dep.as_str()) {
            let sides = sides(snapshot, asset, dep);
            derived = derived.union(&mapping(asset, dep, sides).downstream_keys(upstream, sides, cx)?);
        }
    }
    Ok(derived)
}

/// The group whose runs can make this asset too: all that it needs in the backfill is made there, partition by
/// partition.
fn joins(
    snapshot: &LocationSnapshot,
    asset: &AssetSpec,
    groups: &[Group],
    target: &PartitionSubset,
    policy: BackfillPolicy,
) -> Option<usize> {
    let mut joined = None;
    for dep in &asset.deps {
        if *dep == asset.key {
            return None;
        }
        let Some(place) = groups.iter().position(|group| group.assets.contains(dep)) else { continue };
        let sides = sides(snapshot, asset, dep);
        let same = match (sides.upstream, sides.downstream) {
            (Some(up), Some(down)) => up == down && mapping(asset, dep, sides) == PartitionMapping::Identity,
            (None, None) => true,
            _ => false,
        };
        if !same || joined.is_some_and(|joined| joined != place) {
            return None;
        }
        joined = Some(place);
    }
    let group = &groups[joined?];
    let keys = group.keys.iter().filter_map(Option::as_deref);
    let same_keys = keys.clone().count() == target.keys().count() && keys.clone().all(|key| target.contains(Some(key)));
    (group.policy == policy && same_keys).then_some(joined?)
}
