//! What `catchment dev` tells the person in front of it.

use std::time::Duration;

use catchment_model::Problem;
use catchment_settings::Home;
use catchment_settings::home::Endpoints;

use crate::report;

/// Everything is ready.
pub(super) fn ready(home: &Home, endpoints: &Endpoints, took: Duration, json: bool) {
    if json {
        let line = serde_json::json!({
            "ready": true, "process": "dev", "home": home.root(), "endpoints": endpoints,
            "ready_ms": took.as_secs_f64() * 1000.0, "pid": std::process::id(),
        });
        println!("{line}");
        return;
    }
    let or = |url: &Option<String>| url.clone().unwrap_or_else(|| "–".into());
    println!("Catchment is ready after {:.0} ms.\n", took.as_secs_f64() * 1000.0);
    println!("  web and API    {}", or(&endpoints.web));
    println!("  S3             {}   (keys in {})", or(&endpoints.s3), home.credentials_file().display());
    println!("  code location  {}   (etl_pipelines)", or(&endpoints.code_location));
    println!("  home           {}\n", home.root().display());
    println!("Put a file in:   catchment ingest parcels.gpkg --dataset parcels");
    println!("Stop:            Ctrl-C");
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
