//! Which steps a run has, in which order.

use catchment_model::{Code, Problem};

use crate::asset::AssetDefinition;
use crate::definitions::{Definitions, not_found};

/// The steps of a run in topological order; among those that could go first, in the order of their definition.
pub(crate) struct Plan {
    pub(crate) steps: Vec<PlannedStep>,
}

/// A step and the steps that it waits for.
pub(crate) struct PlannedStep {
    pub(crate) asset: AssetDefinition,
    /// Places in [`Plan::steps`], all before this one.
    pub(crate) after: Vec<usize>,
}

impl Plan {
    /// The plan that makes these assets. An edge to an asset outside the selection orders nothing.
    pub(crate) fn of(definitions: &Definitions, selection: &[String]) -> Result<Self, Problem> {
        for key in selection {
            if definitions.asset(key).is_none() {
                let there: Vec<_> = definitions.assets.iter().map(AssetDefinition::key).collect();
                return Err(not_found("asset", key, &there, &definitions.location));
            }
        }
        let mut waiting: Vec<_> = definitions.assets.iter().filter(|asset| selection.contains(&asset.key)).collect();
        let mut steps: Vec<PlannedStep> = Vec::new();
        while !waiting.is_empty() {
            let ready = waiting
                .iter()
                .position(|asset| !asset.upstream().iter().any(|key| waiting.iter().any(|other| other.key == *key)));
            let Some(ready) = ready else {
                let circle: Vec<_> = waiting.iter().map(|asset| asset.key.as_str()).collect();
                return Err(Problem::new(Code::InvalidConfig, "assets need each other in a circle")
                    .place(circle.join(", "))
                    .remedy("take one of the edges between them away"));
            };
            let asset = waiting.remove(ready);
            let upstream = asset.upstream();
            let after = steps.iter().enumerate().filter(|(_, step)| upstream.contains(&step.asset.key.as_str()));
            let after = after.map(|(place, _)| place).collect();
            steps.push(PlannedStep { asset: asset.clone(), after });
        }
        Ok(Self { steps })
    }

    /// The assets that are committed to the lake.
    pub(crate) fn staged(&self) -> Vec<String> {
        self.steps.iter().filter(|step| step.asset.staged).map(|step| step.asset.key.clone()).collect()
    }
}
