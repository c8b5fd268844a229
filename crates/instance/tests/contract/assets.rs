//! What the event log says of assets and partitions.

use catchment_core::state::Command;
use catchment_core::{EventKind, NewEvent, RunId};
use catchment_instance::{AssetRecord, Lease, PartitionCounts, PartitionState, PartitionStatus, SharedInstance};
use catchment_model::{Code, Problem};
use serde_json::json;

use super::{Backend, about, at, failed, materialized, planned, working_run};

async fn append(instance: &SharedInstance, events: &[NewEvent]) -> i64 {
    instance.append(events, None).await.unwrap()
}

async fn record(instance: &SharedInstance, asset: &str) -> AssetRecord {
    instance.assets(&[asset.to_owned()], None, 9).await.unwrap().remove(0)
}

async fn partition(instance: &SharedInstance, asset: &str, key: &str) -> Option<PartitionState> {
    instance.asset_partitions(asset, &[key.to_owned()]).await.unwrap().pop()
}

async fn status(instance: &SharedInstance, asset: &str, key: &str) -> Option<PartitionStatus> {
    partition(instance, asset, key).await.map(|state| state.status)
}

async fn fail(instance: &SharedInstance, lease: Lease, second: i64) {
    let problem = Problem::new(Code::Bug, "broken");
    instance.command(lease.run_id, Command::Fail(problem), Some(lease), None, at(second)).await.unwrap();
}

pub(crate) async fn the_newest_materialisation_of_an_asset_and_its_partition_is_kept(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    append(&instance, &[materialized(run, "a", Some("x"), 1)]).await;
    let second = append(&instance, &[materialized(run, "a", Some("y"), 2)]).await;
    let third = append(&instance, &[materialized(run, "a", Some("x"), 3)]).await;
    let asset = record(&instance, "a").await;
    assert_eq!((asset.materialized, asset.materialized_by), (Some((third, at(3))), Some(run)));
    assert_eq!((asset.data_version.as_deref(), asset.code_version.as_deref()), (Some("d3"), Some("c1")));
    let found = instance.asset_partitions("a", &[]).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|p| (p.partition.as_str(), p.materialized, p.data_version.as_deref())).collect();
    assert_eq!(found, [("x", Some((third, at(3))), Some("d3")), ("y", Some((second, at(2))), Some("d2"))]);
    let whole = append(&instance, &[materialized(run, "whole", None, 4)]).await;
    let found = instance.asset_partitions("whole", &[]).await.unwrap();
    assert_eq!((found.len(), found[0].partition.as_str(), found[0].last_event), (1, "", whole));
    // It is there for whoever opens the state anew.
    assert_eq!(record(&backend.open().await, "a").await, asset);
}

pub(crate) async fn a_partition_is_materialising_while_a_live_run_has_planned_it(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    let run = lease.run_id;
    append(&instance, &[planned(run, "a", Some("x"), 1), planned(run, "a", Some("y"), 1)]).await;
    assert_eq!(record(&instance, "a").await.in_progress, Some(run));
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materializing));
    append(&instance, &[materialized(run, "a", Some("x"), 2)]).await;
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materialized));
    assert_eq!(record(&instance, "a").await.in_progress, Some(run));
    let counts = PartitionCounts { materialized: 1, failed: 0, materializing: 1 };
    assert_eq!(instance.count_partitions("a").await.unwrap(), counts);
    append(&instance, &[materialized(run, "a", Some("y"), 3)]).await;
    assert_eq!(record(&instance, "a").await.in_progress, None);
    instance.command(run, Command::Succeed, Some(lease), None, at(4)).await.unwrap();
    let counts = PartitionCounts { materialized: 2, failed: 0, materializing: 0 };
    assert_eq!(instance.count_partitions("a").await.unwrap(), counts);
}

pub(crate) async fn a_partition_whose_later_run_failed_has_failed(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (first, second) = (working_run(&instance).await.run_id, working_run(&instance).await.run_id);
    let made = append(&instance, &[materialized(first, "a", Some("x"), 1)]).await;
    let lost = append(&instance, &[planned(second, "a", Some("x"), 2), failed(second, "a", Some("x"), 3)]).await;
    let state = partition(&instance, "a", "x").await.unwrap();
    assert_eq!((state.status, state.materialized), (PartitionStatus::Failed, Some((made, at(1)))));
    assert_eq!((state.last_event, state.run_id), (lost, second));
    let asset = record(&instance, "a").await;
    assert_eq!((asset.failed, asset.materialized, asset.in_progress), (Some(lost), Some((made, at(1))), None));
    append(&instance, &[materialized(second, "a", Some("x"), 4)]).await;
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materialized));
}

