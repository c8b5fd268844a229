//! What `check` finds before anything runs.

mod needs;

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::definitions::SensorKind;
use catchment_core::mapping::Sides;
use catchment_core::partitions::{PartitionContext, PartitionSubset};
use catchment_core::run::Selection;
use catchment_model::{Code, Problem};
use catchment_settings::clock;

use crate::asset::AssetDefinition;
use crate::config;
use crate::definitions::Definitions;
use crate::extract::Need;
use crate::io_manager::not_stored;
use crate::job::{JobDefinition, JobOf};
use crate::lower::{InputSource, StepDefinition, StepOutputRef};
use crate::op::OpDefinition;
use crate::output::PortKind;
use crate::plan::Plan;
use crate::resource::wrong_type;
use needs::{circles, resources};

/// Everything that is wrong, in the order of the definitions.
pub(crate) fn faults(definitions: &Definitions) -> Vec<Problem> {
    let mut found = Vec::new();
    names(definitions, &mut found);
    for partitions in definitions.all_partitions() {
        found.extend(partitions.definition().err());
    }
    for asset in &definitions.assets {
        check_asset(definitions, asset, &mut found);
    }
    for check in &definitions.checks {
        let place = format!("check {}", check.spec.key());
        found.extend(check.problems.iter().map(|problem| problem.clone().place(place.clone())));
        for key in [&check.spec.asset_key].into_iter().chain(&check.deps) {
            if !definitions.knows_asset(key) {
                found.push(unknown_asset(key, &place));
            }
        }
        values_of_assets(definitions, &check.op, &place, &mut found);
        check_op(definitions, &check.op, &place, &mut found);
    }
    for job in &definitions.jobs {
        check_job(definitions, job, &mut found);
    }
    check_all_assets(definitions, &mut found);
    for sensor in &definitions.sensors {
        check_sensor(definitions, &sensor.spec.name, &sensor.needs, &mut found);
        let place = format!("sensor {}", sensor.spec.name);
        found.extend(
            sensor.spec.jobs.iter().filter_map(|job| Some(definitions.find_job(job).err()?.place(place.clone()))),
        );
        found.extend(
            sensor.spec.assets.iter().filter(|k| !definitions.knows_asset(k)).map(|k| unknown_asset(k, &place)),
        );
        if let SensorKind::RunStatus { monitored_jobs, monitor_all_locations: false, .. } = &sensor.spec.kind {
            let unknown = monitored_jobs.iter().filter_map(|job| definitions.find_job(job).err());
            found.extend(unknown.map(|problem| problem.place(place.clone())));
        }
        let (SensorKind::Asset { assets } | SensorKind::Automation { assets }) = &sensor.spec.kind else { continue };
        // An asset sensor may follow assets of another location; automation decides about this one's own.
        let own = matches!(sensor.spec.kind, SensorKind::Automation { .. });
        found.extend(assets.iter().filter(|k| own && !definitions.knows_asset(k)).map(|k| unknown_asset(k, &place)));
    }
    for schedule in &definitions.schedules {
        let place = format!("schedule {}", schedule.name);
        resources(definitions, &schedule.needs, &place, &mut found);
        match definitions.find_job(&schedule.job) {
            Err(problem) => found.push(problem.place(place)),
            Ok(_) => found.extend(definitions.schedule_spec(schedule).err().map(|problem| problem.place(place))),
        }
    }
    for (sensor, handler) in &definitions.claim_handlers {
        let place = format!("claim handler of {sensor}");
        resources(definitions, &handler.needs, &place, &mut found);
        found.extend(definitions.find_sensor(sensor).err().map(|problem| problem.place(place)));
    }
    for resource in &definitions.resources {
        let place = format!("resource {}", resource.name);
        resources(definitions, &resource.needs, &place, &mut found);
        let faults = config::faults_of_resource(resource);
        if !faults.is_empty() {
            found.push(wrong("the config that it has of its own is wrong", &place).faults(faults));
        }
    }
    found.extend(circles(definitions));
    found
}

