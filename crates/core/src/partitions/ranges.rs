//! Sets of partitions as they are kept: neighbouring time windows as one range.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{PartitionContext, PartitionSubset, PartitionsDefinition, key};

/// A set of partitions in short: ten years of hours are one entry.
///
/// In JSON a list as that of [`PartitionSubset`], where `first...last` stands for all time windows from one to the
/// other. No key holds `...`, so the two cannot be taken for one another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionRanges(Vec<Option<String>>);

impl PartitionRanges {
    /// The set in short. Only keys of time windows that are there now are put together.
    pub fn of(subset: &PartitionSubset, definition: Option<&PartitionsDefinition>, cx: PartitionContext<'_>) -> Self {
        let Some(PartitionsDefinition::TimeWindow(windows)) = definition else {
            return Self(subset.iter().map(|key| key.map(str::to_owned)).collect());
        };
        let keys = if subset.is_empty() { Vec::new() } else { windows.keys(cx.now) };
        let mut entries = Vec::new();
        let mut found = 0;
        let chosen: HashSet<&str> = subset.keys().collect();
        for run in keys.split(|key| !chosen.contains(key.as_str())) {
            match run {
                [] => {}
                [only] => entries.push(Some(only.clone())),
                [first, .., last] => entries.push(Some(format!("{first}{}{last}", key::RANGE))),
            }
            found += run.len();
        }
        if found < subset.len() {
            let now = PartitionSubset::of(keys);
            entries.extend(subset.difference(&now).iter().map(|key| key.map(str::to_owned)));
        }
        Self(entries)
    }

    /// The set. A range of windows that the definition does not have (any more) holds nothing.
    pub fn subset(&self, definition: Option<&PartitionsDefinition>) -> PartitionSubset {
        let mut cells = Vec::new();
        for entry in &self.0 {
            let range = entry.as_ref().and_then(|entry| entry.split_once(key::RANGE));
            match (range, definition) {
                (Some((first, last)), Some(PartitionsDefinition::TimeWindow(windows))) => {
                    cells.extend(windows.range(first, last).into_iter().map(Some));
                }
                (Some(_), _) => {}
                (None, _) => cells.push(entry.clone()),
            }
        }
        cells.into_iter().collect()
    }
}
