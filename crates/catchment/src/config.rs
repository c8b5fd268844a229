//! Run config, its schema and its faults:
//! `{"ops": {"<step>": {"config": …, "inputs": {"<name>": {"value": …}}}}, "resources": {"<name>": {"config": …}},
//! "execution": {"config": {"max_concurrent": 4}}}`. Ops in a graph lie in the `ops` of its node.

use std::collections::{BTreeMap, BTreeSet};

use catchment_model::{Code, Fault, Problem};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::definitions::Definitions;
use crate::extract::Need;
use crate::job::JobDefinition;
use crate::lower::StepDefinition;
use crate::op::{config_schema, requires_config};
use crate::resource::ResourceDefinition;
use crate::secrets::{is_unset, resolve};
use crate::uses::used;

/// Reads a value as `T`; the fault's path begins with `root`.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, root: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match inner.as_str() {
            "." => root.to_owned(),
            inner if inner.starts_with('[') => format!("{root}{inner}"),
            inner => format!("{root}.{inner}"),
        };
        Fault { path, what: error.into_inner().to_string(), allowed: "see the config's JSON Schema".into() }
    })
}

/// One problem for all faults of a run config.
pub(crate) fn problem(faults: Vec<Fault>) -> Problem {
    Problem::new(Code::InvalidConfig, "the run config is wrong").faults(faults)
}

/// What stands in a run config at `ops.<a>.ops.<b>`.
pub(crate) fn at<'a>(run_config: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(run_config, |here, name| here.get("ops")?.get(name))
}

/// The JSON path of a field of a step's part of the run config: `$.ops.<a>.ops.<b>.<field>`.
pub(crate) fn place(path: &[String], field: &str) -> String {
    let ops: String = path.iter().map(|name| format!(".ops.{name}")).collect();
    format!("${ops}.{field}")
}

/// The JSON path of a resource's config.
pub(crate) fn place_of_resource(name: &str) -> String {
    format!("$.resources.{name}.config")
}

/// A run config over the job's own: objects are merged, all else is taken from the run.
pub(crate) fn merged(job: &JobDefinition, run_config: &Value) -> Value {
    fn merge(under: &Value, over: &Value) -> Value {
        match (under, over) {
            (Value::Object(under), Value::Object(over)) => {
                let mut all = under.clone();
                for (name, value) in over {
                    let value = under.get(name).map_or_else(|| value.clone(), |under| merge(under, value));
                    all.insert(name.clone(), value);
                }
                Value::Object(all)
            }
            (under, Value::Null) => under.clone(),
            (_, over) => over.clone(),
        }
    }
    merge(&job.default_config, run_config)
}

/// The JSON Schema of a job's run config.
pub(crate) fn job_schema(definitions: &Definitions, job: &JobDefinition) -> Value {
    let steps = definitions.steps_of(job);
    let used = used(definitions, &steps.iter().collect::<Vec<_>>());
    let (resources, resources_required) = resources_schema(definitions, job, &used);
    let tree = Tree::of(&steps);
    let (ops, ops_required) = tree.schema(job);
    let mut required = Vec::new();
    if !ops_required.is_empty() {
        required.push("ops");
    }
    if !resources_required.is_empty() {
        required.push("resources");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "ops": object(ops, ops_required),
            "resources": object(resources, resources_required),
            "execution": {
                "type": "object",
                "properties": {"config": {
                    "type": "object",
                    "properties": {"max_concurrent": {"type": "integer", "minimum": 1}},
                }},
            },
            "loggers": {"type": "object"},
        },
        "required": required,
        "additionalProperties": false,
    })
}

fn object(properties: Map<String, Value>, required: Vec<String>) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn resources_schema(
    definitions: &Definitions,
    job: &JobDefinition,
    used: &BTreeSet<String>,
) -> (Map<String, Value>, Vec<String>) {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for resource in &definitions.resources {
        let Some(schema) = config_schema(&resource.needs) else { continue };
        let given =
            job.default_config.get("resources").and_then(|resources| resources.get(&resource.name)?.get("config"));
        let wanted = used.contains(&resource.name) && given.is_none() && resource.requires_config();
        let inner = if wanted { vec!["config".to_owned()] } else { Vec::new() };
        properties.insert(resource.name.clone(), object(Map::from_iter([("config".to_owned(), schema)]), inner));
        if wanted {
            required.push(resource.name.clone());
        }
    }
    (properties, required)
}

/// The steps of a job by the graphs that they lie in.
#[derive(Default)]
struct Tree<'a> {
    step: Option<&'a StepDefinition>,
    inner: BTreeMap<&'a str, Self>,
}

impl<'a> Tree<'a> {
    fn of(steps: &'a [StepDefinition]) -> Self {
        let mut root = Self::default();
        for step in steps {
            let leaf = step.config_path.iter().fold(&mut root, |here, name| here.inner.entry(name).or_default());
            leaf.step = Some(step);
        }
        root
    }

