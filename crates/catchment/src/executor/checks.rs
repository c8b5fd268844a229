//! The results of checks: their events, and what they forbid.

use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use serde_json::json;

use super::execution::Execution;
use crate::check::{CheckResult, Severity};
use crate::plan::PlannedStep;

/// The result of a check as its definition has it: the name and blocking of a step that is a check of its own; a check
/// that was declared as blocking blocks, whatever its result says.
pub(crate) fn named(step: &PlannedStep, result: &CheckResult) -> CheckResult {
    match step.definition.checks.first() {
        Some(spec) if step.definition.is_check => {
            CheckResult { name: spec.name.clone(), blocking: spec.blocking, ..result.clone() }
        }
        _ => {
            let declared = step.definition.checks.iter().any(|spec| spec.name == result.name && spec.blocking);
            CheckResult { blocking: result.blocking || declared, ..result.clone() }
        }
    }
}

/// The asset that a check of a step is about: the one that its definition names, else the step's first.
fn asset_of<'a>(step: &'a PlannedStep, check: &CheckResult) -> &'a str {
    let spec = step.definition.checks.iter().find(|spec| spec.name == check.name);
    let first = step.definition.assets.first().map(|asset| asset.key.as_str());
    spec.map(|spec| spec.asset_key.as_str()).or(first).unwrap_or(&step.definition.key)
}

/// The evaluation, for each partition of the asset.
pub(crate) fn events(execution: &Execution, step: &PlannedStep, step_key: &str, check: &CheckResult) -> Vec<NewEvent> {
    let word = if check.passed { "passed" } else { "failed" };
    let level = match (check.passed, check.severity) {
        (true, _) => Level::Info,
        (false, Severity::Error) => Level::Error,
        (false, Severity::Warn) => Level::Warning,
    };
    let asset = asset_of(step, check);
    let event = |partition: Option<String>| {
        let data = json!({
            "asset_key": asset,
            "partition": partition,
            "check_name": check.name,
            "passed": check.passed,
            "severity": check.severity,
            "blocking": check.blocking,
            "description": check.description,
            "metadata": check.metadata,
        });
        let message = format!("check `{}` {word}: {}", check.name, check.description);
        execution.event(EventKind::AssetCheckEvaluation, step_key, level, message, data)
    };
    execution.partitions_of(asset).into_iter().map(event).collect()
}

/// Why the step fails, where a blocking check did not hold.
pub(crate) fn refused(step: &PlannedStep, checks: &[CheckResult]) -> Option<Problem> {
    let failed: Vec<_> = checks.iter().filter(|check| check.blocks()).collect();
    let first = failed.first()?;
    let names: Vec<_> = failed.iter().map(|check| format!("`{}`", check.name)).collect();
    let found: Vec<_> = failed.iter().map(|check| in_words(check)).collect();
    let verb = if names.len() == 1 { "the blocking check" } else { "the blocking checks" };
    let (so, remedy) = match step.definition.is_check {
        true => ("nothing downstream is run", "mend the data and make the asset again"),
        false => ("nothing was committed", "mend the data and ingest it again under a new batch_id"),
    };
    let problem = Problem::new(Code::CheckFailed, format!("{verb} {} failed, so {so}", names.join(", ")));
    Some(problem.place(format!("asset {}", asset_of(step, first))).cause(found.join("; ")).remedy(remedy))
}

fn in_words(check: &CheckResult) -> String {
    if check.metadata.is_empty() {
        return format!("{}: {}", check.name, check.description);
    }
    let value =
        |value| serde_json::to_value(value).ok().and_then(|json| json.get("value").cloned()).unwrap_or_default();
    let numbers: Vec<_> = check.metadata.iter().map(|(name, of)| format!("{name} = {}", value(of))).collect();
    format!("{}: {} ({})", check.name, check.description, numbers.join(", "))
}
