//! What conditions ask about assets.

use jiff::Timestamp;

use crate::mapping::PartitionMapping;
use crate::partitions::{DynamicKeys, PartitionSubset, PartitionsDefinition};

use super::AutomationCondition;

/// What is known in one tick, as of one place of the event log. Assets are named by key.
///
/// Sets may hold more than an asset's present partitions; what is not there now is left out by the evaluation.
pub trait AutomationView {
    /// How the asset is divided; None where it is not.
    fn partitions(&self, asset: &str) -> Option<&PartitionsDefinition>;

    /// The keys of dynamic partitions.
    fn dynamic(&self) -> &dyn DynamicKeys;

    /// The assets that it needs.
    fn dependencies(&self, asset: &str) -> Vec<String>;

    /// How its partitions follow from those of a dependency, where that was said.
    fn mapping(&self, asset: &str, dependency: &str) -> Option<PartitionMapping>;

    /// The conditions of all assets that depend on it, directly or not.
    fn downstream_conditions(&self, asset: &str) -> Vec<(String, AutomationCondition)>;

    /// Whether both can go into the same run.
    fn executable_together(&self, asset: &str, dependency: &str) -> bool;

    /// The version of its code.
    fn code_version(&self, asset: &str) -> Option<String>;

    /// The id of the newest event that this view knows of.
    fn newest_event(&self) -> i64;

    /// What was materialised (or, of a source, observed) at any time.
    fn materialized(&self, asset: &str) -> PartitionSubset;

    /// What a run or backfill that is not over is to materialise.
    fn in_progress(&self, asset: &str) -> PartitionSubset;

    /// Whose last run failed, without a materialisation after it.
    fn failed(&self, asset: &str) -> PartitionSubset;

    /// Whose last materialisation is newer than this event and time.
    fn updated_since(&self, asset: &str, event: i64, time: Timestamp) -> PartitionSubset;

    /// Whose data version is another than at this event and time.
    fn data_version_changed_since(&self, asset: &str, event: i64, time: Timestamp) -> PartitionSubset;

    /// Whose last update came from a run that also had `target` as a target.
    fn executed_with(&self, asset: &str, target: &str) -> PartitionSubset;

    /// The keys of its checks, as `<asset>:<check>`, and whether each holds downstream assets back. Where a check
    /// is asked about, the other questions get such a key too.
    fn checks(&self, asset: &str) -> Vec<(String, bool)>;

    /// For which partitions the check passed (or, not `passed`, failed) on the last materialisation.
    fn check_result(&self, check: &str, passed: bool) -> PartitionSubset;

    /// What the last tick asked for.
    fn requested_last_tick(&self, asset: &str) -> PartitionSubset;

    /// What this tick has asked for so far; upstream assets are evaluated first.
    fn requested_this_tick(&self, asset: &str) -> PartitionSubset;
}
