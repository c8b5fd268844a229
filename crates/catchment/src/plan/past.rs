//! What the runs gave that a run re-executes: where the values of the steps lie that do not run again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::{Event, EventKind, RunId};
use serde_json::Value;

use crate::output::OutputPort;

/// A value that an IO manager kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    /// The step, with its mapping key where it has one.
    pub(crate) step_key: String,
    /// The output.
    pub(crate) output: String,
    /// The mapping key of an output that fans out.
    pub(crate) mapping_key: Option<String>,
}

/// What earlier runs gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Past {
    kept: BTreeMap<Kept, RunId>,
    ended: BTreeMap<String, Ended>,
}

/// How a step ended that will not be in the way of those after it, by its key with its mapping key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ended {
    /// Well.
    Well(Gave),
    /// It was skipped, because something before it was left out on purpose.
    Skipped,
}

/// What a step gave in one try.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Gave {
    outputs: BTreeSet<String>,
    /// Of an output that fans out, in the order in which they were given.
    mapping_keys: Vec<String>,
}

impl Past {
    /// The kinds of events that [`Past::add_run_before`] heeds.
    pub(crate) const KINDS: [EventKind; 7] = [
        EventKind::HandledOutput,
        EventKind::StepOutput,
        EventKind::StepUpForRetry,
        EventKind::StepRestarted,
        EventKind::StepFailure,
        EventKind::StepSuccess,
        EventKind::StepSkipped,
    ];

    /// Adds what a run gave, by its events in order; what the runs gave that were added before, which are newer, goes
    /// before it.
    pub(crate) fn add_run_before(&mut self, events: &[Event]) {
        let mut tries: BTreeMap<&str, Gave> = BTreeMap::new();
        let mut ended: BTreeMap<&str, Ended> = BTreeMap::new();
        for event in events.iter() {
            let (run_id, event) = (event.event.run_id, &event.event);
            let Some(step_key) = event.step_key.as_deref() else { continue };
            let text = |field: &str| event.data.get(field).and_then(Value::as_str).map(str::to_owned);
            match event.kind {
                EventKind::HandledOutput => {
                    let output = text("output_name").unwrap_or_default();
                    let kept = Kept { step_key: step_key.to_owned(), output, mapping_key: text("mapping_key") };
                    self.kept.entry(kept).or_insert(run_id);
                }
                EventKind::StepOutput => {
                    let gave = tries.entry(step_key).or_default();
                    gave.outputs.extend(text("output_name"));
                    gave.mapping_keys.extend(text("mapping_key"));
                }
                // What a try gave that failed afterwards, the next one gives again.
                EventKind::StepUpForRetry | EventKind::StepRestarted | EventKind::StepFailure => {
                    tries.remove(step_key);
                }
                EventKind::StepSuccess => {
                    ended.insert(step_key, Ended::Well(tries.remove(step_key).unwrap_or_default()));
                }
                EventKind::StepSkipped if event.data.get("failed").and_then(Value::as_bool) == Some(false) => {
                    ended.insert(step_key, Ended::Skipped);
                }
                _ => {}
            }
        }
        for (step_key, how) in ended {
            self.ended.entry(step_key.to_owned()).or_insert(how);
        }
    }

    /// The run whose value is the newest of this name.
    pub(crate) fn kept(&self, value: &Kept) -> Option<RunId> {
        self.kept.get(value).copied()
    }

    /// The mapping keys that a dynamic step gave, in their order.
    pub(crate) fn mapping_keys(&self, step: &str) -> &[String] {
        match self.ended.get(step) {
            Some(Ended::Well(gave)) => &gave.mapping_keys,
            Some(Ended::Skipped) | None => &[],
        }
    }

    /// The outputs that a step left out, by their places: of a step that was skipped, all.
    pub(crate) fn left_out(&self, step_key: &str, outputs: &[OutputPort]) -> Vec<usize> {
        let is_left_out = |port: &OutputPort| match self.ended.get(step_key) {
            Some(Ended::Well(gave)) => port.is_optional && !gave.outputs.contains(&port.name),
            Some(Ended::Skipped) => true,
            // It did not end well in any of these runs: whoever needs its values will miss them.
            None => false,
        };
        (0..outputs.len()).filter(|at| is_left_out(&outputs[*at])).collect()
    }
}
