//! `catchment location`: list, reload.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::clock;
use catchment_web::views::{LocationList, LocationView};
use serde_json::json;

use crate::args::LocationCommand;
use crate::dataset::segment;
use crate::{Context, humane};

/// How long a code location may take to load.
const LOADS_WITHIN: Duration = Duration::from_secs(30);

/// How long one that is broken is given to say something else than before.
const BROKEN_WITHIN: Duration = Duration::from_secs(5);

/// Carries a command under `catchment location` out.
pub(crate) async fn carry_out(command: LocationCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    match command {
        LocationCommand::List => {
            let list: LocationList = api.get("/locations", &[]).await?;
            context.show(&list, print)
        }
        LocationCommand::Reload { name } => {
            let before: LocationView = api.post(&format!("/locations/{}/reload", segment(&name)), &json!({})).await?;
            let deadline = clock::monotonic() + LOADS_WITHIN;
            let broken_until = clock::monotonic() + BROKEN_WITHIN;
            loop {
                let list: LocationList = api.get("/locations", &[]).await?;
                let now = list.locations.into_iter().find(|location| location.name == name);
                if let Some(now) = now.filter(|now| now.loaded_at > before.loaded_at || now.problem != before.problem) {
                    let problem = now.problem.clone();
                    context.show(&LocationList { locations: vec![now] }, print)?;
                    return problem.map_or(Ok(()), Err);
                }
                // It was broken before, and says the same again: tries are at most some seconds apart.
                if let Some(problem) = before.problem.clone().filter(|_| clock::monotonic() > broken_until) {
                    return Err(problem);
                }
                if clock::monotonic() > deadline {
                    let why = before.problem.map(|problem| problem.to_string()).unwrap_or_default();
                    return Err(Problem::new(Code::Unavailable, format!("`{name}` was not loaded anew"))
                        .place(name)
                        .cause(why)
                        .remedy("see that the daemon works: `catchment instance info`"));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn print(list: &LocationList) {
    if list.locations.is_empty() {
        println!("No code locations. List them in workspace.yaml, or start the daemon.");
        return;
    }
    let mut table = humane::table(&["location", "state", "defines", "loaded", "problem"]);
    for location in &list.locations {
        let defines: Vec<String> =
            location.counts.iter().filter(|(_, n)| **n > 0).map(|(what, n)| format!("{n} {what}")).collect();
        table.add_row([
            location.name.clone(),
            if location.here { "here".into() } else { "away".into() },
            defines.join(", "),
            humane::or_dash(location.loaded_at.map(humane::time)),
            humane::or_dash(location.problem.as_ref().map(ToString::to_string)),
        ]);
    }
    println!("{table}");
}
