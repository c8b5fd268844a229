//! What the inputs of a step take: values of this run, of an earlier run, of an asset, or of the run config.

use std::collections::{BTreeSet, HashMap};

use catchment_core::metadata::Metadata;
use catchment_core::reexecution::mapped_key;
use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use serde_json::{Value as Json, json};

use super::execution::Execution;
use super::limits::Limits;
use super::schedule::{Id, Schedule};
use crate::config;
use crate::context::InputValue;
use crate::definitions::Definitions;
use crate::io_manager::{DEFAULT, OutputContext, not_stored};
use crate::output::{OutputPort, PortKind, SharedValue};
use crate::plan::{Kept, OutputRef, Past, Plan, PlannedStep, Source};
use crate::resource::Resources;

/// What a step gave for one of its outputs.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// It was left out.
    Nothing,
    One(SharedValue),
    /// Values by mapping key, in the order in which they were given.
    Fan(Vec<(String, SharedValue)>),
}

/// A value for an input.
#[derive(Debug, Clone)]
pub(crate) enum Take {
    /// It is there.
    Ready(SharedValue),
    /// An IO manager kept it, in an earlier run; the output that gave it.
    Kept(Kept, OutputRef),
}

/// All that an input takes.
#[derive(Debug, Clone)]
pub(crate) enum Taken {
    One(Take),
    Many(Vec<Take>),
    Asset(String),
    Config,
}

/// What the steps of this run gave.
#[derive(Default)]
pub(crate) struct Values(HashMap<Id, Vec<Value>>);

impl Values {
    pub(crate) fn insert(&mut self, id: Id, values: Vec<Value>) {
        self.0.insert(id, values);
    }

    /// What an input of an instance takes; all of it is there, or was kept by an earlier run.
    pub(crate) fn taken(&self, plan: &Plan, past: &Past, schedule: &Schedule, id: Id, source: &Source) -> Taken {
        let one = |output| self.one(plan, schedule, output, schedule.mapping_key(id));
        match source {
            Source::Config => Taken::Config,
            Source::Asset(key) => Taken::Asset(key.clone()),
            Source::Output(output) => Taken::One(one(*output)),
            Source::Many(outputs) => Taken::Many(outputs.iter().map(|output| one(*output)).collect()),
            Source::Collected(output) => Taken::Many(self.collected(plan, past, schedule, *output)),
        }
    }

    /// The value of an output, for the instance with this mapping key.
    fn one(&self, plan: &Plan, schedule: &Schedule, output: OutputRef, mapping_key: Option<&str>) -> Take {
        let is_mapped = plan.steps[output.step].node.mapped_over.is_some();
        let id = schedule.instance(output.step, mapping_key.filter(|_| is_mapped));
        match id.and_then(|id| self.0.get(&id)?.get(output.output)) {
            Some(Value::One(value)) => Take::Ready(value.clone()),
            Some(Value::Fan(values)) => {
                let of_key = values.iter().find(|(key, _)| Some(key.as_str()) == mapping_key);
                of_key.map_or_else(|| kept(plan, output, mapping_key), |(_, value)| Take::Ready(value.clone()))
            }
            Some(Value::Nothing) | None => kept(plan, output, mapping_key),
        }
    }

    /// All values of an output that fans out, or of a step that runs once for each mapping key.
    fn collected(&self, plan: &Plan, past: &Past, schedule: &Schedule, output: OutputRef) -> Vec<Take> {
        let step = &plan.steps[output.step];
        if step.node.mapped_over.is_none() {
            let own = schedule.instance(output.step, None).and_then(|id| self.0.get(&id)?.get(output.output));
            return match own {
                Some(Value::Fan(values)) => values.iter().map(|(_, value)| Take::Ready(value.clone())).collect(),
                Some(Value::One(value)) => vec![Take::Ready(value.clone())],
                Some(Value::Nothing) => Vec::new(),
                None => {
                    let keys = past.mapping_keys(&step.definition.key);
                    keys.iter().map(|key| kept(plan, output, Some(key))).collect()
                }
            };
        }
        let given = schedule.instances(output.step).filter(|id| schedule.has_given(*id, output.output));
        given
            .filter_map(|id| match self.0.get(&id).map(|values| values.get(output.output)) {
                Some(Some(Value::One(value))) => Some(Take::Ready(value.clone())),
                Some(_) => None,
                None => Some(kept(plan, output, schedule.mapping_key(id))),
            })
            .collect()
    }
}