fn names(definitions: &Definitions, found: &mut Vec<Problem>) {
    let mut unique = |what: &str, names: Vec<String>| {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name.clone()) {
                found.push(wrong(&format!("the {what} `{name}` is defined twice"), &name).remedy("rename one of them"));
            }
        }
    };
    let all = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let external = definitions.external_assets.iter().map(|asset| asset.key.as_str());
    unique("asset", all(definitions.asset_keys().into_iter().chain(external).collect()));
    let own = definitions.assets.iter().flat_map(|asset| &asset.checks);
    unique("check", own.chain(definitions.checks.iter().map(|check| &check.spec)).map(|check| check.key()).collect());
    unique("job", definitions.jobs.iter().map(|job| job.name.clone()).collect());
    unique("sensor", definitions.sensors.iter().map(|sensor| sensor.spec.name.clone()).collect());
    unique("schedule", definitions.schedules.iter().map(|schedule| schedule.name.clone()).collect());
    unique("resource", definitions.resources.iter().map(|resource| resource.name.clone()).collect());
    unique("partitions definition", all(definitions.all_partitions().iter().map(|p| p.name()).collect()));
    unique("claim handler", definitions.claim_handlers.iter().map(|(sensor, _)| sensor.clone()).collect());
}

fn check_asset(definitions: &Definitions, asset: &AssetDefinition, found: &mut Vec<Problem>) {
    let place = format!("asset {}", asset.key());
    found.extend(asset.problems.iter().map(|problem| problem.clone().place(place.clone())));
    let deps: BTreeSet<&String> = asset.specs.iter().flat_map(|spec| &spec.deps).collect();
    for key in asset.specs.first().into_iter().flat_map(|spec| &spec.deps).chain(deps) {
        if !definitions.knows_asset(key) && !found.contains(&unknown_asset(key, &place)) {
            found.push(unknown_asset(key, &place));
        }
    }
    values_of_assets(definitions, &asset.op, &place, found);
    check_op(definitions, &asset.op, &place, found);
    check_mappings(definitions, asset, &place, found);
    if asset.op.is_dynamic() {
        found.push(
            wrong("an asset is one value, and its function gives dynamic outputs", &place)
                .remedy("return the values as one, such as a Vec; or fan out in a job of ops"),
        );
    }
    if asset.specs.len() != asset.op.outputs.len() {
        found.push(wrong("it has another number of assets than its function has outputs", &place));
    }
    let staged = asset.op.outputs.iter().any(|output| output.kind == PortKind::Staged);
    if asset.partitions.is_none() && (staged || asset.op.needs.iter().any(|need| matches!(need, Need::Partition))) {
        found.push(
            wrong("it needs a partition, and has no partitions definition", &place)
                .cause("a staged file is committed to the dataset that is the run's partition")
                .remedy("add `partitions = …`"),
        );
    }
}

/// Mappings are of assets that it needs, and fit the partitions of both.
fn check_mappings(definitions: &Definitions, asset: &AssetDefinition, place: &str, found: &mut Vec<Problem>) {
    let dynamic: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let cx = PartitionContext { now: clock::now(), dynamic: &dynamic };
    let mut told = BTreeSet::new();
    for (spec, (upstream, mapping)) in asset.specs.iter().flat_map(|s| s.mappings.iter().map(move |m| (s, m))) {
        if !told.insert(upstream) {
            continue;
        }
        if !spec.deps.contains(upstream) {
            let deps = if spec.deps.is_empty() { "nothing".to_owned() } else { spec.deps.join(", ") };
            found.push(
                wrong(&format!("it has a mapping of `{upstream}`, which it does not need"), place)
                    .cause(format!("it needs: {deps}"))
                    .remedy("name one of these, or take the asset by an argument or `deps`"),
            );
            continue;
        }
        let partitions = |name: &Option<String>| name.as_ref().and_then(|name| definitions.partitions_named(name));
        let external = || definitions.external_assets.iter().find(|other| other.key == *upstream);
        let made = definitions.asset(upstream).map(|(_, spec)| spec).or_else(external);
        let (up, down) = (partitions(&made.and_then(|made| made.partitions.clone())), partitions(&spec.partitions));
        let sides = Sides { upstream: up.as_ref(), downstream: down.as_ref() };
        // Any key shows whether the two fit; partitions that are dynamic may have none yet.
        let key = down.as_ref().and_then(|down| down.last_key(cx)).unwrap_or_else(|| "any".to_owned());
        if let Err(problem) = mapping.upstream_keys(&PartitionSubset::of([key]), sides, cx) {
            let what = format!("its mapping of `{upstream}` does not fit: {}", problem.what);
            found.push(Problem { what, code: Code::InvalidConfig, ..problem }.place(place));
        }
    }
}

