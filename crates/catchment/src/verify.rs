//! What `check` finds before anything runs.

use std::collections::BTreeSet;

use catchment_model::{Code, Problem};

use crate::asset::AssetDefinition;
use crate::definitions::Definitions;
use crate::extract::Need;
use crate::plan::Plan;
use crate::resource::{missing_resource, wrong_type};

/// Everything that is wrong, in the order of the definitions.
pub(crate) fn faults(definitions: &Definitions) -> Vec<Problem> {
    let mut found = Vec::new();
    names(definitions, &mut found);
    for asset in &definitions.assets {
        check_asset(definitions, asset, &mut found);
        let place = format!("asset {}", asset.key);
        resources(definitions, &asset.needs, &place, &mut found);
    }
    for job in &definitions.jobs {
        let place = format!("job {}", job.name);
        if let Err(problem) = Plan::of(definitions, &job.assets) {
            found.push(Problem { place: Some(place.clone()), ..problem });
        }
        let partitions = definitions.partitions_of(&job.assets);
        if partitions.len() > 1 {
            let names: Vec<_> = partitions.into_iter().collect();
            found.push(
                wrong("its assets have different partitions", &place)
                    .cause(names.join(", "))
                    .remedy("make a job for each of them"),
            );
        }
        check_inputs(definitions, &job.assets, &place, &mut found);
    }
    for sensor in &definitions.sensors {
        let place = format!("sensor {}", sensor.spec.name);
        resources(definitions, &sensor.needs, &place, &mut found);
        for job in &sensor.spec.jobs {
            if let Err(problem) = definitions.find_job(job) {
                found.push(problem.place(place.clone()));
            }
        }
    }
    for (sensor, handler) in &definitions.claim_handlers {
        let place = format!("claim handler of {sensor}");
        resources(definitions, &handler.needs, &place, &mut found);
        if let Err(problem) = definitions.find_sensor(sensor) {
            found.push(problem.place(place));
        }
    }
    found
}

fn names(definitions: &Definitions, found: &mut Vec<Problem>) {
    let mut unique = |what: &str, names: Vec<&str>| {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                found.push(wrong(&format!("the {what} `{name}` is defined twice"), name).remedy("rename one of them"));
            }
        }
    };
    unique("asset", definitions.assets.iter().map(AssetDefinition::key).collect());
    unique("job", definitions.jobs.iter().map(|job| job.name.as_str()).collect());
    unique("sensor", definitions.sensors.iter().map(|sensor| sensor.spec.name.as_str()).collect());
    unique("resource", definitions.resources.iter().map(|resource| resource.name.as_str()).collect());
    unique("partitions definition", definitions.partitions.iter().map(|partitions| partitions.name()).collect());
    unique("claim handler", definitions.claim_handlers.iter().map(|(sensor, _)| sensor.as_str()).collect());
}

fn check_asset(definitions: &Definitions, asset: &AssetDefinition, found: &mut Vec<Problem>) {
    let place = format!("asset {}", asset.key);
    for key in asset.upstream() {
        if definitions.asset(key).is_none() {
            found.push(
                wrong(&format!("it needs the asset `{key}`, which is not defined"), &place)
                    .remedy("add that asset to the definitions, or name the argument's asset by #[from(\"…\")]"),
            );
        }
    }
    for need in &asset.needs {
        if let Need::Input { asset: key, type_id, type_name } = need
            && let Some(upstream) = definitions.asset(key)
            && upstream.seen_as.0 != *type_id
        {
            let is = upstream.seen_as.1;
            found.push(
                wrong(&format!("the asset `{key}` gives a {is}, not a {type_name}"), &place)
                    .remedy(format!("take `Input<{is}>`")),
            );
        }
    }
    if asset.needs.iter().filter(|need| matches!(need, Need::Config { .. })).count() > 1 {
        found.push(wrong("it takes config twice", &place).remedy("put both into one type"));
    }
    let needs_partition = asset.staged || asset.needs.iter().any(|need| matches!(need, Need::Partition));
    match &asset.partitions {
        None if needs_partition => found.push(
            wrong("it needs a partition, and has no partitions definition", &place)
                .cause("a staged file is committed to the dataset that is the run's partition")
                .remedy("add `partitions = …`"),
        ),
        Some(name) if !definitions.partitions.iter().any(|partitions| partitions.name() == name) => found.push(
            wrong(&format!("its partitions definition `{name}` is not defined"), &place)
                .remedy("add it to the definitions by `.partitions(…)`"),
        ),
        _ => {}
    }
}

/// Each value that a selection's assets take has to be made in the same selection.
pub(crate) fn check_inputs(definitions: &Definitions, assets: &[String], place: &str, found: &mut Vec<Problem>) {
    for asset in assets.iter().filter_map(|key| definitions.asset(key)) {
        for need in &asset.needs {
            if let Need::Input { asset: upstream, .. } = need
                && !assets.contains(upstream)
            {
                let what = format!("`{}` takes the value of `{upstream}`, which is not made beside it", asset.key);
                found.push(wrong(&what, place).remedy(format!("add `{upstream}` to its assets")));
            }
        }
    }
}

fn resources(definitions: &Definitions, needs: &[Need], place: &str, found: &mut Vec<Problem>) {
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

fn wrong(what: &str, place: &str) -> Problem {
    Problem::new(Code::InvalidConfig, what).place(place)
}
