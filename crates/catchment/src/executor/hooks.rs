//! Hooks: called when a step has ended for good; nothing that they do changes how it ended.

use std::sync::Arc;

use catchment_core::{EventKind, Level};
use catchment_model::Problem;
use serde_json::{Value, json};

use super::execution::Execution;
use super::panics;
use crate::context::HookContext;
use crate::hook::HookOn;

/// Calls the hooks of a step, one after the other.
pub(crate) async fn call(execution: Arc<Execution>, place: usize, step_key: String, problem: Option<Problem>) {
    let end = if problem.is_none() { HookOn::Success } else { HookOn::Failure };
    for hook in &execution.plan.steps[place].definition.hooks {
        let (name, data) = (&hook.name, json!({"hook": hook.name}));
        let (kind, level, message, data) = if hook.on != end {
            (EventKind::HookSkipped, Level::Debug, format!("hook `{name}` is not for this end"), data)
        } else {
            let context = HookContext::new(execution.scope.clone(), &step_key, problem.clone());
            match panics::caught((hook.call)(context)).await {
                Ok(()) => (EventKind::HookCompleted, Level::Info, format!("hook `{name}` is done"), data),
                Err(failed) => {
                    let data: Value = json!({"hook": name, "problem": failed});
                    (EventKind::HookErrored, Level::Error, format!("hook `{name}` failed: {failed}"), data)
                }
            }
        };
        execution.scope.journal.tell(vec![execution.event(kind, &step_key, level, message, data)]);
    }
}
