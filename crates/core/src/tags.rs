//! The names of reserved run tags, as Dagster's users know them.

use std::collections::BTreeMap;

use crate::partitions::{MultiKey, PartitionsDefinition};

/// The partition key of a run.
pub const PARTITION: &str = "dagster/partition";
/// The run key under which a sensor or schedule asked for a run.
pub const RUN_KEY: &str = "dagster/run_key";
/// The sensor that asked for a run.
pub const SENSOR_NAME: &str = "dagster/sensor_name";
/// The tick that asked for a run.
pub const TICK: &str = "dagster/tick";
/// The code location that a run belongs to.
pub const CODE_LOCATION: &str = "dagster/code_location";
/// The place of a run in the queue: an integer, higher first.
pub const PRIORITY: &str = "dagster/priority";
/// Why a run failed: one of Dagster's failure reasons.
pub const FAILURE_REASON: &str = "dagster/failure_reason";
/// The run that this one re-executes.
pub const PARENT_RUN_ID: &str = "dagster/parent_run_id";
/// The first run of a chain of re-executions.
pub const ROOT_RUN_ID: &str = "dagster/root_run_id";
/// The prefix of tags that belong to the system and are shown.
pub const SYSTEM_PREFIX: &str = "dagster/";
/// The prefix of tags that belong to the system and are not shown.
pub const HIDDEN_PREFIX: &str = ".dagster/";
/// The prefix of tags that this orchestrator gives a meaning of its own, such as for whom a run works.
pub const OWN_PREFIX: &str = "catchment/";
/// How a run is kept apart from others, in Dagster; here each run has a process of its own whatever it says.
pub const ISOLATION: &str = "dagster/isolation";
/// The prefix of a multi-dimensional partition's tags, followed by the dimension.
pub const PARTITION_DIMENSION_PREFIX: &str = "dagster/partition/";
/// The first key of a run over a range of partitions.
pub const PARTITION_RANGE_START: &str = "dagster/asset_partition_range_start";
/// The last key of a run over a range of partitions.
pub const PARTITION_RANGE_END: &str = "dagster/asset_partition_range_end";
/// The schedule that asked for a run.
pub const SCHEDULE_NAME: &str = "dagster/schedule_name";
/// The time that a scheduled run stands for, in RFC 3339.
pub const SCHEDULED_EXECUTION_TIME: &str = ".dagster/scheduled_execution_time";
/// The backfill that asked for a run.
pub const BACKFILL: &str = "dagster/backfill";
/// How often a failed run is run again: an integer.
pub const MAX_RETRIES: &str = "dagster/max_retries";
/// What of a failed run is run again: `FROM_FAILURE`, `FROM_ASSET_FAILURE` or `ALL_STEPS`.
pub const RETRY_STRATEGY: &str = "dagster/retry_strategy";
/// Whether a run whose step failed is run again: `true` or `false`.
pub const RETRY_ON_STEP_FAILURE: &str = "dagster/retry_on_asset_or_op_failure";
/// Whether a failed run will be run again: `true` or `false`.
pub const WILL_RETRY: &str = "dagster/will_retry";
/// The run that runs a failed one again.
pub const AUTO_RETRY_RUN_ID: &str = "dagster/auto_retry_run_id";
/// How often the run was run before: an integer.
pub const RETRY_NUMBER: &str = "dagster/retry_number";
/// Set on a run that goes on where another failed.
pub const RESUME_RETRY: &str = "dagster/is_resume_retry";
/// Set on a run that makes the assets that another did not.
pub const ASSET_RESUME_RETRY: &str = "dagster/is_asset_resume_retry";
/// The longest time that a run may work, in seconds.
pub const MAX_RUNTIME: &str = "dagster/max_runtime";
/// The concurrency pool of a step, as a tag (the older way to say it).
pub const CONCURRENCY_KEY: &str = "dagster/concurrency_key";
/// Set on a run that an automation condition asked for.
pub const FROM_AUTOMATION_CONDITION: &str = "dagster/from_automation_condition";
/// Who asked for a run.
pub const USER: &str = "user";

/// What a reserved tag takes, where it does not take this value; whoever reads the tag would pass it over.
pub fn unreadable(key: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    let (reads, takes) = match key {
        PRIORITY => (value.parse::<i64>().is_ok(), "an integer; higher is launched first"),
        MAX_RETRIES => (value.parse::<u32>().is_ok(), "a number of retries, 0 or more"),
        MAX_RUNTIME => (value.parse::<u64>().is_ok(), "seconds, a whole number; 0 does not bound"),
        RETRY_STRATEGY => {
            let strategies = ["FROM_FAILURE", "ALL_STEPS", "FROM_ASSET_FAILURE"];
            (strategies.contains(&value), "FROM_FAILURE, ALL_STEPS or FROM_ASSET_FAILURE")
        }
        RETRY_ON_STEP_FAILURE => (["true", "false"].contains(&&*value.to_ascii_lowercase()), "true or false"),
        _ => return None,
    };
    (!reads).then_some(takes)
}

/// The tags of a run of one partition: the key, and the key of each dimension where there are several.
pub fn of_partition(definition: Option<&PartitionsDefinition>, key: &str) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([(PARTITION.to_owned(), key.to_owned())]);
    if let Some(PartitionsDefinition::Multi { dimensions }) = definition
        && let Some(keys) = MultiKey::parse(key, dimensions)
    {
        tags.extend(keys.0.into_iter().map(|(name, key)| (format!("{PARTITION_DIMENSION_PREFIX}{name}"), key)));
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_nobody_could_read_is_told_with_what_the_tag_takes() {
        for (key, right, wrong) in [
            (PRIORITY, "-3", "high"),
            (MAX_RETRIES, "2", "-1"),
            (MAX_RUNTIME, " 3600 ", "1h"),
            (RETRY_STRATEGY, "ALL_STEPS", "SOME_STEPS"),
            (RETRY_ON_STEP_FAILURE, "False", "perhaps"),
        ] {
            assert_eq!(unreadable(key, right), None, "{key}");
            assert!(unreadable(key, wrong).is_some(), "{key}");
        }
        assert_eq!(unreadable("team", "anything"), None);
    }
}