    /// Properties, and which of them are required; what the job's own config says need not be said again.
    fn schema(&self, job: &JobDefinition) -> (Map<String, Value>, Vec<String>) {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, inner) in &self.inner {
            let (mut fields, mut wanted) = (Map::new(), Vec::new());
            if let Some(step) = inner.step {
                let given = at(&job.default_config, &step.config_path);
                if let Some(schema) = step.op.config_schema() {
                    fields.insert("config".to_owned(), schema);
                    if step.op.requires_config() && given.is_none_or(|given| given.get("config").is_none()) {
                        wanted.push("config".to_owned());
                    }
                }
                let open: Vec<_> = step.open_inputs().collect();
                if !open.is_empty() {
                    let value = || json!({"type": "object", "properties": {"value": {}}, "required": ["value"]});
                    let inputs = open.iter().map(|name| ((*name).to_owned(), value())).collect();
                    let needed = given.is_none_or(|given| given.get("inputs").is_none());
                    let names = if needed { open.iter().map(|name| (*name).to_owned()).collect() } else { Vec::new() };
                    fields.insert("inputs".to_owned(), object(inputs, names));
                    if needed {
                        wanted.push("inputs".to_owned());
                    }
                }
            }
            if !inner.inner.is_empty() {
                let (ops, ops_required) = inner.schema(job);
                if !ops_required.is_empty() {
                    wanted.push("ops".to_owned());
                }
                fields.insert("ops".to_owned(), object(ops, ops_required));
            }
            if !wanted.is_empty() {
                required.push((*name).to_owned());
            }
            properties.insert((*name).to_owned(), object(fields, wanted));
        }
        (properties, required)
    }

    /// What is not known, from `$.ops` down.
    fn envelope(&self, ops: &Value, path: &str, faults: &mut Vec<Fault>) {
        let names: Vec<&str> = self.inner.keys().copied().collect();
        fields(ops, path, &names, faults);
        for (name, op) in ops.as_object().into_iter().flatten() {
            let Some(inner) = self.inner.get(name.as_str()) else { continue };
            let path = format!("{path}.{name}");
            let known: &[&str] = if inner.inner.is_empty() { &["config", "inputs"] } else { &["ops", "inputs"] };
            fields(op, &path, known, faults);
            if let Some(ops) = op.get("ops") {
                inner.envelope(ops, &format!("{path}.ops"), faults);
            }
        }
    }
}

/// What is wrong with the config that a job has of its own: all but what a run has to give, and variables that are set
/// where runs work alone.
pub(crate) fn faults_of_job(definitions: &Definitions, job: &JobDefinition, steps: &[StepDefinition]) -> Vec<Fault> {
    let mut found = faults(definitions, steps, &[], &job.default_config);
    // What resources have of their own is theirs.
    found.retain(|fault| !is_unset(fault) && !of_definitions(definitions, job, fault));
    found
}

fn of_definitions(definitions: &Definitions, job: &JobDefinition, fault: &Fault) -> bool {
    let given = job.default_config.get("resources");
    definitions.resources.iter().any(|resource| {
        let is_given = given.and_then(|given| given.get(&resource.name)?.get("config")).is_some();
        !is_given && fault.path.starts_with(&place_of_resource(&resource.name))
    })
}

/// What is wrong with the config that a resource has of its own.
pub(crate) fn faults_of_resource(resource: &ResourceDefinition) -> Vec<Fault> {
    let mut found = Vec::new();
    if let Some(config) = &resource.default_config {
        let place = place_of_resource(&resource.name);
        of_config(&resource.needs, Some(config), false, &place, "resource", &mut found);
    }
    found.retain(|fault| !is_unset(fault));
    found
}

/// Every fault of a run config, with its JSON path; none where it is good. `selected` are the keys of the steps that
/// are to run: only they have to be given what they need.
pub(crate) fn faults(
    definitions: &Definitions,
    steps: &[StepDefinition],
    selected: &[String],
    run_config: &Value,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    fields(run_config, "$", &["ops", "resources", "execution", "loggers"], &mut faults);
    if let Some(ops) = run_config.get("ops") {
        Tree::of(steps).envelope(ops, "$.ops", &mut faults);
    }
    for step in steps {
        let given = at(run_config, &step.config_path);
        let is_selected = selected.contains(&step.key);
        let config = given.and_then(|given| given.get("config"));
        of_config(&step.op.needs, config, is_selected, &place(&step.config_path, "config"), "step", &mut faults);
        of_inputs(step, given, is_selected, &mut faults);
    }
    of_resources(definitions, steps, selected, run_config, &mut faults);
    of_execution(run_config, &mut faults);
    faults.sort();
    faults.dedup();
    faults
}

