//! What the runs gave that a run re-executes: where the values of the steps lie that do not run again. Pure.

use std::collections::BTreeMap;

use catchment_core::{Event, EventKind, RunId};
use serde_json::Value;

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
    mapping_keys: BTreeMap<String, Vec<String>>,
}

impl Past {
    /// What a run and those before it gave; the first is the newest.
    pub(crate) fn of<'a>(chain: impl IntoIterator<Item = &'a [Event]>) -> Self {
        let mut past = Self::default();
        for events in chain {
            let mut mapping_keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for event in events.iter().map(|event| &event.event) {
                let Some(step_key) = &event.step_key else { continue };
                let text = |field: &str| event.data.get(field).and_then(Value::as_str).map(str::to_owned);
                let mapping_key = text("mapping_key");
                match event.kind {
                    EventKind::HandledOutput => {
                        let output = text("output_name").unwrap_or_default();
                        let kept = Kept { step_key: step_key.clone(), output, mapping_key };
                        past.kept.entry(kept).or_insert(event.run_id);
                    }
                    EventKind::StepOutput => {
                        if let Some(key) = mapping_key {
                            mapping_keys.entry(step_key.clone()).or_default().push(key);
                        }
                    }
                    // A dynamic step that gave nothing has no keys, and that is known too.
                    EventKind::StepSuccess => drop(mapping_keys.entry(step_key.clone()).or_default()),
                    _ => {}
                }
            }
            for (step, keys) in mapping_keys {
                past.mapping_keys.entry(step).or_insert(keys);
            }
        }
        past
    }

    /// The run whose value is the newest of this name.
    pub(crate) fn kept(&self, value: &Kept) -> Option<RunId> {
        self.kept.get(value).copied()
    }

    /// The mapping keys that a dynamic step gave, in their order.
    pub(crate) fn mapping_keys(&self, step: &str) -> &[String] {
        self.mapping_keys.get(step).map(Vec::as_slice).unwrap_or_default()
    }
}