pub(crate) async fn what_a_failed_run_left_undone_has_failed_and_the_log_says_so(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    let run = lease.run_id;
    append(
        &instance,
        &[
            planned(run, "a", Some("x"), 1),
            planned(run, "a", Some("y"), 1),
            planned(run, "b", None, 1),
            materialized(run, "a", Some("x"), 2),
        ],
    )
    .await;
    fail(&instance, lease, 5).await;
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materialized));
    assert_eq!(status(&instance, "a", "y").await, Some(PartitionStatus::Failed));
    assert_eq!(status(&instance, "b", "").await, Some(PartitionStatus::Failed));
    assert_eq!(record(&instance, "b").await.in_progress, None);
    let told = instance.events_after(0, &[EventKind::AssetFailedToMaterialize], 9).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.event.asset_key(), e.event.partition(), e.event.timestamp)).collect();
    assert_eq!(told, [(Some("a"), Some("y"), at(5)), (Some("b"), None, at(5))]);
}

pub(crate) async fn what_a_cancelled_run_left_undone_is_as_it_was_before(backend: &dyn Backend) {
    let instance = backend.open().await;
    let earlier = working_run(&instance).await.run_id;
    append(&instance, &[materialized(earlier, "a", Some("there"), 1), failed(earlier, "a", Some("failed"), 1)]).await;
    let run = working_run(&instance).await.run_id;
    let keys = ["there", "failed", "new"];
    append(&instance, &keys.map(|key| planned(run, "a", Some(key), 2))).await;
    assert_eq!(instance.count_partitions("a").await.unwrap().materializing, 3);
    instance.command(run, Command::ForceCancel, None, None, at(3)).await.unwrap();
    assert_eq!(status(&instance, "a", "there").await, Some(PartitionStatus::Materialized));
    assert_eq!(status(&instance, "a", "failed").await, Some(PartitionStatus::Failed));
    assert_eq!(status(&instance, "a", "new").await, None);
    assert_eq!(record(&instance, "a").await.in_progress, None);
    let counts = PartitionCounts { materialized: 1, failed: 1, materializing: 0 };
    assert_eq!(instance.count_partitions("a").await.unwrap(), counts);
    assert_eq!(instance.asset_partitions("a", &[]).await.unwrap().len(), 2);
}

pub(crate) async fn two_runs_of_one_partition_are_told_apart(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (first, second) = (working_run(&instance).await, working_run(&instance).await);
    append(&instance, &[planned(first.run_id, "a", Some("x"), 1), planned(second.run_id, "a", Some("x"), 2)]).await;
    assert_eq!(record(&instance, "a").await.in_progress, Some(second.run_id));
    append(&instance, &[materialized(first.run_id, "a", Some("x"), 3)]).await;
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materializing));
    fail(&instance, second, 4).await;
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Failed));
}

pub(crate) async fn a_run_that_has_ended_plans_nothing(backend: &dyn Backend) {
    let instance = backend.open().await;
    let lease = working_run(&instance).await;
    instance.command(lease.run_id, Command::Succeed, Some(lease), None, at(1)).await.unwrap();
    append(&instance, &[planned(lease.run_id, "a", None, 2), planned(RunId::random(), "a", None, 2)]).await;
    assert!(instance.assets(&[], None, 9).await.unwrap().is_empty());
    assert!(instance.asset_partitions("a", &[]).await.unwrap().is_empty());
}

pub(crate) async fn a_wiped_partition_is_gone_and_the_asset_is_as_new_as_what_is_left(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    append(&instance, &[materialized(run, "a", Some("x"), 1), materialized(run, "a", Some("y"), 2)]).await;
    instance.wipe_asset("a", Some(&["y".into()]), at(3)).await.unwrap();
    assert_eq!(status(&instance, "a", "y").await, None);
    assert_eq!(status(&instance, "a", "x").await, Some(PartitionStatus::Materialized));
    let asset = record(&instance, "a").await;
    assert_eq!((asset.materialized.map(|m| m.1), asset.data_version.as_deref()), (Some(at(1)), Some("d1")));
    assert_eq!(asset.wiped_at, None);
    instance.wipe_asset("a", Some(&["x".into()]), at(4)).await.unwrap();
    assert_eq!(record(&instance, "a").await.materialized, None);
    let told = instance.events_after(0, &[EventKind::AssetWiped], 9).await.unwrap();
    assert_eq!(told.iter().map(|e| e.event.partition()).collect::<Vec<_>>(), [Some("y"), Some("x")]);
}

