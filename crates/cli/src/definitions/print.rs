//! What is said to people of definitions and what became of them.

use catchment_web::views::{
    AssetDefinition, AssetDefinitionList, CheckExecutionList, CheckView, EvaluationList, EvaluationView, JobList, Wiped,
};

use crate::humane;

pub(super) fn print_assets(list: &AssetDefinitionList) {
    if list.assets.is_empty() {
        println!("No assets. See `catchment location list`.");
        return;
    }
    let mut table = humane::table(&["asset", "group", "needs", "partitions", "made", "location"]);
    for asset in &list.assets {
        table.add_row([
            asset.key.clone(),
            asset.group.clone(),
            asset.deps.join(", "),
            humane::or_dash(asset.partitions.clone()),
            match (&asset.in_progress, asset.materialized_at) {
                (Some(_), _) => "is being made".to_owned(),
                (None, at) => humane::or_dash(at.map(humane::time)),
            },
            asset.location.clone(),
        ]);
    }
    println!("{table}");
}

pub(super) fn print_asset(asset: &AssetDefinition) {
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
    };
    humane::facts(&[
        ("asset", asset.key.clone()),
        ("what", asset.description.clone()),
        ("location", asset.location.clone()),
        ("group", asset.group.clone()),
        ("kinds", asset.kinds.join(", ")),
        ("needs", asset.deps.join(", ")),
        ("partitions", humane::or_dash(asset.partitions.clone())),
        ("stand", humane::or_dash(asset.partition_counts.as_ref().map(counts))),
        ("made", humane::or_dash(asset.materialized_at.map(humane::time))),
        ("by run", humane::or_dash(asset.materialized_by.clone())),
        ("data version", humane::or_dash(asset.data_version.clone())),
        ("freshness", humane::or_dash(asset.freshness.as_ref().map(|freshness| freshness.state.clone()))),
        ("automation", humane::or_dash(asset.evaluation.as_ref().map(evaluated))),
    ]);
    if !asset.checks.is_empty() {
        println!();
        print_checks(&asset.checks);
    }
}

pub(super) fn print_checks(checks: &[CheckView]) {
    if checks.is_empty() {
        println!("No checks are defined.");
        return;
    }
    let mut table = humane::table(&["asset", "check", "status", "evaluated", "blocking", "location"]);
    for check in checks {
        table.add_row([
            check.asset_key.clone(),
            check.name.clone(),
            humane::or_dash(check.status.clone()),
            humane::or_dash(check.evaluated_at.map(humane::time)),
            if check.blocking { "yes".into() } else { "no".into() },
            check.location.clone(),
        ]);
    }
    println!("{table}");
}

pub(super) fn print_executions(list: &CheckExecutionList) {
    if list.executions.is_empty() {
        println!("It was never evaluated.");
        return;
    }
    let mut table = humane::table(&["status", "when", "partition", "severity", "what", "run"]);
    for one in &list.executions {
        table.add_row([
            one.status.clone(),
            humane::time(one.timestamp),
            humane::or_dash(one.partition.clone()),
            humane::or_dash(one.severity.clone()),
            humane::or_dash(one.description.clone()),
            one.run_id.get(..8).unwrap_or(&one.run_id).to_owned(),
        ]);
    }
    println!("{table}");
}

fn evaluated(one: &EvaluationView) -> String {
    format!("asked for {} at {} (tick {})", one.requested, humane::time(one.timestamp), one.tick)
}

pub(super) fn print_evaluations(list: &EvaluationList) {
    if list.evaluations.is_empty() {
        println!("No evaluations: it has no automation condition, or its sensor rests.");
        return;
    }
    for one in &list.evaluations {
        println!("{}", evaluated(one));
    }
}

pub(super) fn print_wiped(wiped: &Wiped) {
    match wiped.partitions.as_slice() {
        [] => println!("{} counts as never made", wiped.asset_key),
        some => println!("{} partitions of {} count as never made", some.len(), wiped.asset_key),
    }
}

pub(super) fn print_jobs(list: &JobList) {
    if list.jobs.is_empty() {
        println!("No jobs. See `catchment location list`.");
        return;
    }
    let mut table = humane::table(&["job", "steps", "partitions", "what", "location"]);
    for job in &list.jobs {
        table.add_row([
            job.name.clone(),
            job.steps.join(", "),
            humane::or_dash(job.partitions.clone()),
            job.description.clone(),
            job.location.clone(),
        ]);
    }
    println!("{table}");
}
