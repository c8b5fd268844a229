//! Slots of concurrency pools.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use catchment_core::RunId;
use catchment_core::state::Command;
use catchment_instance::{InstanceError, Lease, MAX_LIMIT, SharedInstance, SlotClaim};

use super::{Backend, at, working_run};

async fn claim(instance: &SharedInstance, lease: Lease, step: &str, priority: i64, second: i64) -> SlotClaim {
    instance.claim_slot("db", step, priority, None, lease, at(second)).await.unwrap()
}

async fn free(instance: &SharedInstance, lease: Lease, step: &str) {
    instance.free_slot("db", lease.run_id, step).await.unwrap();
}

async fn holders(instance: &SharedInstance) -> Vec<String> {
    let pool = instance.pools().await.unwrap().into_iter().find(|pool| pool.name == "db");
    pool.map_or(Vec::new(), |pool| pool.slots.into_iter().map(|slot| slot.step_key).collect())
}

pub(crate) async fn slots_never_exceed_the_limit_under_many_claims(backend: &dyn Backend) {
    const LIMIT: u32 = 3;
    let instance = backend.open().await;
    instance.set_pool_limit("db", Some(LIMIT)).await.unwrap();
    let (held, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut claimers = Vec::new();
    for _ in 0..12 {
        let instance = backend.open().await;
        let lease = working_run(&instance).await;
        let (held, most) = (Arc::clone(&held), Arc::clone(&most));
        claimers.push(catchment_settings::task::spawn("test", async move {
            for step in ["one", "two", "three"] {
                while claim(&instance, lease, step, 0, 1).await != SlotClaim::Claimed {
                    tokio::task::yield_now().await;
                }
                most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Work that lasts a little: the others look meanwhile.
                assert!(holders(&instance).await.len() <= LIMIT as usize);
                held.fetch_sub(1, Ordering::SeqCst);
                free(&instance, lease, step).await;
            }
        }));
    }
    for claimer in claimers {
        claimer.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= LIMIT, "{most:?}");
    assert!(holders(&instance).await.is_empty());
}

pub(crate) async fn the_highest_priority_then_the_longest_wait_comes_first(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    instance.set_pool_limit("db", Some(1)).await.unwrap();
    assert_eq!(claim(&instance, lease, "first", 0, 1).await, SlotClaim::Claimed);
    assert_eq!(claim(&instance, lease, "first", 0, 1).await, SlotClaim::Claimed);
    assert_eq!(claim(&instance, lease, "late", 0, 3).await, SlotClaim::Waiting { before: 0 });
    assert_eq!(claim(&instance, lease, "early", 0, 2).await, SlotClaim::Waiting { before: 0 });
    assert_eq!(claim(&instance, lease, "late", 0, 9).await, SlotClaim::Waiting { before: 1 });
    assert_eq!(claim(&instance, lease, "urgent", 5, 4).await, SlotClaim::Waiting { before: 0 });
    for (done, next) in [("first", "urgent"), ("urgent", "early"), ("early", "late")] {
        free(&instance, lease, done).await;
        let answer = claim(&instance, lease, "late", 0, 5).await;
        assert_eq!(answer == SlotClaim::Claimed, next == "late", "{next}");
        assert_eq!(holders(&instance).await, [next]);
    }
}

pub(crate) async fn a_free_slot_goes_to_whoever_is_first_in_the_line(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    instance.set_pool_limit("db", Some(1)).await.unwrap();
    claim(&instance, lease, "holder", 0, 1).await;
    claim(&instance, lease, "first", 0, 2).await;
    claim(&instance, lease, "second", 0, 3).await;
    free(&instance, lease, "holder").await;
    // The second asks, and the slot goes to the first, who has not asked again.
    assert_eq!(claim(&instance, lease, "second", 0, 4).await, SlotClaim::Waiting { before: 0 });
    assert_eq!(holders(&instance).await, ["first"]);
    // One who gives up is passed over.
    claim(&instance, lease, "third", 0, 5).await;
    free(&instance, lease, "second").await;
    free(&instance, lease, "first").await;
    assert_eq!(claim(&instance, lease, "third", 0, 6).await, SlotClaim::Claimed);
}

pub(crate) async fn a_lower_limit_keeps_the_holders(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    // Without a limit everyone has a slot, and it is shown.
    for step in ["a", "b", "c"] {
        assert_eq!(claim(&instance, lease, step, 0, 1).await, SlotClaim::Claimed);
    }
    instance.set_pool_limit("db", Some(1)).await.unwrap();
    assert_eq!(holders(&instance).await.len(), 3);
    assert_eq!(claim(&instance, lease, "a", 0, 2).await, SlotClaim::Claimed);
    assert_eq!(claim(&instance, lease, "d", 0, 2).await, SlotClaim::Waiting { before: 0 });
    for step in ["a", "b"] {
        free(&instance, lease, step).await;
        assert_eq!(claim(&instance, lease, "d", 0, 3).await, SlotClaim::Waiting { before: 0 });
    }
    free(&instance, lease, "c").await;
    assert_eq!(claim(&instance, lease, "d", 0, 4).await, SlotClaim::Claimed);
    assert_eq!(claim(&instance, lease, "e", 0, 5).await, SlotClaim::Waiting { before: 0 });
    instance.set_pool_limit("db", None).await.unwrap();
    assert_eq!(claim(&instance, lease, "e", 0, 6).await, SlotClaim::Claimed);
    // The default of the settings is the limit of a pool that has none of its own.
    let by_default = instance.claim_slot("db", "f", 0, Some(2), lease, at(7)).await.unwrap();
    assert_eq!(by_default, SlotClaim::Waiting { before: 0 });
    let refused = instance.set_pool_limit("db", Some(MAX_LIMIT + 1)).await;
    assert!(matches!(refused, Err(InstanceError::Invalid(_))));
}

pub(crate) async fn a_run_that_ends_frees_its_slots_and_places(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (first, second) = (working_run(&instance).await, working_run(&instance).await);
    let third = working_run(&instance).await;
    instance.set_pool_limit("db", Some(1)).await.unwrap();
    claim(&instance, first, "holder", 0, 1).await;
    claim(&instance, second, "waiter", 9, 2).await;
    assert_eq!(claim(&instance, third, "last", 0, 3).await, SlotClaim::Waiting { before: 1 });
    instance.command(second.run_id, Command::ForceCancel, None, None, at(4)).await.unwrap();
    assert_eq!(claim(&instance, third, "last", 0, 5).await, SlotClaim::Waiting { before: 0 });
    instance.command(first.run_id, Command::Succeed, Some(first), None, at(6)).await.unwrap();
    assert_eq!(claim(&instance, third, "last", 0, 7).await, SlotClaim::Claimed);
    assert_eq!(instance.free_slots_of(third.run_id).await.unwrap(), 1);
    assert_eq!(instance.free_slots_of(third.run_id).await.unwrap(), 0);
}

pub(crate) async fn only_the_newest_lease_of_a_live_run_claims(backend: &dyn Backend) {
    let instance = backend.open().await;
    let old = working_run(&instance).await;
    let epoch = instance.revoke(old.run_id, at(1)).await.unwrap();
    let lost = instance.claim_slot("db", "a", 0, None, old, at(2)).await;
    assert!(matches!(lost, Err(InstanceError::LeaseLost { .. })), "{lost:?}");
    let lease = Lease { epoch, ..old };
    assert_eq!(claim(&instance, lease, "a", 0, 3).await, SlotClaim::Claimed);
    instance.command(old.run_id, Command::Succeed, Some(lease), None, at(4)).await.unwrap();
    let ended = instance.claim_slot("db", "a", 0, None, lease, at(5)).await;
    assert!(matches!(ended, Err(InstanceError::Refused(_))), "{ended:?}");
    let unknown = Lease { run_id: RunId::random(), epoch: 1 };
    assert!(instance.claim_slot("db", "a", 0, None, unknown, at(6)).await.is_err());
    assert!(instance.pools().await.unwrap().is_empty());
}

pub(crate) async fn pools_show_holders_and_those_who_wait(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    instance.set_pool_limit("empty", Some(7)).await.unwrap();
    instance.set_pool_limit("db", Some(1)).await.unwrap();
    for (step, priority, second) in [("a", 0, 1), ("b", 0, 2), ("c", 4, 3)] {
        claim(&instance, lease, step, priority, second).await;
    }
    let pools = instance.pools().await.unwrap();
    assert_eq!(
        pools.iter().map(|p| (p.name.as_str(), p.limit)).collect::<Vec<_>>(),
        [("db", Some(1)), ("empty", Some(7))]
    );
    let steps =
        |slots: &[catchment_instance::Slot]| slots.iter().map(|s| (s.step_key.clone(), s.since)).collect::<Vec<_>>();
    assert_eq!(steps(&pools[0].slots), [("a".to_owned(), at(1))]);
    assert_eq!(steps(&pools[0].waiting), [("c".to_owned(), at(3)), ("b".to_owned(), at(2))]);
    assert_eq!(pools[0].waiting[0].priority, 4);
}
