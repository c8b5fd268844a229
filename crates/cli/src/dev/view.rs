//! What `catchment dev` tells the person in front of it.

use std::time::Duration;

use catchment_model::Problem;
use catchment_settings::Home;
use catchment_settings::home::Endpoints;

use crate::process::LocationLine;
use crate::report;

/// Everything is ready.
pub(super) fn ready(home: &Home, endpoints: &Endpoints, locations: &[LocationLine], took: Duration, json: bool) {
    if json {
        let line = serde_json::json!({
            "ready": true, "process": "dev", "home": home.root(), "endpoints": endpoints, "locations": locations,
            "ready_ms": took.as_secs_f64() * 1000.0, "pid": std::process::id(),
        });
        println!("{line}");
        return;
    }
    let or = |url: &Option<String>| url.clone().unwrap_or_else(|| "–".into());
    println!("Catchment is ready after {:.0} ms.\n", took.as_secs_f64() * 1000.0);
    println!("  web and API    {}", or(&endpoints.web));
    println!("  S3             {}   (keys in {})", or(&endpoints.s3), home.credentials_file().display());
    println!("  home           {}\n", home.root().display());
    println!("Code locations:");
    for line in locations {
        println!("  {:<13}  {}", line.name, how(line));
    }
    if locations.is_empty() {
        println!("  none: list them in {}", home.workspace_file().display());
    }
    println!("\nPut a file in:   catchment ingest parcels.gpkg --dataset parcels");
    println!("Stop:            Ctrl-C");
}

/// A code location is another than it was.
pub(super) fn location(line: &LocationLine) {
    eprintln!("code location {}: {}", line.name, how(line));
}

/// How a code location is, in words.
fn how(line: &LocationLine) -> String {
    let what = ["asset", "job", "sensor", "schedule"];
    let counts: Vec<String> = (line.counts.iter().zip(what))
        .filter(|(count, _)| **count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    let defines = if counts.is_empty() { "nothing defined".to_owned() } else { counts.join(", ") };
    match (&line.problem, line.here) {
        (None, _) => defines,
        (Some(problem), true) => format!("{defines}; {problem}"),
        (Some(problem), false) => format!("away: {problem}"),
    }
}

/// The stop was asked for.
pub(super) fn stopping(json: bool) {
    if !json {
        println!("\nStopping. Runs that are under way go on by themselves.");
    }
}

/// A process ended by itself.
pub(super) fn died(name: &str, status: &str) {
    eprintln!("{name} ended ({status}); it is started again");
}

/// A process is back.
pub(super) fn restarted(name: &str, address: &str, took: Duration) {
    eprintln!("{name} is back after {:.0} ms {address}", took.as_secs_f64() * 1000.0);
}

/// A process could not be started again; it is tried later.
pub(super) fn not_restarted(name: &str, problem: &Problem) {
    eprintln!("{name} cannot be started again: {problem}");
}

/// Something is weaker than it should be.
pub(super) fn weaker(problem: &Problem) {
    eprintln!("\nWARNING\n{}", report::render(problem, std::io::IsTerminal::is_terminal(&std::io::stderr())));
}
