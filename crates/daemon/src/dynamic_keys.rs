//! The keys of dynamic partitions, as core asks for them.

use std::collections::BTreeMap;

use catchment_core::partitions::PartitionsDefinition;
use catchment_instance::{InstanceError, SharedInstance};

/// Reads the keys of all dynamic partitions that these definitions name.
pub(crate) async fn load<'a>(
    instance: &SharedInstance,
    definitions: impl IntoIterator<Item = &'a PartitionsDefinition>,
) -> Result<BTreeMap<String, Vec<String>>, InstanceError> {
    let mut keys = BTreeMap::new();
    let mut open: Vec<_> = definitions.into_iter().collect();
    while let Some(definition) = open.pop() {
        match definition {
            PartitionsDefinition::Dynamic { name } if !keys.contains_key(name) => {
                keys.insert(name.clone(), instance.partitions(name).await?);
            }
            PartitionsDefinition::Multi { dimensions } => open.extend(dimensions.values()),
            PartitionsDefinition::Dynamic { .. }
            | PartitionsDefinition::Static { .. }
            | PartitionsDefinition::TimeWindow(_) => {}
        }
    }
    Ok(keys)
}
