//! Which partitions a run is about, and which of an asset upstream it needs.

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::mapping::{PartitionMapping, Sides};
use catchment_core::partitions::{PartitionContext, PartitionSubset, PartitionsDefinition};
use catchment_core::tags;
use catchment_instance::SharedInstance;
use catchment_model::{Code, Problem};
use catchment_settings::clock;

use super::execution::Execution;
use crate::definitions::Definitions;
use crate::plan::{Plan, PlannedStep};

/// The partitions of a run, by the names of the partitions definitions that its assets have: the run's partition, or
/// those of its range (tags `dagster/asset_partition_range_start` and `…_end`).
///
/// # Errors
/// Where the range does not fit a definition, or the state does not tell the keys of dynamic partitions.
pub(crate) async fn of_run(
    definitions: &Definitions,
    plan: &Plan,
    partition_key: Option<&str>,
    run_tags: &BTreeMap<String, String>,
    instance: Option<&SharedInstance>,
) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let steps = plan.steps.iter().map(|step| &step.definition);
    let checked = steps.clone().flat_map(|step| &step.checks).filter_map(|check| definitions.asset(&check.asset_key));
    let names = steps.flat_map(|step| &step.assets).chain(checked.map(|(_, spec)| spec));
    let names: BTreeSet<&String> = names.filter_map(|asset| asset.partitions.as_ref()).collect();
    let range = (run_tags.get(tags::PARTITION_RANGE_START), run_tags.get(tags::PARTITION_RANGE_END));
    let mut partitions = BTreeMap::new();
    for name in names {
        let keys = match (range, partition_key) {
            ((Some(start), Some(end)), _) => {
                let definition = definitions.partitions_named(name).ok_or_else(|| unknown(name))?;
                let dynamic = dynamic_keys([&definition], instance).await?;
                definition.range(start, end, PartitionContext { now: clock::now(), dynamic: &dynamic })?
            }
            (_, Some(key)) => vec![key.to_owned()],
            (_, None) => Vec::new(),
        };
        partitions.insert(name.clone(), keys);
    }
    Ok(partitions)
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no partitions definition `{name}`"))
        .remedy("`check` lists what is wrong with the definitions")
}

/// The keys of all dynamic partitions among these definitions.
async fn dynamic_keys(
    definitions: impl IntoIterator<Item = &PartitionsDefinition>,
    instance: Option<&SharedInstance>,
) -> Result<BTreeMap<String, Vec<String>>, Problem> {
    let mut names = BTreeSet::new();
    for definition in definitions {
        match definition {
            PartitionsDefinition::Dynamic { name } => drop(names.insert(name.clone())),
            PartitionsDefinition::Multi { dimensions } => {
                names.extend(dimensions.values().filter_map(|dimension| match dimension {
                    PartitionsDefinition::Dynamic { name } => Some(name.clone()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    let mut keys = BTreeMap::new();
    for name in names {
        let known = match instance {
            Some(instance) => instance.partitions(&name).await?,
            None => Vec::new(),
        };
        keys.insert(name, known);
    }
    Ok(keys)
}

impl Execution {
    /// The partitions of an asset upstream that a step needs: their keys, or `None` alone where it has none.
    pub(crate) async fn upstream_partitions(
        &self,
        step: &PlannedStep,
        upstream: &str,
    ) -> Result<Vec<Option<String>>, Problem> {
        let Some((_, up)) = self.definitions.asset(upstream) else { return Ok(vec![None]) };
        let Some(up_name) = &up.partitions else { return Ok(vec![None]) };
        let asset = step.definition.assets.first();
        let checked = step.definition.checks.first().filter(|_| step.definition.is_check);
        let of_checked = checked.and_then(|check| self.definitions.asset(&check.asset_key)).map(|(_, spec)| spec);
        let own = asset.or(of_checked);
        let own_name = own.and_then(|asset| asset.partitions.as_ref());
        if own_name == Some(up_name) && own.is_some_and(|asset| !asset.mappings.contains_key(upstream)) {
            return Ok(own.map_or_else(|| vec![None], |asset| self.partitions_of(&asset.key)));
        }
        let up_definition = self.definitions.partitions_named(up_name).ok_or_else(|| unknown(up_name))?;
        let own_definition = own_name.and_then(|name| self.definitions.partitions_named(name));
        let sides = Sides { upstream: Some(&up_definition), downstream: own_definition.as_ref() };
        let named = own.and_then(|asset| asset.mappings.get(upstream)).cloned();
        let mapping = named.unwrap_or_else(|| PartitionMapping::default_of(sides));
        let own_keys = own_name.and_then(|name| self.partitions.get(name)).cloned().unwrap_or_default();
        let subset = match own_definition {
            Some(_) => PartitionSubset::of(own_keys),
            None => PartitionSubset::unpartitioned(),
        };
        let definitions = [Some(&up_definition), own_definition.as_ref()];
        let dynamic = dynamic_keys(definitions.into_iter().flatten(), self.instance()).await?;
        let context = PartitionContext { now: clock::now(), dynamic: &dynamic };
        let needed = mapping.upstream_keys(&subset, sides, context)?;
        if !needed.missing.is_empty() {
            let keys: Vec<_> = needed.missing.iter().map(|key| format!("`{key}`")).collect();
            return Err(Problem::new(
                Code::NotFound,
                format!("partitions of `{upstream}` that are needed do not exist"),
            )
            .place(format!("step {}", step.definition.key))
            .cause(format!("`{up_name}` has no {}", keys.join(", ")))
            .remedy(
                "add these partitions, correct the partition mapping, or let it allow nonexistent upstream \
                     partitions",
            ));
        }
        Ok(needed.subset.iter().map(|key| key.map(str::to_owned)).collect())
    }
}
