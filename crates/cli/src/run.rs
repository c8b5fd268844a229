//! `catchment run`: list, show, logs, cancel.

use std::io::Write as _;

use catchment_model::{Code, Problem};
use catchment_web::views::{EventList, EventView, RunList, RunView};
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::json;

use crate::args::{RawStream, RunCommand};
use crate::client::{Api, chain};
use crate::definitions::launched;
use crate::{Context, humane, report};

/// Carries a command under `catchment run` out; answers the exit code.
pub(crate) async fn carry_out(command: RunCommand, context: &Context) -> Result<u8, Problem> {
    let api = context.api()?;
    let done = match command {
        RunCommand::List { status, job, dataset, batch_id, limit, before } => {
            let query: Vec<(&str, String)> = [
                ("status", status),
                ("job", job),
                ("partition", dataset),
                ("batch_id", batch_id),
                ("before", before),
                ("limit", Some(limit.to_string())),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
            let list: RunList = api.get("/runs", &query).await?;
            context.show(&list, print_list)
        }
        RunCommand::Show { id } => show(&api, &id, context).await,
        RunCommand::Logs { id, follow, raw } => {
            let id = whole_id(&api, &id).await?;
            match raw {
                None => logs(&api, &id, follow, context.global.json).await,
                Some(stream) => raw_logs(&api, &id, stream, follow).await,
            }
        }
        RunCommand::Cancel { id, force } => {
            let id = whole_id(&api, &id).await?;
            let run: RunView = api.post(&format!("/runs/{id}/cancel"), &json!({"force": force})).await?;
            context.show(&run, |run| println!("run {} is {}", run.run_id, run.status))
        }
        RunCommand::Delete { id } => {
            let id = whole_id(&api, &id).await?;
            let run: RunView = api.delete(&format!("/runs/{id}")).await?;
            context.show(&run, |run| println!("run {} is removed from the records", run.run_id))
        }
        RunCommand::Reexecute { id, from_failure, from_asset_failure, steps, wait } => {
            let id = whole_id(&api, &id).await?;
            let mut body = serde_json::Map::new();
            if steps.is_empty() {
                let strategy = match (from_failure, from_asset_failure) {
                    (true, _) => "FROM_FAILURE",
                    (_, true) => "FROM_ASSET_FAILURE",
                    _ => "ALL_STEPS",
                };
                body.insert("strategy".into(), strategy.into());
            }
            body.insert("steps".into(), json!(steps));
            return launched(context, &format!("/runs/{id}/reexecute"), body, wait).await;
        }
    };
    done.map(|()| 0)
}

/// The id of the run that `text` is the beginning of.
async fn whole_id(api: &Api, text: &str) -> Result<String, Problem> {
    let text = text.to_ascii_lowercase();
    if text.len() >= 32 {
        return Ok(text);
    }
    let wrong = |what: String, remedy: &str| Problem::new(Code::NotFound, what).remedy(remedy);
    if text.len() < 4 || !text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(Problem::new(Code::InvalidInput, format!("`{text}` is not the id of a run"))
            .remedy("give the id, or at least its first four digits; see `catchment run list`"));
    }
    let list: RunList = api.get("/runs", &[("limit", "500".into())]).await?;
    let mut found = list.runs.into_iter().filter(|run| run.run_id.starts_with(&text));
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run.run_id),
        (Some(_), Some(_)) => Err(wrong(format!("several runs begin with {text}"), "give more of the id")),
        (None, _) => Err(wrong(
            format!("none of the newest 500 runs begins with {text}"),
            "give the whole id; see `catchment run list`",
        )),
    }
}

