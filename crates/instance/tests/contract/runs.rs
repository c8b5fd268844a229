//! Runs and their leases.

use catchment_core::state::Command;
use catchment_core::{EventKind, Run, RunStatus};
use catchment_instance::{InstanceError, Lease, RunFilter, SharedInstance};
use catchment_model::{Code, Problem};

use super::{Backend, at, new_run};

async fn launched(instance: &SharedInstance) -> (Run, Lease) {
    let run = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    let run = instance.command(run.run_id, Command::Launch, None, Some(at(15)), at(1)).await.unwrap();
    let lease = Lease { run_id: run.run_id, epoch: run.lease_epoch };
    (run, lease)
}

async fn started(instance: &SharedInstance) -> (Run, Lease) {
    let (run, lease) = launched(instance).await;
    let run = instance.command(run.run_id, Command::Start, Some(lease), Some(at(12)), at(2)).await.unwrap();
    (run, lease)
}

pub(crate) async fn a_run_goes_from_the_queue_to_its_end_with_an_event_for_each_step(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = started(&instance).await;
    assert_eq!((run.status, run.launched_at, run.started_at), (RunStatus::Started, Some(at(1)), Some(at(2))));
    let run = instance.command(run.run_id, Command::Succeed, Some(lease), None, at(3)).await.unwrap();
    assert_eq!((run.status, run.ended_at, run.lease_until), (RunStatus::Success, Some(at(3)), None));
    let events = instance.run_events(run.run_id, 0, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|e| (e.event.kind, e.event.timestamp)).collect();
    assert_eq!(
        kinds,
        [
            (EventKind::RunEnqueued, at(0)),
            (EventKind::RunStarting, at(1)),
            (EventKind::RunStart, at(2)),
            (EventKind::RunSuccess, at(3)),
        ]
    );
}

pub(crate) async fn what_was_written_is_there_after_a_new_start(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = started(&instance).await;
    let problem = Problem::new(Code::CrsMissing, "no CRS").place("a.shp");
    let run = instance.command(run.run_id, Command::Fail(problem.clone()), Some(lease), None, at(3)).await.unwrap();
    drop(instance);
    let again = backend.open().await;
    let found = again.run(run.run_id).await.unwrap().unwrap();
    assert_eq!(found, run);
    assert_eq!(found.problem, Some(problem.clone()));
    let last = again.run_events(run.run_id, 0, 100).await.unwrap().pop().unwrap();
    assert_eq!(last.event.data["problem"]["code"], "crs_missing");
    assert!(again.live_runs().await.unwrap().is_empty());
}

pub(crate) async fn a_run_is_launched_once_however_many_daemons_try(backend: &dyn Backend) {
    let first = backend.open().await;
    let run = first.enqueue(new_run("parcels"), at(0)).await.unwrap();
    let mut instances = vec![first.clone()];
    for _ in 0..5 {
        instances.push(backend.open().await);
    }
    let tries = instances.iter().map(|i| i.command(run.run_id, Command::Launch, None, Some(at(9)), at(1)));
    let won = futures::future::join_all(tries).await.into_iter().filter(|r| match r {
        Ok(run) => run.status == RunStatus::Starting,
        Err(InstanceError::Refused(_)) => false,
        Err(other) => panic!("{other}"),
    });
    assert_eq!(won.count(), 1);
    assert_eq!(first.run(run.run_id).await.unwrap().unwrap().lease_epoch, 1);
}

pub(crate) async fn a_newer_epoch_shuts_the_old_process_out(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = started(&instance).await;
    let newest = instance.revoke(run.run_id, at(20)).await.unwrap();
    assert_eq!(newest, lease.epoch + 1);
    let lost = |e: &InstanceError| matches!(e, InstanceError::LeaseLost { newest: n, .. } if *n == newest);
    assert!(lost(&instance.renew(lease, at(30)).await.unwrap_err()));
    assert!(lost(&instance.command(run.run_id, Command::Succeed, Some(lease), None, at(21)).await.unwrap_err()));
    let event = instance.run_events(run.run_id, 0, 1).await.unwrap().remove(0).event;
    assert!(lost(&instance.append(std::slice::from_ref(&event), Some(lease)).await.unwrap_err()));
    let owner = Lease { run_id: run.run_id, epoch: newest };
    instance.append(&[event], Some(owner)).await.unwrap();
    let run = instance.command(run.run_id, Command::Succeed, Some(owner), None, at(21)).await.unwrap();
    assert_eq!(run.status, RunStatus::Success);
}

