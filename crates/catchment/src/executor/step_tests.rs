//! What happens to steps: retries, fans, re-execution, hooks, pools, limits, resources.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use catchment_core::EventKind;
use catchment_core::reexecution::from_failure;
use catchment_core::run::Selection;
use catchment_core::state::Command;
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use serde_json::json;

use super::run::End;
use super::test_world::{World, failure, new_run, strings};
use crate::{
    Backoff, Definitions, DynamicOutput, Graph, HookContext, Input, Inputs, Jitter, OpContext, Optional, Res,
    RetryPolicy, asset, asset_job, failure_hook, graph, job, op, success_hook,
};

const QUICK: RetryPolicy =
    RetryPolicy { max_retries: 2, delay_s: 0.01, backoff: Backoff::Exponential, jitter: Jitter::Full };

#[op(retry = QUICK)]
async fn flaky(ctx: OpContext) -> Result<u32, Problem> {
    match ctx.retry_number() {
        2 => Ok(7),
        _ => Err(Problem::new(Code::Io, "not yet")),
    }
}

#[op]
async fn insistent(ctx: OpContext) -> Result<u32, Problem> {
    Err(ctx.retry_requested(1, 0.0, "it is too early"))
}

#[job]
fn retried(g: &mut Graph) {
    flaky::node(g);
}

#[job]
fn given_up(g: &mut Graph) {
    insistent::node(g);
}

#[tokio::test]
async fn a_step_is_tried_again_as_its_policy_says() {
    let world = World::of(Definitions::new("test").job(retried())).await;
    let (lease, end) = world.run("retried").await;
    assert_eq!(end, End::Success);
    let story = world.story(lease).await;
    let expected = [
        "PIPELINE_START",
        "STEP_START flaky",
        "STEP_UP_FOR_RETRY flaky",
        "STEP_RESTARTED flaky",
        "STEP_UP_FOR_RETRY flaky",
        "STEP_RESTARTED flaky",
        "STEP_OUTPUT flaky",
        "HANDLED_OUTPUT flaky",
        "STEP_SUCCESS flaky",
        "PIPELINE_SUCCESS",
    ];
    assert_eq!(story[2..], expected);
    let retries = world.told(lease, EventKind::StepUpForRetry).await;
    assert_eq!((retries[0].1["attempt"].as_u64(), retries[1].1["attempt"].as_u64()), (Some(1), Some(2)));
    assert_eq!(retries[0].1["problem"]["what"], "not yet");
}

#[tokio::test]
async fn a_retry_that_user_code_asks_for_ends_after_as_many_as_it_said() {
    let world = World::of(Definitions::new("test").job(given_up())).await;
    let (lease, end) = world.run("given_up").await;
    assert_eq!(failure(end).cause.as_deref(), Some("it is too early"));
    assert_eq!(world.steps(lease, EventKind::StepRestarted).await, ["insistent"]);
    assert_eq!(world.steps(lease, EventKind::StepFailure).await, ["insistent"]);
}

/// Whether the branch `n2` fails.
static BROKEN: AtomicUsize = AtomicUsize::new(1);

#[op]
async fn numbers() -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok((1..=3).map(|n| DynamicOutput::new(format!("n{n}"), n)).collect())
}

#[op]
async fn square(n: Input<u32>) -> Result<u32, Problem> {
    if *n == 2 && BROKEN.load(Ordering::SeqCst) == 1 {
        return Err(Problem::new(Code::Io, "two is broken"));
    }
    Ok(*n * *n)
}

#[op]
async fn negate(n: Input<u32>) -> Result<i64, Problem> {
    Ok(-i64::from(*n))
}

#[op]
async fn sum(all: Inputs<i64>) -> Result<i64, Problem> {
    Ok(all.iter().sum())
}

#[job]
fn fan(g: &mut Graph) {
    let n = numbers::node(g);
    let squares = square::node(g, n.each());
    let negated = negate::node(g, squares);
    sum::node(g, negated.collect());
}

#[tokio::test]
async fn one_branch_of_a_fan_fails_alone_and_a_re_execution_from_failure_runs_only_it() {
    let world = World::of(Definitions::new("test").job(fan())).await;
    let (lease, end) = world.run("fan").await;
    assert!(failure(end).what.contains("two is broken"));
    assert_eq!(
        world.steps(lease, EventKind::StepSuccess).await,
        ["negate[n1]", "negate[n3]", "numbers", "square[n1]", "square[n3]"]
    );
    assert_eq!(world.steps(lease, EventKind::StepSkipped).await, ["negate[n2]", "sum"]);

    BROKEN.store(0, Ordering::SeqCst);
    let events: Vec<_> = world.events(lease).await.into_iter().map(|event| event.event).collect();
    let steps = from_failure(&world.spec("fan"), &Selection::default(), &events).unwrap();
    assert_eq!(steps, ["square[n2]", "negate[n2]", "sum"]);
    let (again, end) = world.again("fan", lease, steps).await;
    assert_eq!(end, End::Success);
    assert_eq!(world.steps(again, EventKind::StepSuccess).await, ["negate[n2]", "square[n2]", "sum"]);
    let total = world.told(again, EventKind::HandledOutput).await;
    let path = total.iter().find(|(step, _)| step == "sum").unwrap().1["metadata"]["path"]["value"].clone();
    assert_eq!(std::fs::read_to_string(path.as_str().unwrap()).unwrap(), "-14", "-1 - 4 - 9, two of them loaded");

    // A re-execution of the re-execution finds values in both of the runs before it.
    let (last, end) = world.again("fan", again, strings(&["sum"])).await;
    assert_eq!(end, End::Success);
    let loaded = world.told(last, EventKind::LoadedInput).await;
    let runs: Vec<_> = loaded.iter().map(|(_, data)| data["upstream_run_id"].as_str().unwrap().to_owned()).collect();
    let (first, second) = (lease.run_id.to_string(), again.run_id.to_string());
    assert_eq!(runs, [first.clone(), second, first]);
}

