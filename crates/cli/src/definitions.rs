//! `catchment asset`, `job`, `check`: what code locations define, and runs of it.

use std::io::Read as _;
use std::path::Path;

use catchment_model::{Code, Problem};
use catchment_web::views::{AssetDefinition, AssetDefinitionList, CheckList, CheckView, JobList, RunView};
use serde_json::{Map, Value, json};

use crate::args::{AssetCommand, CheckCommand, InLocation, JobCommand, RunArgs};
use crate::dataset::segment;
use crate::{Context, humane, report};

/// Carries a command under `catchment asset` out; answers the exit code.
pub(crate) async fn asset(command: AssetCommand, context: &Context) -> Result<u8, Problem> {
    let api = context.api()?;
    match command {
        AssetCommand::List { selection, place } => {
            let mut query = place.query();
            query.extend(selection.map(|selection| ("selection", selection)));
            let list: AssetDefinitionList = api.get("/assets", &query).await?;
            context.show(&list, print_assets).map(|()| 0)
        }
        AssetCommand::Show { key, place } => {
            let asset: AssetDefinition = api.get(&format!("/assets/{}", segment(&key)), &place.query()).await?;
            context.show(&asset, print_asset).map(|()| 0)
        }
        AssetCommand::Materialize { selection, run } => {
            let mut body = run.body()?;
            body.insert("selection".into(), selection.into());
            launched(context, "/materializations", body, run.wait).await
        }
    }
}

/// Carries a command under `catchment job` out; answers the exit code.
pub(crate) async fn job(command: JobCommand, context: &Context) -> Result<u8, Problem> {
    let api = context.api()?;
    match command {
        JobCommand::List { place } => {
            let list: JobList = api.get("/jobs", &place.query()).await?;
            context.show(&list, print_jobs).map(|()| 0)
        }
        JobCommand::Launch { name, steps, run } => {
            let mut body = run.body()?;
            body.insert("steps".into(), json!(steps));
            launched(context, &format!("/jobs/{}/launch", segment(&name)), body, run.wait).await
        }
    }
}

/// Carries a command under `catchment check` out.
pub(crate) async fn check(command: CheckCommand, context: &Context) -> Result<(), Problem> {
    let CheckCommand::List { place } = command;
    let list: CheckList = context.api()?.get("/checks", &place.query()).await?;
    context.show(&list, |list| print_checks(&list.checks))
}

impl InLocation {
    /// As a query.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        self.location.iter().map(|location| ("location", location.clone())).collect()
    }
}

impl RunArgs {
    /// As the body of a request.
    fn body(&self) -> Result<Map<String, Value>, Problem> {
        let mut body = Map::new();
        body.insert("run_config".into(), config(self.config.as_deref())?);
        body.insert("tags".into(), tags(&self.tags)?);
        body.insert("partition_key".into(), json!(self.partition));
        body.insert("location".into(), json!(self.place.location));
        Ok(body)
    }
}

/// Run config from a file.
pub(crate) fn config(path: Option<&Path>) -> Result<Value, Problem> {
    let Some(path) = path else { return Ok(Value::Null) };
    let place = path.display().to_string();
    let mut text = String::new();
    let read = if place == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|found| text = found)
    };
    read.map_err(|e| {
        Problem::new(Code::FileNotFound, "the run config cannot be read").place(place.clone()).cause(e.to_string())
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Problem::new(Code::InvalidInput, "the run config is not JSON")
            .place(place)
            .cause(e.to_string())
            .remedy(r#"write it like {"ops": {"my_op": {"config": {…}}}}"#)
    })
}

/// Tags as `KEY=VALUE`.
pub(crate) fn tags(texts: &[String]) -> Result<Value, Problem> {
    let mut tags = Map::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Problem::new(Code::InvalidInput, format!("`{text}` is no tag"))
                .place("--tag")
                .remedy("write KEY=VALUE"));
        };
        tags.insert(key.to_owned(), value.into());
    }
    Ok(tags.into())
}

/// Makes a run and says so; waits for its end where asked to.
pub(crate) async fn launched(
    context: &Context,
    path: &str,
    body: Map<String, Value>,
    wait: bool,
) -> Result<u8, Problem> {
    let api = context.api()?;
    let mut run: RunView = api.post(path, &body).await?;
    if !wait {
        context.show(&run, |run| {
            println!("run {} of {} is {}", run.run_id, run.job_name, run.status);
            println!("follow it: catchment run logs {} --follow", run.run_id.get(..8).unwrap_or(&run.run_id));
        })?;
        return Ok(0);
    }
    let mut after = 0;
    while !run.ended {
        let query = [("after", i64::to_string(&after)), ("wait_ms", "20000".into())];
        let events: catchment_web::views::EventList = api.get(&format!("/runs/{}/events", run.run_id), &query).await?;
        after = events.cursor;
        if events.ended {
            run = api.get(&format!("/runs/{}", run.run_id), &[]).await?;
        }
    }
    let failed = run.status != "SUCCESS";
    context.show(&run, |run| {
        println!("run {} of {}: {}", run.run_id, run.job_name, run.status);
        if let Some(problem) = &run.problem {
            print!("{}", report::render(problem, false));
        }
    })?;
    Ok(u8::from(failed))
}

fn print_assets(list: &AssetDefinitionList) {
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

fn print_asset(asset: &AssetDefinition) {
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
    ]);
    if !asset.checks.is_empty() {
        println!();
        print_checks(&asset.checks);
    }
}

fn print_checks(checks: &[CheckView]) {
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

fn print_jobs(list: &JobList) {
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
