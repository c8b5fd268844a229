//! What a process reported, into the step's events.

use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use serde_json::{Value, json};

use super::message::{PipesCheck, PipesMaterialization};
use super::result::PipesResult;
use crate::check::{CheckResult, Severity};
use crate::context::AssetContext;
use crate::materialization::Materialization;

/// Puts materialisations and checks into the events of the step.
///
/// # Errors
/// Where `implicit` is off and an asset of the step was not reported; where the log cannot be written.
pub(super) async fn into_events(result: &PipesResult, context: &AssetContext, implicit: bool) -> Result<(), Problem> {
    let reported = |asset: &&String| result.materializations.iter().any(|made| made.asset_key == **asset);
    if let Some(missing) = context.assets().iter().find(|asset| !implicit && !reported(asset)) {
        return Err(Problem::new(Code::InvalidInput, "the process did not report the asset as materialised")
            .place(format!("asset {missing}"))
            .remedy("call `report_asset_materialization`, or allow implicit materialisations"));
    }
    let mut events = Vec::new();
    for made in &result.materializations {
        if context.is_selected(&made.asset_key) {
            let said = Materialization { metadata: made.metadata.clone(), data_version: made.data_version.clone() };
            context.report_materialization(&made.asset_key, said);
        } else {
            events.push(materialization(made, context));
        }
    }
    for reported in &result.checks {
        if context.assets().first() == Some(&reported.asset_key) {
            context.report_check(CheckResult {
                name: reported.name.clone(),
                passed: reported.passed,
                // The process has made the asset already: the check keeps nothing from being committed.
                blocking: false,
                severity: reported.severity,
                description: String::new(),
                metadata: reported.metadata.clone(),
            });
        } else {
            events.push(check(reported, context));
        }
    }
    if events.is_empty() { Ok(()) } else { context.run().journal.write(events).await }
}

/// An op makes no assets of its own: what is reported in one is an event at once.
fn materialization(made: &PipesMaterialization, context: &AssetContext) -> NewEvent {
    let data = json!({
        "asset_key": made.asset_key, "partition": context.partition_key(), "metadata": made.metadata,
        "data_version": made.data_version,
    });
    event(context, EventKind::AssetMaterialization, Level::Info, format!("materialised `{}`", made.asset_key), data)
}

/// A step gathers checks of its first asset; those of its others, and of an op's, are events at once.
fn check(check: &PipesCheck, context: &AssetContext) -> NewEvent {
    let data = json!({
        "asset_key": check.asset_key, "check_name": check.name, "passed": check.passed, "severity": check.severity,
        "blocking": false, "description": "", "metadata": check.metadata,
    });
    let (level, word) = match (check.passed, check.severity) {
        (true, _) => (Level::Info, "passed"),
        (false, Severity::Warn) => (Level::Warning, "failed"),
        (false, Severity::Error) => (Level::Error, "failed"),
    };
    event(context, EventKind::AssetCheckEvaluation, level, format!("check `{}` {word}", check.name), data)
}

fn event(context: &AssetContext, kind: EventKind, level: Level, message: String, data: Value) -> NewEvent {
    context.run().journal.event(kind, Some(context.step_key()), level, message, data)
}