/// The value that an earlier run kept of an output.
fn kept(plan: &Plan, output: OutputRef, mapping_key: Option<&str>) -> Take {
    let step = &plan.steps[output.step];
    let key = &step.definition.key;
    let port = &step.definition.op.outputs[output.output];
    let mapped = step.node.mapped_over.and(mapping_key);
    let step_key = mapped.map_or_else(|| key.clone(), |mapping_key| mapped_key(key, mapping_key));
    let mapping_key = mapping_key.filter(|_| port.kind == PortKind::Dynamic).map(str::to_owned);
    Take::Kept(Kept { step_key, output: port.name.clone(), mapping_key }, output)
}

/// Loads what is not there yet, and says what was taken.
pub(crate) struct Loader<'a> {
    pub(crate) execution: &'a Execution,
    pub(crate) step: &'a PlannedStep,
    /// The key of the step that takes the values, with its mapping key.
    pub(crate) step_key: &'a str,
    pub(crate) events: Vec<NewEvent>,
}

impl Loader<'_> {
    /// The value of an input; `None` where the run config gives none, and the input's type has to do without.
    pub(crate) async fn load(&mut self, input: &str, taken: Taken) -> Result<Option<InputValue>, Problem> {
        let value = match taken {
            Taken::One(take) => Some(InputValue::One(self.take(input, take).await?)),
            Taken::Many(takes) => {
                let mut values = Vec::new();
                for take in takes {
                    values.push(self.take(input, take).await?);
                }
                Some(InputValue::Many(values))
            }
            Taken::Asset(key) => Some(self.asset(input, &key).await?),
            Taken::Config => self.configured(input)?.map(InputValue::One),
        };
        if value.is_some() {
            self.tell(EventKind::StepInput, format!("took `{input}`"), json!({"input_name": input}));
        }
        Ok(value)
    }

    async fn take(&mut self, input: &str, take: Take) -> Result<SharedValue, Problem> {
        let (kept, output) = match take {
            Take::Ready(value) => return Ok(value),
            Take::Kept(kept, output) => (kept, output),
        };
        let port = &self.execution.plan.steps[output.step].definition.op.outputs[output.output];
        if port.is_unit() {
            return Ok(std::sync::Arc::new(()));
        }
        let run_id = self.execution.past.kept(&kept).ok_or_else(|| not_kept(&kept))?;
        let context = OutputContext {
            run_id,
            step_key: kept.step_key,
            output: kept.output,
            mapping_key: kept.mapping_key,
            asset_key: None,
            partition: None,
            metadata: Metadata::new(),
            type_name: port.type_name,
            codec: port.codec,
        };
        self.load_from(input, Some(port), &context).await
    }

    /// The value of an asset that this run does not make: one for each of its partitions that is needed.
    async fn asset(&mut self, input: &str, key: &str) -> Result<InputValue, Problem> {
        let made = self.execution.definitions.asset(key);
        let spec = made.map(|(_, spec)| spec);
        let port = made.and_then(|(asset, spec)| asset.outputs().find(|(other, _)| other.key == spec.key));
        let port = port.map(|(_, port)| port);
        if port.is_some_and(OutputPort::is_unit) {
            return Ok(InputValue::One(std::sync::Arc::new(())));
        }
        let own = self.step.definition.codec_of(input);
        let metadata = spec.map(|spec| spec.metadata.clone()).unwrap_or_default();
        let mut values = Vec::new();
        for partition in self.execution.upstream_partitions(self.step, key).await? {
            let context = OutputContext {
                run_id: self.execution.scope.run_id,
                step_key: spec.map_or_else(|| key.to_owned(), |spec| spec.step.clone()),
                output: port.map(|port| port.name.clone()).unwrap_or_default(),
                mapping_key: None,
                asset_key: Some(key.to_owned()),
                partition,
                metadata: metadata.clone(),
                type_name: port.map_or("value", |port| port.type_name),
                codec: port.and_then(|port| port.codec).or(own),
            };
            values.push(self.load_from(input, port, &context).await?);
        }
        Ok(match <[SharedValue; 1]>::try_from(values) {
            Ok([value]) => InputValue::One(value),
            Err(values) => InputValue::Many(values),
        })
    }

    async fn load_from(
        &mut self,
        input: &str,
        port: Option<&OutputPort>,
        context: &OutputContext,
    ) -> Result<SharedValue, Problem> {
        let Some((name, manager)) = self.execution.io_manager(port).await? else {
            return Err(not_stored(context.name(), context.type_name, self.step_key));
        };
        let value = manager.load_input(context).await?;
        let data = json!({
            "input_name": input,
            "manager_key": name,
            "upstream_output_name": context.output,
            "upstream_step_key": context.step_key,
            "mapping_key": context.mapping_key,
            "upstream_run_id": context.asset_key.is_none().then_some(context.run_id),
        });
        let message = format!("loaded `{input}` through the IO manager `{name}`");
        self.tell(EventKind::LoadedInput, message, data);
        Ok(value)
    }

    fn configured(&self, input: &str) -> Result<Option<SharedValue>, Problem> {
        let path = &self.step.definition.config_path;
        let inputs = config::at(&self.execution.scope.run_config, path).and_then(|step| step.get("inputs"));
        let Some(given) = inputs.and_then(|inputs| inputs.get(input)) else { return Ok(None) };
        let value = given.get("value").unwrap_or(given);
        let place = config::place(path, &format!("inputs.{input}.value"));
        let codec = self.step.definition.codec_of(input).ok_or_else(|| {
            Problem::new(Code::InvalidConfig, format!("the input `{input}` cannot be given in the run config"))
                .place(place.clone())
                .cause("its type is not read as JSON")
                .remedy("derive serde's Deserialize and Serialize for it, or wire the input to an op")
        })?;
        codec.read(value, &place).map(Some).map_err(|fault| config::problem(vec![fault]))
    }

    fn tell(&mut self, kind: EventKind, message: String, data: Json) {
        self.events.push(self.execution.event(kind, self.step_key, Level::Debug, message, data));
    }
}

