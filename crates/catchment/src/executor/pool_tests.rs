//! Steps and the slots of pools: who waits, how long, and for whose limits.

use catchment_core::EventKind;
use catchment_core::state::Command;
use catchment_instance::{Lease, SlotClaim};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use catchment_settings::config::{PoolGranularity, Pools};

use super::run::End;
use super::test_world::{World, new_run, until};
use crate::{Definitions, Graph, RetryPolicy, job, op};

/// Takes the only slot of a pool for another run.
async fn held(world: &World, pool: &str, job: &str) -> Lease {
    let other = world.launch(new_run(job)).await;
    let claimed = world.instance.claim_slot(pool, "other", 0, Some(1), other, clock::now()).await.unwrap();
    assert_eq!(claimed, SlotClaim::Claimed);
    other
}

/// Waits until so many steps wait for a slot, then gives the one that was held back.
async fn given_back(world: &World, pool: &str, other: Lease, waiting: usize) {
    until("the steps that wait", async || world.instance.pools().await.unwrap()[0].waiting.len() == waiting).await;
    world.instance.free_slot(pool, other.run_id, "other").await.unwrap();
}

#[op(pool = "narrow", retry = RetryPolicy { max_retries: 1, delay_s: 60.0, ..Default::default() })]
async fn needs_a_rest() -> Result<(), Problem> {
    Err(Problem::new(Code::Io, "later"))
}

#[op(pool = "narrow")]
async fn follows() -> Result<(), Problem> {
    Ok(())
}

#[job(concurrency = 2)]
fn queued(g: &mut Graph) {
    g.tag("dagster/priority", "1");
    needs_a_rest::node(g);
    follows::node(g);
}

#[tokio::test]
async fn a_step_that_once_waited_for_a_slot_waits_for_its_retry_as_long_as_it_says() {
    let world = World::of(Definitions::new("test").job(queued())).await;
    world.instance.set_pool_limit("narrow", Some(1)).await.unwrap();
    let other = held(&world, "narrow", "queued").await;
    let lease = world.launch(new_run("queued")).await;
    let look = async {
        given_back(&world, "narrow", other, 2).await;
        until("the second step", async || world.steps(lease, EventKind::StepSuccess).await == ["follows"]).await;
        assert_eq!(world.steps(lease, EventKind::StepUpForRetry).await, ["needs_a_rest"]);
        assert!(world.steps(lease, EventKind::StepRestarted).await.is_empty(), "its minute is not over");
        world.instance.command(lease.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    };
    let (end, ()) = tokio::join!(world.execute(lease), look);
    assert_eq!(end.unwrap(), End::Canceled);
}

#[op(pool = "limited")]
async fn limited() -> Result<(), Problem> {
    Ok(())
}

#[job]
fn one_limited(g: &mut Graph) {
    limited::node(g);
}

#[tokio::test]
async fn a_run_goes_by_the_settings_of_pools_that_the_daemon_told_its_process() {
    let told = async |granularity| {
        let variables = Pools { default_limit: Some(1), granularity }.variables();
        let definitions = Definitions::new("test").job(one_limited());
        World::with_environment(definitions, |name| variables.get(name).cloned()).await
    };
    let world = told(PoolGranularity::Op).await;
    let other = held(&world, "limited", "one_limited").await;
    let lease = world.launch(new_run("one_limited")).await;
    let (end, ()) = tokio::join!(world.execute(lease), given_back(&world, "limited", other, 1));
    assert_eq!(end.unwrap(), End::Success, "its step waited for the slot");

    let world = told(PoolGranularity::Run).await;
    held(&world, "limited", "one_limited").await;
    let (_, end) = world.run("one_limited").await;
    assert_eq!(end, End::Success, "slots are a matter of whole runs");
}
