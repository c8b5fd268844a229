//! What of the step a process is told.

use catchment_core::partitions::PartitionsDefinition;
use catchment_model::{Code, Problem};
use serde_json::Value;

use super::inject::{PipesContextData, PipesPartitionKeyRange, PipesTimeWindow};
use super::message::escaped;
use crate::context::AssetContext;

/// The assets that the step makes; none for an op.
pub(super) fn assets(context: &AssetContext) -> Option<Vec<String>> {
    Some(context.assets().to_vec()).filter(|assets| !assets.is_empty())
}

/// The context.
///
/// # Errors
/// `invalid_input` where the extras are no object.
pub(super) fn context_data(
    context: &AssetContext,
    assets: Option<Vec<String>>,
    extras: &Value,
) -> Result<PipesContextData, Problem> {
    let Value::Object(extras) = extras else {
        return Err(Problem::new(Code::InvalidInput, "the extras of a Pipes process are no JSON object")
            .place(format!("step {}", context.step_key()))
            .remedy("give `extras(json!({\"name\": …}))`"));
    };
    let version = |key: &String| (escaped(key), context.code_version(key).map(str::to_owned));
    let code_versions = assets.as_ref().map(|assets| assets.iter().map(version).collect());
    let keys = assets.map(|assets| assets.iter().map(|key| escaped(key)).collect::<Vec<_>>());
    // As Dagster tells it: of partitions that are windows of time and nothing besides.
    let windows = matches!(context.partitions_definition(), Some(PartitionsDefinition::TimeWindow(_)));
    Ok(PipesContextData {
        code_version_by_asset_key: code_versions,
        provenance_by_asset_key: keys.as_ref().map(|keys| keys.iter().map(|key| (key.clone(), None)).collect()),
        asset_keys: keys,
        partition_key: context.partition_key().map(str::to_owned),
        partition_key_range: context
            .partition_range()
            .map(|range| PipesPartitionKeyRange { start: range.start, end: range.end }),
        partition_time_window: context
            .time_window()
            .filter(|_| windows)
            .map(|window| PipesTimeWindow { start: window.start.to_string(), end: window.end.to_string() }),
        run_id: context.run_id().to_string(),
        job_name: Some(context.job_name().to_owned()),
        retry_number: context.retry_number(),
        extras: extras.clone(),
    })
}
