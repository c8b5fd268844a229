//! What of the step a process is told.

use catchment_core::tags;
use catchment_model::{Code, Problem};
use serde_json::Value;

use super::inject::{PipesContextData, PipesPartitionKeyRange};
use super::message::escaped;
use crate::context::AssetContext;

/// The assets that the step makes.
pub(super) fn assets(context: &AssetContext) -> Option<Vec<String>> {
    Some(vec![context.step_key().to_owned()])
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
    let keys = assets.map(|assets| assets.iter().map(|key| escaped(key)).collect::<Vec<_>>());
    Ok(PipesContextData {
        code_version_by_asset_key: keys.as_ref().map(|keys| keys.iter().map(|key| (key.clone(), None)).collect()),
        provenance_by_asset_key: keys.as_ref().map(|keys| keys.iter().map(|key| (key.clone(), None)).collect()),
        asset_keys: keys,
        partition_key: context.partition_key().map(str::to_owned),
        partition_key_range: range(context),
        partition_time_window: None,
        run_id: context.run_id().to_string(),
        job_name: Some(context.job_name().to_owned()),
        retry_number: 0,
        extras: extras.clone(),
    })
}

fn range(context: &AssetContext) -> Option<PipesPartitionKeyRange> {
    let tag = |name: &str| context.tags().get(name).cloned();
    match (context.partition_key(), tag(tags::PARTITION_RANGE_START), tag(tags::PARTITION_RANGE_END)) {
        (Some(key), ..) => Some(PipesPartitionKeyRange { start: key.to_owned(), end: key.to_owned() }),
        (None, Some(start), Some(end)) => Some(PipesPartitionKeyRange { start, end }),
        _ => None,
    }
}
