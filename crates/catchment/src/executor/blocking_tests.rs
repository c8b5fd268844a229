//! User code that misbehaves: it blocks its thread, or panics where one does not look for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::definitions::ASSET_JOB;
use catchment_core::run::Selection;
use catchment_core::{EventKind, NewRun};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use serde::{Deserialize, Serialize};

use super::run::End;
use super::test_world::{World, failure, new_run, strings, until};
use crate::io_manager::{IoManager, OutputContext};
use crate::{
    AssetContext, Definitions, Graph, Level, Metadata, OpContext, PartitionsDefinition, RetryPolicy, SharedValue,
    Staged, asset, job, op,
};

const BLOCKING: usize = 3;
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicBool = AtomicBool::new(false);

#[op]
async fn blocks() -> Result<(), Problem> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let deadline = clock::monotonic() + Duration::from_secs(30);
    while !RELEASED.load(Ordering::SeqCst) && clock::monotonic() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[op]
async fn talks(ctx: OpContext) -> Result<(), Problem> {
    while INSIDE.load(Ordering::SeqCst) < BLOCKING {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    ctx.log(Level::Info, "all the others block");
    Ok(())
}

#[job(concurrency = 4)]
fn blocked(g: &mut Graph) {
    for _ in 0..BLOCKING {
        blocks::node(g);
    }
    talks::node(g);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_block_their_threads_hold_up_neither_the_log_nor_the_lease() {
    let world = World::of(Definitions::new("test").job(blocked())).await;
    let lease = world.launch(new_run("blocked")).await;
    let look = async {
        until("the step that talks", async || {
            world.steps(lease, EventKind::StepSuccess).await == ["talks"]
                && world.steps(lease, EventKind::Log).await.contains(&"talks".to_owned())
        })
        .await;
        let leased = async || world.instance.run(lease.run_id).await.unwrap().unwrap().lease_until;
        let before = leased().await;
        until("a renewal", async || leased().await > before).await;
        assert_eq!(world.steps(lease, EventKind::StepSuccess).await, ["talks"], "the others still block");
        RELEASED.store(true, Ordering::SeqCst);
    };
    let (end, ()) = tokio::join!(world.execute(lease), look);
    assert_eq!(end.unwrap(), End::Success);
}

/// An IO manager that panics.
struct FallsOver;

#[async_trait]
impl IoManager for FallsOver {
    async fn handle_output(&self, _: &OutputContext, _: &SharedValue) -> Result<Metadata, Problem> {
        panic!("the shelf fell over")
    }

    async fn load_input(&self, _: &OutputContext) -> Result<SharedValue, Problem> {
        panic!("the shelf is down")
    }
}

/// A value that panics when it is written.
#[derive(Deserialize)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it went off")
    }
}

#[op(io_manager = "falls_over", pool = "single", retry = RetryPolicy { max_retries: 1, delay_s: 0.0, ..Default::default() })]
async fn kept_badly() -> Result<u32, Problem> {
    Ok(1)
}

#[op(pool = "single")]
async fn written_badly() -> Result<Explosive, Problem> {
    Ok(Explosive)
}

#[op(pool = "single")]
async fn last_in_line() -> Result<(), Problem> {
    Ok(())
}

#[job(concurrency = 3)]
fn fragile(g: &mut Graph) {
    g.tag("dagster/priority", "2");
    kept_badly::node(g);
    g.tag("dagster/priority", "1");
    written_badly::node(g);
    last_in_line::node(g);
}

#[tokio::test]
async fn a_panic_of_an_io_manager_or_a_type_fails_its_step_and_gives_its_slot_back() {
    let definitions = Definitions::new("test").job(fragile()).io_manager("falls_over", FallsOver);
    let world = World::of(definitions).await;
    world.instance.set_pool_limit("single", Some(1)).await.unwrap();
    let (lease, end) = world.run("fragile").await;
    assert_eq!(failure(end).code, Code::Bug);
    assert_eq!(world.steps(lease, EventKind::StepUpForRetry).await, ["kept_badly"]);
    assert_eq!(world.steps(lease, EventKind::StepSuccess).await, ["last_in_line"]);
    let mut failures = world.told(lease, EventKind::StepFailure).await;
    failures.sort_by(|a, b| a.0.cmp(&b.0));
    let said: Vec<_> = failures.iter().map(|(step, data)| (step.as_str(), data["problem"]["cause"].clone())).collect();
    assert_eq!(said, [("kept_badly", "the shelf fell over".into()), ("written_badly", "it went off".into())]);
    assert!(failures[0].1["problem"]["place"].as_str().unwrap().contains("blocking_tests.rs"));
}

fn datasets() -> PartitionsDefinition {
    PartitionsDefinition::dynamic("dataset_id")
}

#[asset(partitions = datasets)]
async fn file(ctx: AssetContext) -> Result<Staged, Problem> {
    super::run_tests::staged(&ctx)
}

#[tokio::test]
async fn a_panic_of_a_staged_check_fails_its_step_and_commits_nothing() {
    let file = file().check(|_| panic!("the check fell over"));
    let world = World::of(Definitions::new("test").partitions(datasets()).assets([file])).await;
    let selection = Selection { assets: strings(&["file"]), ..Selection::default() };
    let run = NewRun { selection, partition_key: Some("a".into()), ..new_run(ASSET_JOB) };
    let lease = world.launch(run).await;
    let problem = failure(world.execute(lease).await.unwrap());
    assert_eq!(problem.cause.as_deref(), Some("the check fell over"));
    assert_eq!(world.steps(lease, EventKind::StepFailure).await, ["file"]);
    assert_eq!(world.list.asked.load(Ordering::SeqCst), 0);
}