pub(crate) async fn a_run_that_never_started_is_put_back_and_the_late_process_is_refused(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, late) = launched(&instance).await;
    let run = instance.command(run.run_id, Command::Requeue, Some(late), None, at(20)).await.unwrap();
    assert_eq!((run.status, run.lease_until, run.launched_at), (RunStatus::Queued, None, None));
    assert!(run.lease_epoch > late.epoch);
    let error = instance.command(run.run_id, Command::Start, Some(late), Some(at(30)), at(21)).await.unwrap_err();
    assert!(matches!(error, InstanceError::LeaseLost { .. }), "{error}");
    let run = instance.command(run.run_id, Command::Launch, None, Some(at(40)), at(22)).await.unwrap();
    let error = instance.command(run.run_id, Command::Start, Some(late), Some(at(30)), at(23)).await.unwrap_err();
    assert!(matches!(error, InstanceError::LeaseLost { .. }), "{error}");
    let lease = Lease { run_id: run.run_id, epoch: run.lease_epoch };
    instance.command(run.run_id, Command::Start, Some(lease), Some(at(40)), at(24)).await.unwrap();
    let error = instance.command(run.run_id, Command::Requeue, Some(lease), None, at(25)).await.unwrap_err();
    assert!(matches!(error, InstanceError::Refused(_)), "{error}");
}

pub(crate) async fn a_lease_is_prolonged_and_never_shortened(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (_, lease) = launched(&instance).await;
    let run = instance.renew(lease, at(30)).await.unwrap();
    assert_eq!(run.lease_until, Some(at(30)));
    let run = instance.renew(lease, at(25)).await.unwrap();
    assert_eq!(run.lease_until, Some(at(30)));
    assert_eq!(instance.run(lease.run_id).await.unwrap().unwrap(), run);
}

pub(crate) async fn the_process_of_a_run_is_noted_until_another_may_hold_its_lease(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = launched(&instance).await;
    assert_eq!(run.process, None);
    let noted = instance.note_process(lease, "job/catchment-17").await.unwrap();
    assert_eq!((noted.process.as_deref(), noted.lease_until), (Some("job/catchment-17"), run.lease_until));
    assert_eq!(instance.run(run.run_id).await.unwrap().unwrap(), noted);
    let run = instance.command(run.run_id, Command::Requeue, Some(lease), None, at(20)).await.unwrap();
    assert_eq!(run.process, None);
    let error = instance.note_process(lease, "job/catchment-17").await.unwrap_err();
    assert!(matches!(error, InstanceError::LeaseLost { .. }), "{error}");
}

pub(crate) async fn a_queued_run_is_cancelled_at_once_and_a_live_one_shows_it_to_its_holder(backend: &dyn Backend) {
    let instance = backend.open().await;
    let queued = instance.enqueue(new_run("roads"), at(0)).await.unwrap();
    let queued = instance.command(queued.run_id, Command::Cancel, None, None, at(1)).await.unwrap();
    assert_eq!((queued.status, queued.ended_at), (RunStatus::Canceled, Some(at(1))));
    let (run, lease) = started(&instance).await;
    instance.command(run.run_id, Command::Cancel, None, None, at(3)).await.unwrap();
    assert_eq!(instance.renew(lease, at(13)).await.unwrap().status, RunStatus::Canceling);
    let run = instance.command(run.run_id, Command::Canceled, Some(lease), None, at(4)).await.unwrap();
    assert_eq!(run.status, RunStatus::Canceled);
}

pub(crate) async fn a_run_that_has_ended_takes_nothing_more(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = started(&instance).await;
    let ended = instance.command(run.run_id, Command::Succeed, Some(lease), None, at(3)).await.unwrap();
    for command in [Command::Launch, Command::Start, Command::Cancel, Command::Canceled, Command::Requeue] {
        let error = instance.command(run.run_id, command, Some(lease), None, at(4)).await.unwrap_err();
        assert!(matches!(error, InstanceError::Refused(_)), "{error}");
    }
    assert!(matches!(instance.revoke(run.run_id, at(4)).await.unwrap_err(), InstanceError::Refused(_)));
    assert_eq!(instance.renew(lease, at(50)).await.unwrap(), ended);
    assert_eq!(instance.run_events(run.run_id, 0, 100).await.unwrap().len(), 4);
}

pub(crate) async fn an_unknown_run_is_not_found_and_a_known_id_is_refused(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = new_run("parcels");
    assert_eq!(instance.run(run.run_id).await.unwrap(), None);
    let error = instance.command(run.run_id, Command::Launch, None, None, at(1)).await.unwrap_err();
    assert!(matches!(error, InstanceError::NotFound(_)), "{error}");
    instance.enqueue(run.clone(), at(0)).await.unwrap();
    assert!(matches!(instance.enqueue(run, at(0)).await.unwrap_err(), InstanceError::Refused(_)));
}

