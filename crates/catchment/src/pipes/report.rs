//! What a process reported, into the step's events.

use catchment_model::{Code, Problem};

use super::message::PipesCheck;
use super::result::PipesResult;
use crate::check::CheckResult;
use crate::context::AssetContext;

/// Puts materialisations and checks into the events of the step.
///
/// # Errors
/// Where `implicit` is off and an asset of the step was not reported.
pub(super) fn into_events(result: &PipesResult, context: &AssetContext, implicit: bool) -> Result<(), Problem> {
    for made in &result.materializations {
        for (name, value) in &made.metadata {
            context.add_asset_metadata(&made.asset_key, name.clone(), value.clone());
        }
    }
    for check in &result.checks {
        context.report_check(check_result(check));
    }
    if !implicit && result.materializations.is_empty() {
        return Err(Problem::new(Code::InvalidInput, "the process did not report the asset as materialised")
            .place(format!("step {}", context.step_key()))
            .remedy("call `report_asset_materialization`, or allow implicit materialisations"));
    }
    Ok(())
}

/// The asset is made when it is reported, so that a check of it keeps nothing from being committed.
fn check_result(check: &PipesCheck) -> CheckResult {
    CheckResult {
        name: check.name.clone(),
        passed: check.passed,
        blocking: false,
        severity: check.severity,
        description: String::new(),
        metadata: check.metadata.clone(),
    }
}
