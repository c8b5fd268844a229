//! `catchment sensor` and `catchment schedule`.

use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::clock;
use catchment_web::views::{DryRun, InstigatorList, InstigatorView, TickList, TickView};
use serde_json::json;

use crate::args::{CursorCommand, InstigatorCommand};
use crate::client::Api;
use crate::dataset::segment;
use crate::{Context, humane};

/// How long an evaluation is waited for.
const TICKS_WITHIN: Duration = Duration::from_secs(65);

/// Carries a command out; `kind` is `sensor` or `schedule`.
pub(crate) async fn carry_out(kind: &str, command: InstigatorCommand, context: &Context) -> Result<(), Problem> {
    let api = context.api()?;
    let base = format!("/instigators/{kind}");
    let one = |view: &InstigatorView| {
        let running = if view.running { "runs" } else { "rests" };
        println!("{} {} {running} ({})", view.kind, view.name, view.status);
    };
    let status = async |name: &str, status: &str, location: Option<String>| {
        let body = json!({"status": status, "location": location});
        let view: InstigatorView = api.post(&format!("{base}/{}/status", segment(name)), &body).await?;
        context.show(&view, one)
    };
    match command {
        InstigatorCommand::List { place } => {
            let list: InstigatorList = api.get(&base, &place.query()).await?;
            context.show(&list, |list| print(kind, list))
        }
        InstigatorCommand::Start { name, place } => status(&name, "RUNNING", place.location).await,
        InstigatorCommand::Stop { name, place } => status(&name, "STOPPED", place.location).await,
        InstigatorCommand::Reset { name, place } => status(&name, "DECLARED_IN_CODE", place.location).await,
        InstigatorCommand::Ticks { name, limit, place } => {
            let mut query = place.query();
            query.push(("limit", limit.to_string()));
            let list: TickList = api.get(&format!("{base}/{}/ticks", segment(&name)), &query).await?;
            context.show(&list, |list| print_ticks(&list.ticks))
        }
        InstigatorCommand::Tick { name, dry_run: true, cursor, place } => {
            let body = json!({"cursor": cursor, "location": place.location});
            let result: DryRun = api.post(&format!("{base}/{}/dry-run", segment(&name)), &body).await?;
            context.show(&result, print_dry_run)?;
            result.problem.map_or(Ok(()), Err)
        }
        InstigatorCommand::Tick { name, place, .. } => {
            let tick = tick(&api, &base, &name, &place.query(), kind).await?;
            context.show(&tick, |tick| print_ticks(std::slice::from_ref(tick)))
        }
        InstigatorCommand::Cursor(CursorCommand::Set { name, cursor, place }) => {
            let body = json!({"cursor": cursor, "location": place.location});
            let view: InstigatorView = api.post(&format!("{base}/{}/cursor", segment(&name)), &body).await?;
            context.show(&view, |view| {
                println!("{} {} stands at {}", view.kind, view.name, humane::or_dash(view.cursor.clone()));
            })
        }
    }
}

/// Has the daemon look at a sensor that runs, and waits for the tick that comes of it.
async fn tick(
    api: &Api,
    base: &str,
    name: &str,
    query: &[(&'static str, String)],
    kind: &str,
) -> Result<TickView, Problem> {
    let list: InstigatorList = api.get(base, query).await?;
    let view = list.instigators.into_iter().find(|view| view.name == name).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no {kind} `{name}`"))
            .remedy(format!("see `catchment {kind} list`"))
    })?;
    if kind == "schedule" || !view.running {
        let why = if kind == "schedule" { "a schedule keeps to its times" } else { "the sensor rests" };
        return Err(Problem::new(Code::Conflict, format!("{kind} `{name}` is not evaluated now"))
            .cause(why)
            .remedy("see what it would ask for with --dry-run, or start it"));
    }
    let before = view.last_tick.as_ref().map_or(0, |tick| tick.id);
    // Saying again that it runs gives the daemon the hint to look.
    let body = json!({"status": view.status, "location": view.location});
    let _: InstigatorView = api.post(&format!("{base}/{}/status", segment(name)), &body).await?;
    let deadline = clock::monotonic() + TICKS_WITHIN;
    loop {
        let query = [("limit", "1".to_owned()), ("location", view.location.clone())];
        let list: TickList = api.get(&format!("{base}/{}/ticks", segment(name)), &query).await?;
        if let Some(tick) = list.ticks.into_iter().find(|tick| tick.id > before && tick.status != "STARTED") {
            return Ok(tick);
        }
        if clock::monotonic() > deadline {
            return Err(Problem::new(Code::Unavailable, format!("{kind} `{name}` was not evaluated"))
                .remedy("see that the daemon works: `catchment instance info`"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn print(kind: &str, list: &InstigatorList) {
    if list.instigators.is_empty() {
        println!("No {kind}s are defined. See `catchment location list`.");
        return;
    }
    let mut table = humane::table(&[kind, "runs", "follows", "asks for", "last tick", "next", "location"]);
    for view in &list.instigators {
        let last = view.last_tick.as_ref();
        table.add_row([
            view.name.clone(),
            if view.running { "yes".into() } else { "no".into() },
            view.follows.clone(),
            view.targets.join(", "),
            humane::or_dash(last.map(|tick| format!("{} {}", tick.status, humane::time(tick.started_at)))),
            humane::or_dash(view.next_at.map(humane::time)),
            view.location.clone(),
        ]);
    }
    println!("{table}");
}

fn print_ticks(ticks: &[TickView]) {
    if ticks.is_empty() {
        println!("No ticks yet.");
        return;
    }
    let mut table = humane::table(&["tick", "status", "began", "runs", "why"]);
    for tick in ticks {
        let problem = tick.problem.as_ref().map(ToString::to_string);
        table.add_row([
            tick.id.to_string(),
            tick.status.clone(),
            humane::time(tick.started_at),
            tick.run_ids.len().to_string(),
            humane::or_dash(problem.or_else(|| tick.skip_reason.clone())),
        ]);
    }
    println!("{table}");
}

fn print_dry_run(result: &DryRun) {
    for line in &result.log {
        println!("log: {line}");
    }
    for request in &result.run_requests {
        println!("asks for a run: {request:#}");
    }
    if result.run_requests.is_empty() && result.problem.is_none() {
        println!("asks for nothing: {}", result.skip_reason.as_deref().unwrap_or("no reason given"));
    }
    if let Some(cursor) = &result.cursor {
        println!("cursor: {cursor}");
    }
}