/// Values that are taken of assets have the type that these assets have.
fn values_of_assets(definitions: &Definitions, op: &OpDefinition, place: &str, found: &mut Vec<Problem>) {
    for need in op.inputs() {
        let Need::Input { name, type_id, type_name, codec, .. } = need else { continue };
        let Some((upstream, spec)) = definitions.asset(name) else {
            if definitions.knows_asset(name) && codec.is_none() {
                found.push(not_stored(name, type_name, place));
            }
            continue;
        };
        let Some((_, output)) = upstream.outputs().find(|(own, _)| own.key == spec.key) else { continue };
        if output.type_id != *type_id {
            let is = output.type_name;
            found.push(
                wrong(&format!("the asset `{name}` gives a {is}, not a {type_name}"), place)
                    .remedy(format!("take `Input<{is}>`")),
            );
        }
    }
}

fn unknown_asset(key: &str, place: &str) -> Problem {
    wrong(&format!("it needs the asset `{key}`, which is not defined"), place)
        .remedy("add that asset to the definitions, or name the argument's asset by #[from(\"…\")]")
}

/// What holds for every step: resources, config, IO managers.
fn check_op(definitions: &Definitions, op: &OpDefinition, place: &str, found: &mut Vec<Problem>) {
    resources(definitions, &op.needs, place, found);
    if op.needs.iter().filter(|need| matches!(need, Need::Config { .. })).count() > 1 {
        found.push(wrong("it takes config twice", place).remedy("put both into one type"));
    }
    for hook in &op.settings.hooks {
        resources(definitions, &hook.needs, &format!("hook {} of {place}", hook.name), found);
    }
    for output in &op.outputs {
        let Some(name) = &output.io_manager else { continue };
        match definitions.resources.iter().find(|resource| resource.name == *name) {
            Some(resource) if resource.is_io_manager() => {}
            Some(resource) => found.push(wrong_type(name, resource.type_name, "IO manager").place(place)),
            None => found.push(
                wrong(&format!("its IO manager `{name}` is not defined"), place)
                    .remedy(format!("add `.io_manager(\"{name}\", …)` to the definitions")),
            ),
        }
    }
}

/// All assets together can be planned: without, none of them could be launched on its own.
fn check_all_assets(definitions: &Definitions, found: &mut Vec<Problem>) {
    if definitions.assets.is_empty() {
        return;
    }
    unique_keys(&definitions.steps_of(&definitions.asset_job()), "all assets", found);
    if let Err(problem) = Plan::of(definitions, &definitions.asset_job(), &Selection::default()) {
        let place = problem.place.as_ref().map_or("all assets".to_owned(), |steps| format!("assets {steps}"));
        found.push(problem.place(place));
    }
}

/// Each step has a key of its own: events, config and re-execution know it by that.
fn unique_keys(steps: &[StepDefinition], place: &str, found: &mut Vec<Problem>) {
    let mut seen: BTreeMap<&str, &StepDefinition> = BTreeMap::new();
    for step in steps {
        if let Some(first) = seen.insert(&step.key, step) {
            found.push(
                wrong(&format!("two steps have the key `{}`", step.key), place)
                    .cause(format!("it is that of {} and of {}", about(first), about(step)))
                    .remedy("name one of them otherwise: a function, a check (`name = …`), an alias in a graph"),
            );
        }
    }
}

/// What a step makes or looks at.
fn about(step: &StepDefinition) -> String {
    let assets: Vec<_> = step.assets.iter().map(|asset| format!("`{}`", asset.key)).collect();
    match step.checks.first().filter(|_| step.is_check) {
        Some(check) => format!("the check `{}` of `{}`", check.name, check.asset_key),
        None if assets.is_empty() => format!("the op `{}`", step.op.name),
        None => format!("the asset {}", assets.join(", ")),
    }
}

