//! Runs of 200 steps in processes of their own: nothing is lost, and what a step costs. This program is both: with
//! arguments it is a code location, without it starts itself as one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

use std::process::{Command as Process, ExitCode, Stdio};
use std::time::Duration;

use catchment::{Definitions, Graph, Input, Problem, job, op};
use catchment_core::state::Command;
use catchment_core::{EventKind, NewRun, RunId, RunStatus};
use catchment_settings::{Home, clock};
use serde_json::json;

const STEPS: usize = 200;
/// Far more than it takes, so that a busy machine does not fail the test; the time itself is printed.
const LIMIT: Duration = Duration::from_secs(20);

#[op]
async fn one() -> Result<u32, Problem> {
    Ok(1)
}

#[op]
async fn next(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n + 1)
}

/// Steps that do not need each other.
#[job]
fn wide(g: &mut Graph) {
    for _ in 0..STEPS {
        one::node(g);
    }
}

/// Steps of which each needs the one before.
#[job]
fn chain(g: &mut Graph) {
    let mut wire = one::node(g);
    for _ in 1..STEPS {
        wire = next::node(g, wire);
    }
}

fn definitions() -> Definitions {
    Definitions::new("many").job(wide()).job(chain())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "execute-run") {
        return catchment::serve(definitions);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for job in ["wide", "chain"] {
            two_hundred_steps_all_end_well_and_are_all_told(job).await;
        }
    });
    ExitCode::SUCCESS
}

async fn two_hundred_steps_all_end_well_and_are_all_told(job: &str) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let instance = catchment_instance::open(&home).await.unwrap();
    let run_id = RunId::random();
    let run = NewRun {
        run_id,
        job_name: job.into(),
        location: "many".into(),
        run_config: json!({}),
        tags: Default::default(),
        partition_key: None,
        selection: Default::default(),
        parent_run_id: None,
        root_run_id: None,
    };
    instance.enqueue(run, clock::now()).await.unwrap();
    let until = Some(clock::now() + Duration::from_secs(15));
    let run = instance.command(run_id, Command::Launch, None, until, clock::now()).await.unwrap();
    let began = clock::monotonic();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["execute-run", "--run-id", &run_id.to_string(), "--lease-epoch", &run.lease_epoch.to_string()])
        .env("CATCHMENT_HOME", home.root())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(status.success());
    assert_eq!(instance.run(run_id).await.unwrap().unwrap().status, RunStatus::Success);
    let events = instance.run_events(run_id, 0, 10_000).await.unwrap();
    let ended = events.iter().filter(|event| event.event.kind == EventKind::StepSuccess).count();
    assert_eq!(ended, STEPS);
    println!("{job}: {STEPS} steps and {} events in {:.3} s", events.len(), took.as_secs_f64());
    assert!(took < LIMIT, "{took:?}");
}
