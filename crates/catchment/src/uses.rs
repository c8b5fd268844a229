//! Which resources steps work with, however far away.

use std::collections::BTreeSet;

use crate::definitions::{Definitions, OUTPUT_STORE};
use crate::extract::Need;
use crate::io_manager::DEFAULT;
use crate::lower::{InputSource, StepDefinition};
use crate::output::{OutputPort, PortKind};

/// The resources that steps work with: what their functions and hooks take, the IO managers and the store of their
/// values, and what all of these need themselves.
pub(crate) fn used(definitions: &Definitions, steps: &[&StepDefinition]) -> BTreeSet<String> {
    let of_needs = |needs: &[Need]| -> Vec<String> {
        let names = needs.iter().filter_map(|need| match need {
            Need::Resource { name, .. } => Some(name.clone()),
            _ => None,
        });
        names.collect()
    };
    let of_port = |port: &OutputPort| match port.kind {
        // It is committed, and taken from where it was committed to.
        PortKind::Staged => [OUTPUT_STORE.to_owned()].into_iter().chain(port.io_manager.clone()).collect(),
        _ => vec![port.io_manager_name().to_owned()],
    };
    let mut waiting = Vec::new();
    for step in steps {
        waiting.extend(of_needs(&step.op.needs));
        step.hooks.iter().for_each(|hook| waiting.extend(of_needs(&hook.needs)));
        step.op.outputs.iter().for_each(|port| waiting.extend(of_port(port)));
        for input in &step.inputs {
            let InputSource::Asset(key) = &input.source else { continue };
            let made = definitions.asset(key).and_then(|(asset, _)| asset.outputs().find(|(spec, _)| spec.key == *key));
            waiting.extend(made.map_or_else(|| vec![DEFAULT.to_owned()], |(_, port)| of_port(port)));
        }
    }
    let mut used = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        let Some(resource) = definitions.resources.iter().find(|resource| resource.name == name) else { continue };
        if used.insert(name) {
            waiting.extend(of_needs(&resource.needs));
        }
    }
    used
}
