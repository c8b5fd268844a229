//! Runs in processes of their own. This program is both: with arguments it is a code location, without it starts
//! itself as one and looks at what its processes leave in the state.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

use std::process::{Child, Command as Process, ExitCode, Stdio};
use std::time::Duration;

use catchment::{AssetContext, Config, Definitions, PipesResult, PipesSubprocess, Problem, asset, asset_job};
use catchment_core::state::Command;
use catchment_core::{EventKind, NewRun, Run, RunId, RunStatus};
use catchment_instance::SharedInstance;
use catchment_settings::{Home, clock};
use serde_json::json;

#[asset]
async fn greeting(name: Config<String>) -> Result<String, Problem> {
    tracing::info!("greeting {}", name.0);
    Ok(format!("hello {}", name.0))
}

/// Blocks its thread, as a native library does: no cancel reaches it.
#[asset]
async fn deaf() -> Result<(), Problem> {
    loop {
        std::thread::park();
    }
}

/// Runs a script of the shell.
#[asset]
async fn scripted(context: AssetContext, script: Config<String>) -> Result<PipesResult, Problem> {
    PipesSubprocess::new("sh").arg("-c").arg(script.0).run(&context).await
}

fn definitions() -> Definitions {
    Definitions::new("processes")
        .assets([greeting(), deaf(), scripted()])
        .job(asset_job("greet", ["greeting"]))
        .job(asset_job("deaf", ["deaf"]))
        .job(asset_job("script", ["scripted"]))
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|argument| argument == "execute-run") {
        return catchment::serve(definitions);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        a_run_process_succeeds_and_starts_fast().await;
        a_run_process_ends_within_a_second_of_sigterm_even_where_code_is_deaf().await;
        a_run_process_whose_lease_is_lost_ends_by_itself().await;
        a_program_is_interrupted_when_its_run_is_cancelled_and_the_run_waits_for_it().await;
        a_program_dies_with_the_process_of_its_run().await;
    });
    ExitCode::SUCCESS
}

struct World {
    home: Home,
    instance: SharedInstance,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let instance = catchment_instance::open(&home).await.unwrap();
        Self { home, instance, _folder: folder }
    }

    async fn start(&self, job: &str, run_config: serde_json::Value) -> (RunId, Child) {
        let run_id = RunId::random();
        let run = NewRun {
            run_id,
            job_name: job.into(),
            location: "processes".into(),
            run_config,
            tags: Default::default(),
            partition_key: None,
            selection: Default::default(),
            parent_run_id: None,
            root_run_id: None,
        };
        self.instance.enqueue(run, clock::now()).await.unwrap();
        let until = Some(clock::now() + Duration::from_secs(15));
        let run = self.instance.command(run_id, Command::Launch, None, until, clock::now()).await.unwrap();
        let child = Process::new(std::env::current_exe().unwrap())
            .args(["execute-run", "--run-id", &run_id.to_string(), "--lease-epoch", &run.lease_epoch.to_string()])
            .env("CATCHMENT_HOME", self.home.root())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (run_id, child)
    }

    async fn run(&self, run_id: RunId) -> Run {
        self.instance.run(run_id).await.unwrap().unwrap()
    }

    async fn step_started(&self, run_id: RunId) {
        within(Duration::from_secs(20), async || {
            let events = self.instance.run_events(run_id, 0, 100).await.unwrap();
            events.iter().any(|event| event.event.kind == EventKind::StepStart)
        })
        .await;
    }
}

async fn within(limit: Duration, mut done: impl AsyncFnMut() -> bool) {
    let deadline = clock::monotonic() + limit;
    while !done().await {
        assert!(clock::monotonic() < deadline, "not done within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ended(child: &mut Child, limit: Duration) -> Option<i32> {
    within(limit, async || child.try_wait().unwrap().is_some()).await;
    child.wait().unwrap().code()
}

async fn a_run_process_succeeds_and_starts_fast() {
    let world = World::new().await;
    let mut fastest = f64::MAX;
    for _ in 0..5 {
        let began = clock::now();
        let (run_id, mut child) = world.start("greet", json!({"ops": {"greeting": {"config": "you"}}})).await;
        assert_eq!(ended(&mut child, Duration::from_secs(20)).await, Some(0));
        assert_eq!(world.run(run_id).await.status, RunStatus::Success);
        let events = world.instance.run_events(run_id, 0, 100).await.unwrap();
        assert!(events.iter().any(|event| event.event.message == "greeting you"));
        let first = events.iter().find(|event| event.event.kind == EventKind::StepStart).unwrap();
        fastest = fastest.min(first.event.timestamp.duration_since(began).as_secs_f64() * 1000.0);
    }
    println!("enqueue, launch, process start and first step together: {fastest:.1} ms");
}

async fn a_run_process_ends_within_a_second_of_sigterm_even_where_code_is_deaf() {
    let world = World::new().await;
    let (run_id, mut child) = world.start("deaf", json!({})).await;
    world.step_started(run_id).await;
    // SAFETY: a signal to the own child, which has not been waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) };
    assert_eq!(ended(&mut child, Duration::from_secs(1)).await, Some(1));
    assert_eq!(world.run(run_id).await.status, RunStatus::Canceled);
}

async fn a_run_process_whose_lease_is_lost_ends_by_itself() {
    let world = World::new().await;
    let (run_id, mut child) = world.start("deaf", json!({})).await;
    world.step_started(run_id).await;
    world.instance.revoke(run_id, clock::now()).await.unwrap();
    assert_eq!(ended(&mut child, Duration::from_secs(2)).await, Some(1));
    assert_eq!(world.run(run_id).await.status, RunStatus::Started, "the monitor decides about it");
}

/// Starts a run whose program says its number, waits, and needs a moment to end when it is interrupted.
async fn interruptible(world: &World) -> (RunId, Child, i32) {
    let pid = world.home.root().join("pid");
    let script =
        "trap 'sleep 0.2; echo tidied; exit' INT; echo $$ > \"$CATCHMENT_HOME/pid\"; while :; do sleep 0.02; done";
    let (run_id, child) = world.start("script", json!({"ops": {"scripted": {"config": script}}})).await;
    let read = || std::fs::read_to_string(&pid).ok().filter(|text| text.ends_with('\n'));
    within(Duration::from_secs(20), async || read().is_some()).await;
    (run_id, child, read().unwrap().trim().parse().unwrap())
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn a_program_is_interrupted_when_its_run_is_cancelled_and_the_run_waits_for_it() {
    let world = World::new().await;
    let (run_id, mut child, pid) = interruptible(&world).await;
    world.instance.command(run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    assert_eq!(ended(&mut child, Duration::from_secs(5)).await, Some(1));
    assert_eq!(world.run(run_id).await.status, RunStatus::Canceled);
    assert!(!lives(pid));
    let events = world.instance.run_events(run_id, 0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.event.message == "tidied"), "its last words are in the log: {events:?}");
}

async fn a_program_dies_with_the_process_of_its_run() {
    let world = World::new().await;
    let (_, mut child, pid) = interruptible(&world).await;
    assert!(lives(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    within(Duration::from_secs(5), async || !lives(pid)).await;
}