pub(crate) async fn runs_are_listed_newest_first_by_filter_and_page(backend: &dyn Backend) {
    let instance = backend.open().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let mut run = new_run(if n % 2 == 0 { "parcels" } else { "roads" });
        run.tags.insert("n".into(), n.to_string());
        ids.push(instance.enqueue(run, at(n)).await.unwrap().run_id);
    }
    instance.command(ids[5], Command::Cancel, None, None, at(9)).await.unwrap();
    let list = async |filter: RunFilter, before, limit| {
        let runs = instance.runs(&filter, before, limit).await.unwrap();
        runs.iter().map(|r| ids.iter().position(|id| *id == r.run_id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(list(RunFilter::default(), None, 4).await, [5, 4, 3, 2]);
    assert_eq!(list(RunFilter::default(), Some(ids[2]), 4).await, [1, 0]);
    let queued = RunFilter { statuses: vec![RunStatus::Queued, RunStatus::Started], ..RunFilter::default() };
    assert_eq!(list(queued, None, 2).await, [4, 3]);
    let roads = RunFilter {
        partition_key: Some("roads".into()),
        job_name: Some("spatial_asset_job".into()),
        ..RunFilter::default()
    };
    assert_eq!(list(roads, None, 9).await, [5, 3, 1]);
    let tagged =
        RunFilter { tags: vec![("team".into(), "maps".into()), ("n".into(), "2".into())], ..RunFilter::default() };
    assert_eq!(list(tagged, None, 9).await, [2]);
    let live: Vec<_> = instance.live_runs().await.unwrap().iter().map(|r| r.run_id).collect();
    assert_eq!(live, ids[..5]);
}

pub(crate) async fn runs_are_counted_and_listed_by_location_time_and_id(backend: &dyn Backend) {
    let instance = backend.open().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let mut run = new_run("parcels");
        run.location = if n < 4 { "etl_pipelines".into() } else { "other".into() };
        ids.push(instance.enqueue(run, at(n)).await.unwrap().run_id);
    }
    let find = async |filter: RunFilter| {
        let runs = instance.runs(&filter, None, 99).await.unwrap();
        assert_eq!(instance.count_runs(&filter).await.unwrap(), runs.len() as u64);
        runs.iter().map(|r| ids.iter().position(|id| *id == r.run_id).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(find(RunFilter { location: Some("other".into()), ..RunFilter::default() }).await, [5, 4]);
    let between = RunFilter { created_after: Some(at(1)), created_before: Some(at(3)), ..RunFilter::default() };
    assert_eq!(find(between).await, [2, 1]);
    assert_eq!(find(RunFilter { run_ids: vec![ids[3], ids[0]], ..RunFilter::default() }).await, [3, 0]);
}

pub(crate) async fn a_run_keeps_its_selection_and_its_parents(backend: &dyn Backend) {
    let instance = backend.open().await;
    let parent = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    let mut run = new_run("parcels");
    run.selection.steps = vec!["load".into()];
    run.parent_run_id = Some(parent.run_id);
    run.root_run_id = Some(parent.run_id);
    let made = instance.enqueue(run.clone(), at(1)).await.unwrap();
    let found = instance.run(run.run_id).await.unwrap().unwrap();
    assert_eq!((&found.selection, found.parent_run_id), (&run.selection, run.parent_run_id));
    assert_eq!(found, made);
}

pub(crate) async fn tags_are_added_changed_and_completed(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    instance.enqueue(new_run("paths"), at(0)).await.unwrap();
    let tags = [("team".to_owned(), "roads".to_owned()), ("tea".to_owned(), "green".to_owned())];
    let changed = instance.set_tags(run.run_id, &tags).await.unwrap();
    assert_eq!(instance.run(run.run_id).await.unwrap().unwrap(), changed);
    assert_eq!((changed.tags["team"].as_str(), changed.tags["dagster/partition"].as_str()), ("roads", "parcels"));
    let found = async |key: &str, value: &str| {
        let tags = vec![(key.to_owned(), value.to_owned())];
        instance.count_runs(&RunFilter { tags, ..RunFilter::default() }).await.unwrap()
    };
    assert_eq!((found("team", "roads").await, found("team", "maps").await, found("tea", "green").await), (1, 1, 1));
    assert_eq!(instance.run_tags(None, "te", 9).await.unwrap(), ["tea", "team"]);
    assert_eq!(instance.run_tags(None, "", 1).await.unwrap(), ["dagster/partition"]);
    assert_eq!(instance.run_tags(Some("dagster/partition"), "pa", 9).await.unwrap(), ["parcels", "paths"]);
    assert!(instance.run_tags(Some("team"), "x", 9).await.unwrap().is_empty());
}

pub(crate) async fn a_forced_cancel_ends_a_run_at_once_and_shuts_its_process_out(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (run, lease) = started(&instance).await;
    let ended = instance.command(run.run_id, Command::ForceCancel, None, None, at(5)).await.unwrap();
    assert_eq!((ended.status, ended.ended_at, ended.lease_until), (RunStatus::Canceled, Some(at(5)), None));
    let event = instance.run_events(run.run_id, 0, 1).await.unwrap().remove(0).event;
    let error = instance.append(&[event], Some(lease)).await.unwrap_err();
    assert!(matches!(error, InstanceError::LeaseLost { .. }), "{error}");
}