/// Refuses a re-execution that needs a value that no IO manager kept.
pub(crate) fn all_kept(plan: &Plan, past: &Past) -> Result<(), Problem> {
    let nodes = plan.steps.iter().map(|step| step.node.clone()).collect();
    let schedule = Schedule::new(nodes, Limits { max_concurrent: 1, tags: Vec::new() });
    // Nothing has run, so that each value that is not of a step that will run is asked of the past.
    let values = Values::default();
    let mut missing = BTreeSet::new();
    for (at, step) in plan.steps.iter().enumerate() {
        // What is fanned out by a step of this run has its instances later, and all it takes is of this run.
        for id in schedule.instances(at).filter(|id| !schedule.is_final(*id)) {
            for (_, source) in &step.inputs {
                let takes = match values.taken(plan, past, &schedule, id, source) {
                    Taken::One(take) => vec![take],
                    Taken::Many(takes) => takes,
                    Taken::Asset(_) | Taken::Config => Vec::new(),
                };
                missing.extend(takes.into_iter().filter_map(|take| match take {
                    Take::Kept(kept, of) if is_of_past(plan, &schedule, id, of) && past.kept(&kept).is_none() => {
                        Some(kept)
                    }
                    _ => None,
                }));
            }
        }
    }
    match missing.pop_first() {
        None => Ok(()),
        Some(first) => Err(not_kept(&first)),
    }
}

/// Whether an instance takes this output from an earlier run: it says something, and what gives it does not run.
fn is_of_past(plan: &Plan, schedule: &Schedule, id: Id, output: OutputRef) -> bool {
    let step = &plan.steps[output.step];
    let is_unit = step.definition.op.outputs[output.output].is_unit();
    // Of a step whose branches another collects, only those that ended are taken.
    let mapping_key = step.node.mapped_over.and(schedule.mapping_key(id));
    let collects = step.node.mapped_over.is_some() && mapping_key.is_none();
    let gives = schedule.instance(output.step, mapping_key);
    !is_unit && (collects || gives.is_none_or(|gives| schedule.is_final(gives)))
}

/// Refuses a run that takes the value of an asset that it does not make, and that no IO manager can have kept.
pub(crate) fn all_stored(definitions: &Definitions, plan: &Plan, resources: &Resources) -> Result<(), Problem> {
    if resources.has(DEFAULT) {
        return Ok(());
    }
    for step in plan.steps.iter().filter(|step| !step.node.runs.is_given()) {
        for (_, source) in &step.inputs {
            let Source::Asset(key) = source else { continue };
            let made = definitions.asset(key);
            let port = made.and_then(|(asset, _)| asset.outputs().find(|(spec, _)| spec.key == *key));
            if let Some((_, port)) = port
                && port.codec.is_none()
                && port.io_manager.is_none()
                && !port.is_unit()
            {
                return Err(not_stored(key, port.type_name, &step.definition.key));
            }
        }
    }
    Ok(())
}

fn not_kept(kept: &Kept) -> Problem {
    let what = format!("the value of `{}`, which this run takes from an earlier one, is gone", kept.step_key);
    Problem::new(Code::NotFound, what)
        .cause(format!("its output `{}` stayed in the memory of the run that made it", kept.output))
        .remedy("run that step again too, or derive serde's Serialize and Deserialize for the type of the value")
}