fn of_config(needs: &[Need], config: Option<&Value>, wanted: bool, root: &str, what: &str, faults: &mut Vec<Fault>) {
    let Some((schema, check)) = needs.iter().find_map(|need| match need {
        Need::Config { schema, check } => Some((schema, check)),
        _ => None,
    }) else {
        if config.is_some_and(|config| !config.is_null() && config != &json!({})) {
            faults.push(fault(root, &format!("this {what} takes no config"), "nothing"));
        }
        return;
    };
    match config {
        None if !wanted || !requires_config(needs) => {}
        None => faults.push(fault(root, "config is missing", &format!("an object as the {what}'s schema says"))),
        Some(config) => faults.extend(against(&schema(), *check, config, root)),
    }
}

fn of_inputs(step: &StepDefinition, given: Option<&Value>, is_selected: bool, faults: &mut Vec<Fault>) {
    let open: Vec<&str> = step.open_inputs().collect();
    let root = place(&step.config_path, "inputs");
    let inputs = given.and_then(|given| given.get("inputs"));
    if let Some(inputs) = inputs {
        fields(inputs, &root, &open, faults);
    }
    for name in open {
        let path = format!("{root}.{name}.value");
        match inputs.and_then(|inputs| inputs.get(name)?.get("value")) {
            None if is_selected => faults.push(fault(&path, "a value is missing", "the input's value")),
            None => {}
            Some(value) => {
                if let Some(Err(found)) = step.codec_of(name).map(|codec| codec.read(value, &path)) {
                    faults.push(found);
                }
            }
        }
    }
}

fn of_resources(
    definitions: &Definitions,
    steps: &[StepDefinition],
    selected: &[String],
    run_config: &Value,
    faults: &mut Vec<Fault>,
) {
    let given = run_config.get("resources");
    let names: Vec<&str> = definitions.resources.iter().map(|resource| resource.name.as_str()).collect();
    if let Some(given) = given {
        fields(given, "$.resources", &names, faults);
    }
    let selected: Vec<_> = steps.iter().filter(|step| selected.contains(&step.key)).collect();
    let used = used(definitions, &selected);
    for resource in &definitions.resources {
        let own = given.and_then(|given| given.get(&resource.name));
        if let Some(own) = own {
            fields(own, &format!("$.resources.{}", resource.name), &["config"], faults);
        }
        let config = own.and_then(|own| own.get("config")).or(resource.default_config.as_ref());
        let wanted = used.contains(&resource.name);
        of_config(&resource.needs, config, wanted, &place_of_resource(&resource.name), "resource", faults);
    }
}

fn of_execution(run_config: &Value, faults: &mut Vec<Fault>) {
    let Some(execution) = run_config.get("execution") else { return };
    fields(execution, "$.execution", &["config"], faults);
    let Some(config) = execution.get("config") else { return };
    let known = ["max_concurrent", "tag_concurrency_limits", "multiprocess", "in_process"];
    fields(config, "$.execution.config", &known, faults);
    let number = config.get("max_concurrent").filter(|number| number.as_u64().is_none_or(|number| number == 0));
    if number.is_some() {
        faults.push(fault("$.execution.config.max_concurrent", "this is no number of steps", "a whole number from 1"));
    }
}

/// Faults of what is no object, or has fields that are not known.
fn fields(value: &Value, path: &str, known: &[&str], faults: &mut Vec<Fault>) {
    let allowed = || if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
    match value {
        Value::Null => {}
        Value::Object(map) => {
            let unknown = map.keys().filter(|name| !known.contains(&name.as_str()));
            faults.extend(unknown.map(|name| fault(&format!("{path}.{name}"), "this field is not known", &allowed())));
        }
        _ => faults.push(fault(path, "an object is expected here", &allowed())),
    }
}

fn against(schema: &Value, check: fn(&Value) -> Result<(), Fault>, config: &Value, root: &str) -> Vec<Fault> {
    let resolved = match resolve(schema, config, root) {
        Ok(resolved) => resolved,
        Err(faults) => return faults,
    };
    match check(&resolved.value) {
        Ok(()) => Vec::new(),
        Err(found) => {
            let path = format!("{root}{}", found.path.trim_start_matches('$'));
            vec![resolved.masked(Fault { path, ..found })]
        }
    }
}

/// Reads config as `T`, with the values of environment variables in the place of `{"env": "NAME"}`.
pub(crate) fn read_resolved<T: DeserializeOwned>(config: &Value, schema: &Value, root: &str) -> Result<T, Fault> {
    let resolved = match resolve(schema, config, root) {
        Ok(resolved) => resolved,
        Err(faults) => return Err(faults.into_iter().next().unwrap_or_else(|| fault(root, "config is wrong", ""))),
    };
    read(&resolved.value, root).map_err(|found| resolved.masked(found))
}

pub(crate) fn fault(path: &str, what: &str, allowed: &str) -> Fault {
    Fault { path: path.to_owned(), what: what.to_owned(), allowed: allowed.to_owned() }
}
