//! What is removed, and what stays.

use catchment_core::state::Command;
use catchment_core::{EventKind, RunId, RunKey};
use catchment_instance::{Enqueued, InstanceError, RunFilter, SharedInstance};

use super::{Backend, at, line, new_run};

/// A run that ended at that second, with lines in its log.
async fn ended(instance: &SharedInstance, second: i64, lines: i64) -> RunId {
    let run = instance.enqueue(new_run("parcels"), at(second - 1)).await.unwrap();
    let log: Vec<_> = (0..lines).map(|n| line(run.run_id, n)).collect();
    instance.append(&log, None).await.unwrap();
    instance.command(run.run_id, Command::Cancel, None, None, at(second)).await.unwrap();
    run.run_id
}

pub(crate) async fn a_run_key_outlives_the_deletion_of_its_run(backend: &dyn Backend) {
    let instance = backend.open().await;
    let key = RunKey { scope: "sensor:etl/manifests".into(), key: "b1".into() };
    let Enqueued::Made(run) = instance.enqueue_once(key.clone(), new_run("parcels"), at(0)).await.unwrap() else {
        panic!("the key is new");
    };
    let again = instance.enqueue_once(key.clone(), new_run("parcels"), at(1)).await.unwrap();
    assert_eq!(again, Enqueued::Known(run.run_id));
    let other = RunKey { scope: "sensor:etl/others".into(), ..key.clone() };
    assert!(matches!(instance.enqueue_once(other, new_run("roads"), at(1)).await.unwrap(), Enqueued::Made(_)));
    instance.command(run.run_id, Command::Cancel, None, None, at(2)).await.unwrap();
    instance.delete_run(run.run_id).await.unwrap();
    assert_eq!(instance.run(run.run_id).await.unwrap(), None);
    let after = backend.open().await.enqueue_once(key, new_run("parcels"), at(3)).await.unwrap();
    assert_eq!(after, Enqueued::Known(run.run_id));
}

pub(crate) async fn a_run_key_makes_one_run_however_many_ask_at_once(backend: &dyn Backend) {
    let mut instances = Vec::new();
    for _ in 0..6 {
        instances.push(backend.open().await);
    }
    let key = RunKey { scope: "s".into(), key: "k".into() };
    let asked = instances.iter().map(|i| i.enqueue_once(key.clone(), new_run("parcels"), at(0)));
    let answers: Vec<_> = futures::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| matches!(a, Enqueued::Made(_))).count(), 1);
    assert!(answers.iter().all(|a| a.run_id() == answers[0].run_id()));
    assert_eq!(instances[0].count_runs(&RunFilter::default()).await.unwrap(), 1);
}

pub(crate) async fn a_run_is_deleted_with_its_events_and_tags_once_it_has_ended(backend: &dyn Backend) {
    let instance = backend.open().await;
    let live = instance.enqueue(new_run("roads"), at(0)).await.unwrap().run_id;
    assert!(matches!(instance.delete_run(live).await.unwrap_err(), InstanceError::Refused(_)));
    let run = ended(&instance, 5, 12_000).await;
    instance.delete_run(run).await.unwrap();
    assert!(instance.run_events(run, 0, 9).await.unwrap().is_empty());
    assert_eq!(instance.run_tags(Some("dagster/partition"), "", 9).await.unwrap(), ["roads"]);
    assert!(matches!(instance.delete_run(run).await.unwrap_err(), InstanceError::NotFound(_)));
    assert_eq!(instance.run_events(live, 0, 9).await.unwrap().len(), 1);
}

pub(crate) async fn runs_are_purged_by_their_end_oldest_first(backend: &dyn Backend) {
    let instance = backend.open().await;
    let late = ended(&instance, 30, 1).await;
    let early = ended(&instance, 10, 1).await;
    let middle = ended(&instance, 20, 1).await;
    let live = instance.enqueue(new_run("roads"), at(1)).await.unwrap().run_id;
    assert_eq!(instance.purge_runs(at(30), 1).await.unwrap(), 1);
    assert_eq!(instance.run(early).await.unwrap(), None);
    assert_eq!(instance.purge_runs(at(30), 9).await.unwrap(), 1);
    assert_eq!(instance.run(middle).await.unwrap(), None);
    assert_eq!(instance.purge_runs(at(30), 9).await.unwrap(), 0);
    for kept in [late, live] {
        assert!(instance.run(kept).await.unwrap().is_some());
    }
    // Of one that was never there, nobody can say that it was deleted.
    let asked = [late, early, middle, live, RunId::random()];
    assert_eq!(instance.deleted_runs(&asked).await.unwrap(), [early, middle].into());
}

pub(crate) async fn a_purge_of_events_takes_lines_and_leaves_what_changed_a_run(backend: &dyn Backend) {
    let instance = backend.open().await;
    let old = ended(&instance, 10, 7).await;
    let new = ended(&instance, 20, 7).await;
    let left = async |run| instance.run_events(run, 0, 99).await.unwrap();
    assert_eq!(instance.purge_events(at(15), 3).await.unwrap(), 3);
    assert_eq!(left(old).await.len(), 6);
    assert_eq!(instance.purge_events(at(15), 99).await.unwrap(), 4);
    let kinds: Vec<_> = left(old).await.iter().map(|e| e.event.kind).collect();
    assert_eq!(kinds, [EventKind::RunEnqueued, EventKind::RunCanceled]);
    assert_eq!(left(new).await.len(), 9);
    assert_eq!(instance.purge_events(at(15), 99).await.unwrap(), 0);
}

pub(crate) async fn ids_of_events_that_were_removed_are_not_given_again(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = ended(&instance, 10, 3).await;
    let last = instance.last_event_id().await.unwrap();
    instance.delete_run(run).await.unwrap();
    drop(instance);
    let instance = backend.open().await;
    let next = instance.append(&[line(RunId::NONE, 1)], None).await.unwrap();
    assert!(next > last, "{next} after {last}");
}
