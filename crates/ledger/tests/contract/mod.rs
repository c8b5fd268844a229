//! What every backend of the ledger promises. Each function takes an empty ledger.

use catchment_ledger::{Ledger, LedgerError, PageRequest, Reservation, StatusChange, new_id};
use catchment_model::documents::{AssetFormat, AssetKind, AssetMetadata, ContentHash, Provenance};
use catchment_model::manifest::Rules;
use catchment_model::{
    ActivityLog, Asset, Code, DatasetId, Lineage, Manifest, ManifestDoc, ObjectId, Problem, RejectedManifest, RunDoc,
    Status,
};
use jiff::Timestamp;

/// A point of the tests' time.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn dataset(name: &str) -> DatasetId {
    name.parse().unwrap()
}

fn manifest(batch_id: &str, etag: &str) -> ManifestDoc {
    let text = format!(
        r#"{{"batch_id": "{batch_id}", "uploader": "alice", "intent": "ingest_vector", "metadata": {{"tags": {{"n": 1}}}},
            "files": [{{"path": "s3://landing-zone/a.gpkg", "type": "vector", "format": "GPKG"}}]}}"#
    );
    let manifest = Manifest::parse(text.as_bytes(), &Rules { landing_bucket: "landing-zone".into() }).unwrap();
    ManifestDoc::queued(new_id(at(0)), manifest, format!("manifests/{batch_id}.json"), etag.into(), None, at(0))
}

/// A run that may commit.
pub(crate) fn run(uuid: &str, epoch: i64) -> RunDoc {
    RunDoc {
        started_at: Some(at(1)),
        expected_outputs: vec!["out".into()],
        ..RunDoc::starting(new_id(at(0)), uuid.into(), "spatial_asset_job".into(), epoch)
    }
}

/// An asset of that run.
pub(crate) fn asset(run: &RunDoc, output: &str, dataset_id: &DatasetId, reserved: Reservation) -> Asset {
    Asset {
        id: reserved.asset_id,
        s3_key: format!("{dataset_id}/v{}/data.parquet", reserved.version),
        dataset_id: dataset_id.clone(),
        version: reserved.version,
        content_hash: ContentHash::from_hex(&"ab".repeat(32)).unwrap(),
        bytes: 10,
        run_id: run.id,
        dagster_run_id: run.dagster_run_id.clone(),
        output: output.into(),
        lease_epoch: run.lease_epoch,
        kind: AssetKind::Spatial,
        format: AssetFormat::Geoparquet,
        crs: Some("EPSG:4326".into()),
        bounds: None,
        metadata: AssetMetadata { title: Some(format!("{dataset_id} {output}")), ..AssetMetadata::default() },
        provenance: Provenance { batch_id: None, sources: vec![], recipe: None, engine: None, crs_operation: None },
        created_at: at(2),
        updated_at: at(2),
        deleted_at: None,
    }
}

async fn commit(ledger: &dyn Ledger, run: &RunDoc, output: &str, name: &str) -> Asset {
    let dataset = dataset(name);
    let reserved = ledger.reserve_version(&dataset, at(1)).await.unwrap();
    ledger.commit_asset(asset(run, output, &dataset, reserved)).await.unwrap().asset
}

pub(crate) async fn a_manifest_is_recorded_once(ledger: &dyn Ledger) {
    let first = ledger.record_manifest(manifest("b1", "e1")).await.unwrap();
    let again = ledger.record_manifest(manifest("b1", "e1")).await.unwrap();
    assert_eq!(first, again, "the same object again is the same record");
    let other = ledger.record_manifest(manifest("b1", "e2")).await;
    assert!(matches!(other, Err(LedgerError::Conflict(_))), "{other:?}");
    assert_eq!(ledger.manifest("b1").await.unwrap(), Some(first));
    assert_eq!(ledger.manifest("b2").await.unwrap(), None);
}