/// A value that cannot be written as JSON.
struct Unwritten;

#[op]
async fn make_unwritten() -> Result<Unwritten, Problem> {
    Ok(Unwritten)
}

#[op]
async fn take_unwritten(value: Input<Unwritten>) -> Result<(), Problem> {
    let _: &Unwritten = &value;
    Ok(())
}

#[job]
fn in_memory(g: &mut Graph) {
    let value = make_unwritten::node(g);
    take_unwritten::node(g, value);
}

#[tokio::test]
async fn a_value_that_stayed_in_memory_is_asked_for_before_anything_runs() {
    let world = World::of(Definitions::new("test").job(in_memory())).await;
    let (lease, end) = world.run("in_memory").await;
    assert_eq!(end, End::Success, "within a run it is handed on");
    let (again, end) = world.again("in_memory", lease, strings(&["take_unwritten"])).await;
    let problem = failure(end);
    assert!(problem.what.contains("`make_unwritten`"), "{problem}");
    assert!(problem.cause.unwrap().contains("memory"));
    assert!(world.steps(again, EventKind::StepStart).await.is_empty());
}

static CALLED: AtomicUsize = AtomicUsize::new(0);

#[success_hook]
async fn cheer(ctx: HookContext) -> Result<(), Problem> {
    assert_eq!(ctx.step_key(), "fine");
    CALLED.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

#[failure_hook]
async fn moan(ctx: HookContext) -> Result<(), Problem> {
    Err(Problem::new(Code::Io, format!("nobody hears of {}", ctx.problem().unwrap().what)))
}

#[op(hooks = [cheer, moan])]
async fn fine() -> Result<(), Problem> {
    Ok(())
}

#[op(hooks = [moan])]
async fn bad() -> Result<(), Problem> {
    Err(Problem::new(Code::Io, "the mishap"))
}

#[job]
fn hooked(g: &mut Graph) {
    fine::node(g);
    bad::node(g);
}

#[tokio::test]
async fn hooks_are_called_at_the_end_of_their_step_and_change_nothing() {
    let world = World::of(Definitions::new("test").job(hooked())).await;
    let (lease, end) = world.run("hooked").await;
    assert!(failure(end).what.contains("the mishap"));
    assert_eq!(CALLED.load(Ordering::SeqCst), 1);
    assert_eq!(world.steps(lease, EventKind::HookCompleted).await, ["fine"]);
    assert_eq!(world.steps(lease, EventKind::HookSkipped).await, ["fine"]);
    let errored = world.told(lease, EventKind::HookErrored).await;
    assert_eq!(errored[0].1["problem"]["what"], "nobody hears of the mishap");
    assert_eq!(world.steps(lease, EventKind::StepFailure).await, ["bad"]);
}

static INSIDE: AtomicUsize = AtomicUsize::new(0);
static MOST_INSIDE: AtomicUsize = AtomicUsize::new(0);

#[op(pool = "door")]
async fn narrow() -> Result<(), Problem> {
    let inside = INSIDE.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_INSIDE.fetch_max(inside, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(5)).await;
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[job(concurrency = 4)]
fn crowd(g: &mut Graph) {
    for _ in 0..4 {
        narrow::node(g);
    }
}

#[tokio::test]
async fn steps_of_all_runs_share_the_slots_of_a_pool() {
    let world = World::of(Definitions::new("test").job(crowd())).await;
    world.instance.set_pool_limit("door", Some(1)).await.unwrap();
    let ((first, one), (second, other)) = tokio::join!(world.run("crowd"), world.run("crowd"));
    assert_eq!((one, other), (End::Success, End::Success));
    assert_eq!(MOST_INSIDE.load(Ordering::SeqCst), 1);
    for lease in [first, second] {
        assert_eq!(world.steps(lease, EventKind::StepSuccess).await.len(), 4);
    }
    let pools = world.instance.pools().await.unwrap();
    assert!(pools.iter().all(|pool| pool.slots.is_empty() && pool.waiting.is_empty()), "{pools:?}");
}

static WAITED: AtomicUsize = AtomicUsize::new(0);

#[op(pool = "single", retry = RetryPolicy { max_retries: 1, delay_s: 60.0, ..Default::default() })]
async fn stays_away() -> Result<(), Problem> {
    Err(Problem::new(Code::Io, "later"))
}

#[op(pool = "single")]
async fn goes_ahead() -> Result<(), Problem> {
    WAITED.store(1, Ordering::SeqCst);
    Ok(())
}

#[job]
fn patient(g: &mut Graph) {
    stays_away::node(g);
    g.tag("dagster/priority", "-1");
    goes_ahead::node(g);
}

#[tokio::test]
async fn a_step_that_waits_for_its_retry_holds_no_slot() {
    let world = World::of(Definitions::new("test").job(patient())).await;
    world.instance.set_pool_limit("single", Some(1)).await.unwrap();
    let lease = world.launch(new_run("patient")).await;
    let others = async {
        let deadline = clock::monotonic() + Duration::from_secs(10);
        while WAITED.load(Ordering::SeqCst) == 0 {
            assert!(clock::monotonic() < deadline, "the other step did not get the slot");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.instance.command(lease.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    };
    let (end, ()) = tokio::join!(world.execute(lease), others);
    assert_eq!(end.unwrap(), End::Canceled);
}

#[op]
async fn nothing() -> Result<Optional<u32>, Problem> {
    Ok(Optional(None))
}

#[graph]
fn inner(g: &mut Graph) {
    let left_out = nothing::node(g);
    negate::node(g, left_out);
}

#[job]
fn outer(g: &mut Graph) {
    inner::node(g);
}

#[tokio::test]
async fn an_output_that_is_left_out_skips_what_needs_it_and_fails_nothing() {
    let world = World::of(Definitions::new("test").job(outer())).await;
    let (lease, end) = world.run("outer").await;
    assert_eq!(end, End::Success);
    assert_eq!(world.steps(lease, EventKind::StepSuccess).await, ["inner.nothing"]);
    let skipped = world.told(lease, EventKind::StepSkipped).await;
    assert_eq!((skipped[0].0.as_str(), &skipped[0].1["failed"]), ("inner.negate", &json!(false)));
}

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST_AT_ONCE: AtomicUsize = AtomicUsize::new(0);

#[op]
async fn counted() -> Result<(), Problem> {
    let now = AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1;
    MOST_AT_ONCE.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(3)).await;
    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
    Ok(())
}

#[job]
fn many(g: &mut Graph) {
    for _ in 0..12 {
        counted::node(g);
    }
}

#[tokio::test]
async fn run_config_says_how_many_steps_work_at_once() {
    let world = World::of(Definitions::new("test").job(many())).await;
    let config = json!({"execution": {"config": {"max_concurrent": 3}}});
    let lease = world.launched("many", config, None).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(MOST_AT_ONCE.load(Ordering::SeqCst), 3);
}

struct Tool;

#[asset]
async fn with_tool(tool: Res<Tool>) -> Result<(), Problem> {
    let _: &Tool = &tool;
    Ok(())
}

#[asset]
async fn with_broken(broken: Res<Tool>) -> Result<(), Problem> {
    let _: &Tool = &broken;
    Ok(())
}

#[tokio::test]
async fn a_resource_is_made_once_for_a_run_and_one_that_cannot_be_is_named() {
    let definitions = Definitions::new("test")
        .assets([with_tool(), with_broken()])
        .resource("tool", |_| async { Ok(Arc::new(Tool)) })
        .resource("broken", |_| async { Err::<Arc<Tool>, _>(Problem::new(Code::Io, "no tool today")) })
        .job(asset_job("work", ["with_tool", "with_broken"]));
    let world = World::of(definitions).await;
    let (lease, end) = world.run("work").await;
    let problem = failure(end);
    assert!(problem.what.contains("`broken`") && problem.what.contains("no tool today"));
    let told = async |kind| {
        let told = world.told(lease, kind).await;
        let mut names: Vec<_> =
            told.into_iter().map(|(_, data)| data["resource"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(told(EventKind::ResourceInitStarted).await, ["broken", "tool"]);
    assert_eq!(told(EventKind::ResourceInitSuccess).await, ["tool"]);
    assert_eq!(told(EventKind::ResourceInitFailure).await, ["broken"]);
}

#[tokio::test]
async fn nothing_is_told_before_what_came_first() {
    let world = World::of(Definitions::new("test").job(fan())).await;
    let (lease, _) = world.run("fan").await;
    let events = world.events(lease).await;
    let place = |kind: EventKind, step: &str| {
        let is =
            |event: &catchment_core::Event| event.event.kind == kind && event.event.step_key.as_deref() == Some(step);
        events.iter().position(is).unwrap()
    };
    assert!(place(EventKind::StepSuccess, "numbers") < place(EventKind::StepStart, "square[n1]"));
    assert!(place(EventKind::StepSuccess, "square[n1]") < place(EventKind::StepStart, "negate[n1]"));
}
