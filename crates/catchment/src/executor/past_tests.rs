//! Re-execution from failure, where a run before left something out or tried twice.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use catchment_core::EventKind;
use catchment_core::reexecution::from_failure;
use catchment_core::run::Selection;
use catchment_instance::Lease;
use catchment_model::{Code, Problem};

use super::run::End;
use super::test_world::{World, failure};
use crate::io_manager::{IoManager, MemoryIoManager, OutputContext};
use crate::{Definitions, DynamicOutput, Graph, Input, Inputs, Metadata, Optional, RetryPolicy, SharedValue, job, op};

/// A step that fails until it is mended.
fn mended(is_mended: &AtomicBool) -> Result<(), Problem> {
    match is_mended.load(Ordering::SeqCst) {
        true => Ok(()),
        false => Err(Problem::new(Code::Io, "not mended yet")),
    }
}

/// The steps that a re-execution from failure of a run has.
async fn failed_steps(world: &World, job: &str, lease: Lease) -> Vec<String> {
    let events: Vec<_> = world.events(lease).await.into_iter().map(|event| event.event).collect();
    from_failure(&world.spec(job), &Selection::default(), &events).unwrap()
}

static WHOLE: AtomicBool = AtomicBool::new(false);

#[op]
async fn perhaps() -> Result<Optional<u32>, Problem> {
    Ok(Optional(None))
}

#[op]
async fn needs_it(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n)
}

#[op]
async fn needs_that(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n)
}

#[op]
async fn apart() -> Result<(), Problem> {
    mended(&WHOLE)
}

#[job]
fn left_out(g: &mut Graph) {
    let n = perhaps::node(g);
    let n = needs_it::node(g, n);
    needs_that::node(g, n);
    apart::node(g);
}

#[tokio::test]
async fn what_was_skipped_for_an_output_that_was_left_out_is_skipped_again() {
    let world = World::of(Definitions::new("test").job(left_out())).await;
    let (lease, end) = world.run("left_out").await;
    assert!(failure(end).what.contains("not mended yet"));
    let steps = failed_steps(&world, "left_out", lease).await;
    assert_eq!(steps, ["needs_it", "needs_that", "apart"]);
    WHOLE.store(true, Ordering::SeqCst);
    let (again, end) = world.again("left_out", lease, steps).await;
    assert_eq!(end, End::Success);
    assert_eq!(world.steps(again, EventKind::StepSuccess).await, ["apart"]);
    let skipped = world.told(again, EventKind::StepSkipped).await;
    let why: Vec<_> = skipped.iter().map(|(step, data)| (step.as_str(), data["failed"].as_bool().unwrap())).collect();
    assert_eq!(why, [("needs_it", false), ("needs_that", false)]);
}

static ADDS: AtomicBool = AtomicBool::new(false);

#[op]
async fn numbers() -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok((1..=3).map(|n| DynamicOutput::new(format!("n{n}"), n)).collect())
}

/// Leaves 2 out.
#[op]
async fn odd(n: Input<u32>) -> Result<Optional<u32>, Problem> {
    Ok(Optional((*n % 2 == 1).then_some(*n)))
}

#[op]
async fn twice(n: Input<u32>) -> Result<u32, Problem> {
    Ok(*n * 2)
}

#[op]
async fn add(all: Inputs<u32>) -> Result<u32, Problem> {
    mended(&ADDS)?;
    Ok(all.iter().sum())
}

#[job]
fn sieve(g: &mut Graph) {
    let n = numbers::node(g);
    let odds = odd::node(g, n.each());
    add::node(g, odds.collect());
    let doubled = twice::node(g, odds);
    add::node(g.alias("add_twice"), doubled.collect());
}

#[tokio::test]
async fn a_branch_that_left_its_output_out_is_not_missed_by_what_collects_it_later() {
    let world = World::of(Definitions::new("test").job(sieve())).await;
    let (lease, end) = world.run("sieve").await;
    failure(end);
    let steps = failed_steps(&world, "sieve", lease).await;
    assert_eq!(steps, ["add", "twice[n2]", "add_twice"]);
    ADDS.store(true, Ordering::SeqCst);
    let (again, end) = world.again("sieve", lease, steps).await;
    assert_eq!(end, End::Success);
    assert_eq!(world.steps(again, EventKind::StepSkipped).await, ["twice[n2]"]);
    assert_eq!((world.kept(again, "add").await, world.kept(again, "add_twice").await), ("4".into(), "8".into()));
}

/// Keeps values, but not the second that it is given.
#[derive(Default)]
struct Moody {
    memory: MemoryIoManager,
    has_failed: AtomicBool,
}

#[async_trait]
impl IoManager for Moody {
    async fn handle_output(&self, context: &OutputContext, value: &SharedValue) -> Result<Metadata, Problem> {
        if context.mapping_key.as_deref() == Some("n2") && !self.has_failed.swap(true, Ordering::SeqCst) {
            return Err(Problem::new(Code::Io, "not this one, not now"));
        }
        self.memory.handle_output(context, value).await
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        self.memory.load_input(context).await
    }
}

static COUNTS: AtomicBool = AtomicBool::new(false);

#[op(io_manager = "moody", retry = RetryPolicy { max_retries: 1, delay_s: 0.0, ..Default::default() })]
async fn tried_twice() -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok((1..=3).map(|n| DynamicOutput::new(format!("n{n}"), n)).collect())
}

#[op]
async fn count(all: Inputs<u32>) -> Result<usize, Problem> {
    mended(&COUNTS)?;
    Ok(all.len())
}

#[job]
fn counted(g: &mut Graph) {
    let n = tried_twice::node(g);
    count::node(g, n.collect());
}

#[tokio::test]
async fn the_values_of_a_dynamic_step_that_was_tried_twice_count_once() {
    let definitions = Definitions::new("test").job(counted()).io_manager("moody", Moody::default());
    let world = World::of(definitions).await;
    let (lease, end) = world.run("counted").await;
    failure(end);
    assert_eq!(world.steps(lease, EventKind::StepRestarted).await, ["tried_twice"]);
    assert_eq!(world.steps(lease, EventKind::StepOutput).await.len(), 2 + 3, "the first try told of two");
    COUNTS.store(true, Ordering::SeqCst);
    let (again, end) = world.again("counted", lease, failed_steps(&world, "counted", lease).await).await;
    assert_eq!(end, End::Success);
    assert_eq!(world.kept(again, "count").await, "3");
}