pub(crate) async fn a_manifests_status_follows_its_run(ledger: &dyn Ledger) {
    ledger.record_manifest(manifest("b1", "e1")).await.unwrap();
    let change =
        |status, error: Option<&str>| StatusChange { status, at: at(9), error_message: error.map(str::to_owned) };
    assert!(ledger.set_manifest_status("b1", change(Status::Failure, Some("no CRS"))).await.unwrap());
    let failed = ledger.manifest("b1").await.unwrap().unwrap();
    assert_eq!((failed.status, failed.completed_at, failed.updated_at), (Status::Failure, Some(at(9)), at(9)));
    assert_eq!(failed.error_message.as_deref(), Some("no CRS"));
    assert!(ledger.set_manifest_status("b1", change(Status::Running, None)).await.unwrap());
    let retried = ledger.manifest("b1").await.unwrap().unwrap();
    assert_eq!((retried.status, retried.completed_at, retried.error_message), (Status::Running, None, None));
    assert!(!ledger.set_manifest_status("b2", change(Status::Running, None)).await.unwrap());
    let page = |status| ledger.manifests(PageRequest::newest(10), Some(status));
    assert_eq!(page(Status::Running).await.unwrap().items.len(), 1);
    assert_eq!(page(Status::Queued).await.unwrap().items.len(), 0);
}

pub(crate) async fn a_refused_manifest_is_kept_with_its_faults(ledger: &dyn Ledger) {
    let doc = || RejectedManifest {
        id: new_id(at(0)),
        s3_key: "manifests/x.json".into(),
        etag: "e".into(),
        principal: Some("alice".into()),
        batch_id: None,
        problem: Problem::new(Code::InvalidManifest, "the manifest is not JSON").place("line 1, column 1"),
        rejected_at: at(0),
    };
    let first = ledger.reject_manifest(doc()).await.unwrap();
    assert_eq!(ledger.reject_manifest(doc()).await.unwrap(), first);
    assert_eq!(ledger.rejected_manifests(PageRequest::oldest(5)).await.unwrap().items, [first]);
    let changed = RejectedManifest { etag: "e2".into(), ..doc() };
    assert_eq!(ledger.reject_manifest(changed.clone()).await.unwrap(), changed);
}