fn check_job(definitions: &Definitions, job: &JobDefinition, found: &mut Vec<Problem>) {
    let place = format!("job {}", job.name);
    if let Err(problem) = Plan::of(definitions, job, &Selection::default()) {
        found.push(Problem { place: Some(place.clone()), ..problem });
    }
    let partitions = definitions.partitions_of(job);
    if partitions.len() > 1 {
        let names: Vec<_> = partitions.into_iter().collect();
        found.push(
            wrong("its assets have different partitions", &place)
                .cause(names.join(", "))
                .remedy("make a job for each of them"),
        );
    }
    let steps = definitions.steps_of(job);
    let faults = config::faults_of_job(definitions, job, &steps);
    if !faults.is_empty() {
        found.push(wrong("the config that it has of its own is wrong", &place).faults(faults));
    }
    for hook in &job.hooks {
        resources(definitions, &hook.needs, &format!("hook {} of {place}", hook.name), found);
    }
    if let JobOf::Graph(_) = &job.of {
        unique_keys(&steps, &place, found);
        for step in &steps {
            check_op(definitions, &step.op, &format!("{place}, op {}", step.key), found);
            check_wires(step, &steps, &place, found);
        }
    } else {
        check_inputs(&steps.iter().collect::<Vec<_>>(), &place, found);
    }
}

/// What is wired to an input is there, and of its type.
fn check_wires(step: &StepDefinition, steps: &[StepDefinition], job: &str, found: &mut Vec<Problem>) {
    let place = format!("{job}, op {}", step.key);
    let type_of = |output: &StepOutputRef| {
        let maker = steps.iter().find(|other| other.key == output.step)?;
        maker.op.outputs.iter().find(|port| port.name == output.output)
    };
    for input in &step.inputs {
        let wanted = step.op.inputs().find_map(|need| match need {
            Need::Input { name, type_id, type_name, codec, .. } if *name == input.name => {
                Some((*type_id, *type_name, codec))
            }
            _ => None,
        });
        let Some((type_id, type_name, codec)) = wanted else { continue };
        if input.source == InputSource::Config && codec.is_none() {
            found.push(
                wrong(&format!("nothing is wired to its input `{}`", input.name), &place)
                    .cause(format!("{type_name} cannot be read from run config"))
                    .remedy("wire an output to it, or derive serde's Serialize and Deserialize for its type"),
            );
        }
        for output in input.source.steps() {
            match type_of(output) {
                None => found.push(
                    wrong(&format!("the op `{}` has no output `{}`", output.step, output.output), &place)
                        .remedy("name one of its outputs"),
                ),
                Some(port) if port.type_id != type_id => found.push(
                    wrong(&format!("`{}` gives a {}, not a {type_name}", output.step, port.type_name), &place)
                        .remedy(format!("let `{}` take `Input<{}>`", input.name, port.type_name)),
                ),
                Some(_) => {}
            }
        }
    }
}

fn check_sensor(definitions: &Definitions, name: &str, needs: &[Need], found: &mut Vec<Problem>) {
    resources(definitions, needs, &format!("sensor {name}"), found);
}

/// Each value that steps take of an asset has to be made beside them, or kept by an IO manager.
pub(crate) fn check_inputs(steps: &[&StepDefinition], place: &str, found: &mut Vec<Problem>) {
    for step in steps {
        let made = |key: &str| {
            let mut others = steps.iter().filter(|other| other.key != step.key);
            others.any(|other| other.assets.iter().any(|asset| asset.key == key))
        };
        for input in &step.inputs {
            let InputSource::Asset(upstream) = &input.source else { continue };
            if !made(upstream) && step.codec_of(&input.name).is_none() {
                let what = format!("`{}` takes the value of `{upstream}`, which is not made beside it", step.key);
                found.push(wrong(&what, place).remedy(format!(
                    "add `{upstream}` to its assets, or derive serde's Serialize and Deserialize for its value"
                )));
            }
        }
    }
}

fn wrong(what: &str, place: &str) -> Problem {
    Problem::new(Code::InvalidConfig, what).place(place)
}
