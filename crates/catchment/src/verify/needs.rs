//! Resources that are needed: they are there, of the right type, and do not need each other.

use std::collections::BTreeSet;

use catchment_model::Problem;

use crate::definitions::Definitions;
use crate::extract::Need;
use crate::resource::{in_a_circle, missing_resource, wrong_type};

/// Resources that need each other.
pub(super) fn circles(definitions: &Definitions) -> Vec<Problem> {
    let needs = |name: &str| -> Vec<&str> {
        let resource = definitions.resources.iter().find(|resource| resource.name == name);
        let needs = resource.into_iter().flat_map(|resource| &resource.needs);
        let names = needs.filter_map(|need| match need {
            Need::Resource { name, .. } => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    };
    let mut found = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for resource in &definitions.resources {
        let mut ways = vec![vec![resource.name.as_str()]];
        while let Some(way) = ways.pop() {
            let Some(last) = way.last() else { continue };
            for next in needs(last) {
                if let Some(at) = way.iter().position(|name| *name == next) {
                    let circle: Vec<&str> = way[at..].iter().copied().chain([next]).collect();
                    if !circle.iter().any(|name| done.contains(name)) {
                        found.push(in_a_circle(&circle));
                    }
                    done.extend(circle);
                } else if !done.contains(next) {
                    ways.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        done.insert(&resource.name);
    }
    found
}

/// What of it is not there, or of another type.
pub(super) fn resources(definitions: &Definitions, needs: &[Need], place: &str, found: &mut Vec<Problem>) {
    for need in needs {
        let Need::Resource { name, type_id, type_name } = need else { continue };
        match definitions.resources.iter().find(|resource| resource.name == *name) {
            None => {
                let there: Vec<_> = definitions.resources.iter().map(|resource| resource.name.as_str()).collect();
                found.push(missing_resource(name, type_name, &there).place(place));
            }
            Some(resource) if resource.type_id != *type_id => {
                found.push(wrong_type(name, resource.type_name, type_name).place(place));
            }
            Some(_) => {}
        }
    }
}