fn print_list(list: &RunList) {
    if list.runs.is_empty() {
        println!("No runs. Put a file in: catchment ingest FILE");
        return;
    }
    let mut table = humane::table(&["run", "status", "job", "dataset", "batch", "made", "took"]);
    for run in &list.runs {
        table.add_row([
            run.run_id.get(..8).unwrap_or(&run.run_id).to_owned(),
            run.status.clone(),
            run.job_name.clone(),
            humane::or_dash(run.partition_key.clone()),
            humane::or_dash(run.batch_id.clone()),
            humane::time(run.created_at),
            humane::or_dash(run.duration_ms.map(humane::duration)),
        ]);
    }
    println!("{table}");
    if let Some(next) = &list.next {
        println!("There are more: --before {next}");
    }
}

/// A run with what it did.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    run: RunView,
    events: Vec<EventView>,
}

async fn show(api: &Api, id: &str, context: &Context) -> Result<(), Problem> {
    let id = whole_id(api, id).await?;
    let run: RunView = api.get(&format!("/runs/{id}"), &[]).await?;
    let list: EventList =
        api.get(&format!("/runs/{id}/events"), &[("after", "0".into()), ("limit", "5000".into())]).await?;
    context.show(&Shown { run, events: list.events }, |Shown { run, events }| {
        humane::facts(&[
            ("run", run.run_id.clone()),
            ("status", run.status.clone()),
            ("job", run.job_name.clone()),
            ("dataset", humane::or_dash(run.partition_key.clone())),
            ("batch", humane::or_dash(run.batch_id.clone())),
            ("made", humane::time(run.created_at)),
            ("started", humane::or_dash(run.started_at.map(humane::time))),
            ("ended", humane::or_dash(run.ended_at.map(humane::time))),
            ("took", humane::or_dash(run.duration_ms.map(humane::duration))),
        ]);
        println!();
        events.iter().filter(|event| event.kind != "LOG").for_each(print_event);
        if let Some(problem) = &run.problem {
            print!("\n{}", report::render(problem, false));
        }
    })
}

fn print_event(event: &EventView) {
    let time = humane::clock_time(event.timestamp);
    let step = event.step_key.as_deref().unwrap_or("");
    let took = event.data.get("duration_ms").and_then(serde_json::Value::as_f64);
    #[allow(clippy::cast_possible_truncation, reason = "milliseconds for people")]
    let took = took.map(|ms| format!(" ({})", humane::duration(ms as i64))).unwrap_or_default();
    println!("{time}  {:<22} {step:<20} {}{took}", event.kind, event.message);
}

async fn logs(api: &Api, id: &str, follow: bool, json: bool) -> Result<(), Problem> {
    let mut after = 0;
    loop {
        let wait = if follow { "20000" } else { "0" };
        let query = [("after", after.to_string()), ("limit", "1000".into()), ("wait_ms", wait.into())];
        let list: EventList = api.get(&format!("/runs/{id}/events"), &query).await?;
        for event in &list.events {
            if json {
                println!("{}", json!(event));
            } else {
                print_event(event);
            }
        }
        let all = list.events.len() < 1000;
        after = list.cursor;
        if (all && !follow) || list.ended {
            return Ok(());
        }
    }
}

async fn raw_logs(api: &Api, id: &str, stream: RawStream, follow: bool) -> Result<(), Problem> {
    let name = match stream {
        RawStream::Stdout => "stdout",
        RawStream::Stderr => "stderr",
    };
    let mut from = 0u64;
    loop {
        // The status first: what was written before the run ended is then in the file.
        let run: RunView = api.get(&format!("/runs/{id}"), &[]).await?;
        let response = match api.raw(&format!("/runs/{id}/logs/{name}"), from).await {
            Ok(response) => Some(response),
            // Nothing new: the range begins at the file's end.
            Err(_) if from > 0 => None,
            Err(problem) => return Err(problem),
        };
        if let Some(response) = response {
            let mut chunks = response.bytes_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk =
                    chunk.map_err(|e| Problem::new(Code::Unavailable, "the log was cut off").cause(chain(&e)))?;
                from += chunk.len() as u64;
                std::io::stdout()
                    .write_all(&chunk)
                    .map_err(|e| Problem::new(Code::Io, "standard output takes nothing").cause(e.to_string()))?;
            }
        }
        if !follow || run.ended {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