pub(crate) async fn a_wiped_asset_is_gone_with_its_partitions(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    let history =
        [materialized(run, "a", Some("x"), 1), failed(run, "a", Some("y"), 2), planned(run, "a", Some("z"), 3)];
    append(&instance, &history).await;
    append(&instance, &[materialized(run, "b", None, 3)]).await;
    instance.wipe_asset("a", None, at(4)).await.unwrap();
    let asset = record(&instance, "a").await;
    let wiped =
        AssetRecord { asset_key: "a".into(), wiped_at: Some(at(4)), in_progress: Some(run), ..AssetRecord::default() };
    assert_eq!(asset, wiped);
    let left = instance.asset_partitions("a", &[]).await.unwrap();
    assert_eq!(
        left.iter().map(|p| (p.partition.as_str(), p.status)).collect::<Vec<_>>(),
        [("z", PartitionStatus::Materializing)]
    );
    assert!(record(&instance, "b").await.materialized.is_some());
    append(&instance, &[materialized(run, "a", Some("z"), 5)]).await;
    assert_eq!(record(&instance, "a").await.materialized.map(|m| m.1), Some(at(5)));
}

pub(crate) async fn an_observation_is_not_a_materialisation(backend: &dyn Backend) {
    let instance = backend.open().await;
    let observed = |asset: &str, second: i64| {
        let versions = json!({ "data_version": format!("o{second}") });
        about(EventKind::AssetObservation, RunId::NONE, asset, None, second, versions)
    };
    let id = append(&instance, &[observed("watched", 1)]).await;
    let asset = record(&instance, "watched").await;
    assert_eq!((asset.observed, asset.materialized), (Some((id, at(1))), None));
    assert_eq!(asset.data_version.as_deref(), Some("o1"));
    assert!(instance.asset_partitions("watched", &[]).await.unwrap().is_empty());
    append(&instance, &[materialized(RunId::NONE, "made", None, 2), observed("made", 3)]).await;
    assert_eq!(record(&instance, "made").await.data_version.as_deref(), Some("d2"));
}

pub(crate) async fn assets_are_listed_by_key_and_page(backend: &dyn Backend) {
    let instance = backend.open().await;
    // In the order of bytes, whatever the language of the server.
    let keys = ["B", "a", "a/b", "a_b", "é"];
    let events: Vec<_> = keys.iter().rev().map(|key| materialized(RunId::NONE, key, None, 1)).collect();
    append(&instance, &events).await;
    let list = async |only: &[String], after: Option<&str>, limit| {
        let found = instance.assets(only, after, limit).await.unwrap();
        found.into_iter().map(|asset| asset.asset_key).collect::<Vec<_>>()
    };
    assert_eq!(list(&[], None, 9).await, keys);
    assert_eq!(list(&[], None, 2).await, ["B", "a"]);
    assert_eq!(list(&[], Some("a"), 2).await, ["a/b", "a_b"]);
    assert_eq!(list(&["é".into(), "a".into(), "none".into()], None, 9).await, ["a", "é"]);
    assert_eq!(list(&["é".into(), "a".into()], Some("a"), 9).await, ["é"]);
}

pub(crate) async fn many_partitions_are_found_by_their_keys(backend: &dyn Backend) {
    let instance = backend.open().await;
    let keys: Vec<String> = (0..1200).map(|n| format!("p{n:04}")).collect();
    let events: Vec<_> = keys.iter().map(|key| materialized(RunId::NONE, "a", Some(key), 1)).collect();
    append(&instance, &events).await;
    assert_eq!(instance.count_partitions("a").await.unwrap().materialized, 1200);
    let mut wanted = keys.clone();
    wanted.reverse();
    wanted.push("none".into());
    let found = instance.asset_partitions("a", &wanted).await.unwrap();
    assert_eq!(found.into_iter().map(|p| p.partition).collect::<Vec<_>>(), keys);
}

pub(crate) async fn writers_of_the_same_assets_do_not_stop_each_other(backend: &dyn Backend) {
    let mut writers = Vec::new();
    for writer in 0..4 {
        let instance = backend.open().await;
        writers.push(catchment_settings::task::spawn("test", async move {
            for n in 0..15 {
                // Half of them the other way round: whoever locked as it came would wait in a circle.
                let mut keys = ["a", "b", "c"];
                if writer % 2 == 0 {
                    keys.reverse();
                }
                let events = keys.map(|key| materialized(RunId::NONE, key, Some(&format!("{writer}-{n}")), n));
                instance.append(&events, None).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let instance = backend.open().await;
    for key in ["a", "b", "c"] {
        assert_eq!(instance.count_partitions(key).await.unwrap().materialized, 60);
        let partitions = instance.asset_partitions(key, &[]).await.unwrap();
        let newest = partitions.iter().filter_map(|p| p.materialized).max_by_key(|m| m.0);
        assert_eq!(record(&instance, key).await.materialized, newest);
    }
}
