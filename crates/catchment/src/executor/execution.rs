//! What all steps of one execution share besides the run's scope.

use std::collections::BTreeMap;
use std::sync::Arc;

use catchment_core::partitions::PartitionsDefinition;
use catchment_core::{EventKind, Level, NewEvent};
use catchment_instance::SharedInstance;
use catchment_model::Problem;
use serde_json::{Value, json};

use super::limits::Limits;
use super::lineage::Lineage;
use super::slots::Slots;
use crate::context::RunScope;
use crate::definitions::{Definitions, OUTPUT_STORE};
use crate::io_manager::{DEFAULT, IoManager, LakeIoManager, lake};
use crate::output::{OutputPort, OutputStore, PortKind};
use crate::plan::{Past, Plan, PlannedStep};

/// A plan that is being carried out.
pub(crate) struct Execution {
    pub(crate) definitions: Definitions,
    pub(crate) plan: Plan,
    pub(crate) past: Past,
    pub(crate) scope: Arc<RunScope>,
    pub(crate) limits: Limits,
    /// Concurrency pools; `None` where there is no state that keeps them.
    pub(crate) slots: Option<Slots>,
    pub(crate) lineage: Lineage,
    /// Which partitions this run is about, by partitions definition.
    pub(crate) partitions: BTreeMap<String, Vec<String>>,
    /// The IO manager of outputs that name none, where the location defines none of that name.
    pub(crate) default_io: Arc<dyn IoManager>,
}

impl Execution {
    /// An event of a step.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        step_key: &str,
        level: Level,
        message: String,
        data: Value,
    ) -> NewEvent {
        self.scope.journal.event(kind, Some(step_key), level, message, data)
    }

    /// The state, where there is one.
    pub(crate) fn instance(&self) -> Option<&SharedInstance> {
        self.slots.as_ref().map(|slots| &slots.instance)
    }

    /// The partitions of an asset that this run is about: their keys, or `None` alone where it has none.
    pub(crate) fn partitions_of(&self, asset: &str) -> Vec<Option<String>> {
        let definition = self.definitions.asset(asset).and_then(|(_, spec)| spec.partitions.as_ref());
        let keys = definition.and_then(|name| self.partitions.get(name)).filter(|keys| !keys.is_empty());
        keys.map_or_else(|| vec![None], |keys| keys.iter().cloned().map(Some).collect())
    }

    /// The partitions definition of a step's assets, or of its job.
    pub(crate) fn partitions_definition(&self, step: &PlannedStep) -> Option<PartitionsDefinition> {
        let of_assets = step.definition.assets.iter().find_map(|asset| asset.partitions.as_ref());
        let name = of_assets.or_else(|| self.partitions.keys().next())?;
        self.definitions.partitions_named(name)
    }

    /// The IO manager that keeps the values of an output, with its name; `None` where they stay in memory, because
    /// none is named and the values cannot be written.
    pub(crate) async fn io_manager(
        &self,
        port: Option<&OutputPort>,
    ) -> Result<Option<(String, Arc<dyn IoManager>)>, Problem> {
        if let Some(name) = port.and_then(|port| port.io_manager.as_ref()) {
            return Ok(Some((name.clone(), self.scope.resources.io_manager(name).await?)));
        }
        if port.is_some_and(|port| port.kind == PortKind::Staged) {
            let store = self.scope.resources.get::<dyn OutputStore>(OUTPUT_STORE).await?;
            return Ok(Some((lake::NAME.to_owned(), Arc::new(LakeIoManager::new(store)))));
        }
        let manager = match self.scope.resources.has(DEFAULT) {
            true => self.scope.resources.io_manager(DEFAULT).await?,
            false => self.default_io.clone(),
        };
        let can_keep = port.is_none_or(|port| port.codec.is_some()) || !manager.needs_codec();
        Ok(can_keep.then(|| (DEFAULT.to_owned(), manager)))
    }

    /// What this run is about to do, told before its first step: the assets that it will make and the checks that it
    /// will evaluate.
    pub(crate) fn planned(&self) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for step in self.plan.steps.iter().filter(|step| !step.node.runs.is_given()) {
            let key = step.definition.key.as_str();
            for asset in step.assets.iter().filter(|_| !step.definition.observes) {
                for partition in self.partitions_of(asset) {
                    let data = json!({"asset_key": asset, "partition": partition});
                    let message = format!("`{asset}` is to be materialised");
                    events.push(self.event(EventKind::AssetMaterializationPlanned, key, Level::Debug, message, data));
                }
            }
            for check in &step.checks {
                for partition in self.partitions_of(&check.asset_key) {
                    let (asset, name) = (&check.asset_key, &check.name);
                    let data = json!({"asset_key": asset, "check_name": name, "partition": partition});
                    let message = format!("check `{name}` of `{asset}` is to be evaluated");
                    events.push(self.event(EventKind::AssetCheckEvaluationPlanned, key, Level::Debug, message, data));
                }
            }
        }
        events
    }

    /// What a step that failed or was skipped did not make.
    pub(crate) fn not_made(&self, step: &PlannedStep, step_key: &str, why: &str) -> Vec<NewEvent> {
        let assets = step.assets.iter().filter(|_| !step.definition.observes);
        let partitions = assets.flat_map(|asset| self.partitions_of(asset).into_iter().map(move |key| (asset, key)));
        let event = |(asset, partition): (&String, Option<String>)| {
            let data = json!({"asset_key": asset, "partition": partition, "reason": why});
            let message = format!("`{asset}` was not materialised: {why}");
            self.event(EventKind::AssetFailedToMaterialize, step_key, Level::Error, message, data)
        };
        partitions.map(event).collect()
    }
}
