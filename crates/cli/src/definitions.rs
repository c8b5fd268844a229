//! `catchment asset`, `job`, `check`: what code locations define, and runs of it.

mod print;

use std::io::Read as _;
use std::path::Path;

use catchment_model::{Code, Problem};
use catchment_web::views::{
    AssetDefinition, AssetDefinitionList, CheckExecutionList, CheckList, EvaluationList, JobList, RunView, Wiped,
};
use serde_json::{Map, Value, json};

use crate::args::{AssetCommand, CheckCommand, InLocation, JobCommand, RunArgs};
use crate::dataset::segment;
use crate::{Context, report};
use print::{print_asset, print_assets, print_checks, print_evaluations, print_executions, print_jobs, print_wiped};

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
        AssetCommand::Evaluations { key, limit } => {
            let query = [("key", key), ("limit", limit.to_string())];
            let list: EvaluationList = api.get("/evaluations", &query).await?;
            context.show(&list, print_evaluations).map(|()| 0)
        }
        AssetCommand::Wipe { key, partitions } => {
            let body = json!({"asset_key": key, "partitions": partitions});
            let wiped: Wiped = api.post("/wipes", &body).await?;
            context.show(&wiped, print_wiped).map(|()| 0)
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

/// Carries a command under `catchment check` out; answers the exit code.
pub(crate) async fn check(command: CheckCommand, context: &Context) -> Result<u8, Problem> {
    let api = context.api()?;
    match command {
        CheckCommand::List { place } => {
            let list: CheckList = api.get("/checks", &place.query()).await?;
            context.show(&list, |list| print_checks(&list.checks)).map(|()| 0)
        }
        CheckCommand::Run { asset, check, run } => {
            let mut body = run.body()?;
            body.insert("checks".into(), json!([format!("{asset}:{check}")]));
            launched(context, "/materializations", body, run.wait).await
        }
        CheckCommand::Executions { asset, check, limit } => {
            let query = [("asset_key", asset), ("name", check), ("limit", limit.to_string())];
            let list: CheckExecutionList = api.get("/checks/executions", &query).await?;
            context.show(&list, print_executions).map(|()| 0)
        }
    }
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