pub(crate) async fn a_version_number_is_never_given_twice(ledger: &dyn Ledger) {
    let name = dataset("parcels");
    let reserve = |_| ledger.reserve_version(&name, at(0));
    let mut got = Vec::new();
    for i in 0..20 {
        got.push(reserve(i).await.unwrap());
    }
    assert_eq!(got.iter().map(|r| r.version).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    let other = ledger.reserve_version(&dataset("roads"), at(0)).await.unwrap();
    assert_eq!(other.version, 1);
    assert_eq!(ledger.dataset(&name).await.unwrap().unwrap().next_version, 21);
}

pub(crate) async fn a_commit_is_seen_by_all_who_ask(ledger: &dyn Ledger) {
    let run = ledger.open_run(run("r1", 3)).await.unwrap();
    let first = commit(ledger, &run, "out", "parcels").await;
    assert_eq!(ledger.asset(first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(ledger.asset_of_key("parcels/v1/data.parquet").await.unwrap().as_ref(), Some(&first));
    assert_eq!(ledger.committed("r1", "out").await.unwrap().as_ref(), Some(&first));
    assert_eq!(ledger.committed("r1", "other").await.unwrap(), None);
    assert_eq!(ledger.run_assets("r1").await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(ledger.run_doc("r1").await.unwrap().unwrap().asset_ids, [first.id]);
    assert_eq!(ledger.dataset(&first.dataset_id).await.unwrap().unwrap().title.as_deref(), Some("parcels out"));
    assert_eq!(ledger.asset_version(&first.dataset_id, 1).await.unwrap(), Some(first));
}

pub(crate) async fn an_output_is_committed_once(ledger: &dyn Ledger) {
    let run = ledger.open_run(run("r1", 1)).await.unwrap();
    let name = dataset("parcels");
    let first = commit(ledger, &run, "out", "parcels").await;
    let reserved = ledger.reserve_version(&name, at(1)).await.unwrap();
    let again = ledger.commit_asset(asset(&run, "out", &name, reserved)).await.unwrap();
    assert!(again.already);
    assert_eq!(again.asset, first);
    assert_eq!(ledger.versions(&name).await.unwrap().len(), 1);
    let taken = asset(&run, "other", &name, Reservation { asset_id: new_id(at(1)), version: 1 });
    assert!(matches!(ledger.commit_asset(taken).await, Err(LedgerError::Conflict(_))));
    let made_up = asset(&run, "other", &name, Reservation { asset_id: new_id(at(1)), version: 99 });
    assert!(matches!(ledger.commit_asset(made_up).await, Err(LedgerError::NotFound(_))), "nobody reserved it");
    assert_eq!(ledger.run_doc("r1").await.unwrap().unwrap().asset_ids, [first.id], "nothing of it is left");
}

pub(crate) async fn a_late_commit_is_refused(ledger: &dyn Ledger) {
    let name = dataset("parcels");
    let late = ledger.open_run(run("r1", 1)).await.unwrap();
    let reserved = ledger.reserve_version(&name, at(1)).await.unwrap();
    let closed = ledger.close_run("r1", 2, at(5)).await.unwrap();
    assert_eq!((closed.id, closed.lease_epoch), (late.id, 2));
    let refused = ledger.commit_asset(asset(&late, "out", &name, reserved)).await;
    assert!(matches!(refused, Err(LedgerError::LeaseLost { epoch: 1, newest: 2, .. })), "{refused:?}");
    assert!(matches!(ledger.open_run(run("r1", 1)).await, Err(LedgerError::LeaseLost { .. })));
    assert_eq!(ledger.close_run("r1", 1, at(6)).await.unwrap().lease_epoch, 2, "an epoch never falls");
    assert!(ledger.run_assets("r1").await.unwrap().is_empty());
}

pub(crate) async fn a_run_that_was_closed_before_it_opened_cannot_open_late(ledger: &dyn Ledger) {
    let closed = ledger.close_run("r1", 2, at(5)).await.unwrap();
    assert!(matches!(ledger.open_run(run("r1", 1)).await, Err(LedgerError::LeaseLost { .. })));
    let next = ledger.open_run(run("r1", 3)).await.unwrap();
    assert_eq!((next.id, next.job_name.as_str(), next.lease_epoch), (closed.id, "spatial_asset_job", 3));
    let unopened = asset(&run("r2", 1), "out", &dataset("a"), Reservation { asset_id: new_id(at(0)), version: 1 });
    assert!(matches!(ledger.commit_asset(unopened).await, Err(LedgerError::NotFound(_))));
}

pub(crate) async fn a_run_that_is_opened_again_keeps_what_it_committed(ledger: &dyn Ledger) {
    let first = ledger.open_run(run("r1", 1)).await.unwrap();
    let asset = commit(ledger, &first, "out", "parcels").await;
    let again = ledger.open_run(RunDoc { started_at: Some(at(50)), ..run("r1", 2) }).await.unwrap();
    assert_eq!((again.id, again.started_at, again.lease_epoch), (first.id, Some(at(1)), 2));
    assert_eq!(again.asset_ids, [asset.id]);
}

pub(crate) async fn a_runs_final_status_stays(ledger: &dyn Ledger) {
    ledger.open_run(RunDoc { started_at: None, ..run("r1", 1) }).await.unwrap();
    let set = async |status, second, error: Option<&str>| {
        let change = StatusChange { status, at: at(second), error_message: error.map(str::to_owned) };
        assert!(ledger.set_run_status("r1", change).await.unwrap());
        ledger.run_doc("r1").await.unwrap().unwrap()
    };
    set(Status::Running, 3, None).await;
    assert_eq!(set(Status::Running, 4, None).await.started_at, Some(at(3)));
    assert_eq!(set(Status::Failure, 5, Some("lost")).await.completed_at, Some(at(5)));
    let late = set(Status::Running, 6, None).await;
    assert_eq!((late.status, late.error_message.as_deref()), (Status::Failure, Some("lost")));
    let nobody = StatusChange { status: Status::Running, at: at(0), error_message: None };
    assert!(!ledger.set_run_status("r2", nobody).await.unwrap());
}

pub(crate) async fn a_deleted_version_is_passed_over_and_remembered(ledger: &dyn Ledger) {
    let run = ledger.open_run(run("r1", 1)).await.unwrap();
    let one = commit(ledger, &run, "a", "parcels").await;
    let two = commit(ledger, &run, "b", "parcels").await;
    let name = one.dataset_id.clone();
    assert_eq!(ledger.latest_asset(&name).await.unwrap().map(|a| a.version), Some(2));
    ledger.tombstone_asset(two.id, at(7)).await.unwrap();
    let again = ledger.tombstone_asset(two.id, at(8)).await.unwrap();
    assert_eq!(again.deleted_at, Some(at(7)), "the first time stays");
    assert_eq!(ledger.latest_asset(&name).await.unwrap().map(|a| a.version), Some(1));
    assert_eq!(ledger.versions(&name).await.unwrap().iter().map(|a| a.version).collect::<Vec<_>>(), [2, 1]);
    let listed = ledger.datasets(None, 10).await.unwrap().items;
    assert_eq!((listed.len(), listed[0].versions, listed[0].latest.version), (1, 1, 1));
    ledger.tombstone_asset(one.id, at(9)).await.unwrap();
    assert!(ledger.datasets(None, 10).await.unwrap().items.is_empty());
    assert!(matches!(ledger.tombstone_asset(new_id(at(0)), at(9)).await, Err(LedgerError::NotFound(_))));
}

pub(crate) async fn listings_come_in_pages(ledger: &dyn Ledger) {
    let run = ledger.open_run(run("r1", 1)).await.unwrap();
    for i in 0..25 {
        commit(ledger, &run, &format!("o{i}"), &format!("d{:02}", i % 12)).await;
    }
    let mut seen: Vec<ObjectId> = Vec::new();
    let mut page = PageRequest::oldest(10);
    loop {
        let got = ledger.assets(page).await.unwrap();
        assert!(got.items.len() <= 10);
        seen.extend(got.items.iter().map(|asset| asset.id));
        let Some(next) = got.next else { break };
        page = page.after(Some(next));
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted_by(|a, b| a < b));
    let newest = ledger.assets(PageRequest::newest(3)).await.unwrap();
    assert_eq!(newest.items.iter().map(|a| a.id).collect::<Vec<_>>(), [seen[24], seen[23], seen[22]]);

    let first = ledger.datasets(None, 7).await.unwrap();
    let second = ledger.datasets(first.next.as_ref(), 7).await.unwrap();
    assert_eq!((first.items.len(), second.items.len(), second.next), (7, 5, None));
    assert_eq!(first.items[0].versions, 3);
}

pub(crate) async fn lineage_is_found_from_both_ends(ledger: &dyn Ledger) {
    let edge = |source, target, run_id| Lineage {
        id: new_id(at(0)),
        source_asset_id: source,
        target_asset_id: target,
        run_id,
        transformation: "join_datasets".into(),
        parameters: serde_json::Map::new(),
        created_at: at(0),
    };
    let [a, b, c, run] = [0, 1, 2, 3].map(|i| new_id(at(i)));
    let first = ledger.record_lineage(edge(a, b, run)).await.unwrap();
    assert_eq!(ledger.record_lineage(edge(a, b, run)).await.unwrap(), first);
    let second = ledger.record_lineage(edge(b, c, run)).await.unwrap();
    assert_eq!(ledger.lineage_of(a).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(ledger.lineage_of(b).await.unwrap(), [first, second]);
}

pub(crate) async fn an_activity_with_a_key_is_logged_once(ledger: &dyn Ledger) {
    let entry = |key: Option<&str>, id: &str| ActivityLog {
        id: new_id(at(0)),
        timestamp: at(0),
        user: "alice".into(),
        action: "asset.commit".into(),
        resource_type: "asset".into(),
        resource_id: id.into(),
        details: serde_json::Map::new(),
        event_key: key.map(str::to_owned),
    };
    let first = ledger.log_activity(entry(Some("k"), "1")).await.unwrap();
    assert_eq!(ledger.log_activity(entry(Some("k"), "1")).await.unwrap(), first);
    ledger.log_activity(entry(None, "2")).await.unwrap();
    ledger.log_activity(entry(None, "2")).await.unwrap();
    assert_eq!(ledger.activities(PageRequest::newest(10), None).await.unwrap().items.len(), 3);
    assert_eq!(ledger.activities(PageRequest::newest(10), Some(("asset", "1"))).await.unwrap().items, [first]);
}

pub(crate) async fn a_document_that_does_not_fit_its_schema_is_refused(ledger: &dyn Ledger) {
    let refused = ledger.record_manifest(ManifestDoc { batch_id: String::new(), ..manifest("b1", "e1") }).await;
    let Err(LedgerError::Schema { collection: "manifests", faults }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(faults[0].path, "$.batch_id");
}
