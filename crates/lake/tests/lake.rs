//! The commit protocol, verify and gc against the embedded server and ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use catchment_lake::layout::{METADATA, STAC_ITEM};
use catchment_lake::{
    CommitRequest, Committed, GcOptions, Invariant, Lake, LakeError, RunLease, Staged, VerifyOptions, VerifyReport,
};
use catchment_ledger::{LedgerError, PageRequest, SqliteLedger, StatusChange, new_id};
use catchment_model::documents::{
    AssetFormat, AssetKind, AssetMetadata, CheckRecord, ColumnSchema, ContentHash, CrsOperation, EngineInfo,
    Provenance, RecipeRef, Source, TypeName,
};
use catchment_model::{Bounds, Crs, RunDoc, Status};
use catchment_s3_server::{Config, Server};
use catchment_settings::{S3Credentials, Secret, clock, task};
use catchment_store::{Attributes, PutMode, Store, StoreConfig};

struct World {
    folder: tempfile::TempDir,
    lake: Lake,
}

const NONE: VerifyOptions = VerifyOptions { repair: false, quick: false, grace: Duration::ZERO };
const REPAIR: VerifyOptions = VerifyOptions { repair: true, ..NONE };
const NOW: GcOptions = GcOptions { dry_run: false, grace: Duration::ZERO };

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = S3Credentials { access_key: "CKTEST".into(), secret_key: Secret::new("secret") };
        let server = Server::bind(Config {
            root: folder.path().join("s3"),
            lock_file: folder.path().join("s3.lock"),
            wake_socket: folder.path().join("wake.sock"),
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: admin.clone(),
            landing_bucket: "landing-zone".into(),
            lake_bucket: "data-lake".into(),
        })
        .await
        .unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        task::spawn("s3", async move { server.serve(std::future::pending()).await });
        let store = Store::new(StoreConfig {
            endpoint,
            access_key: admin.access_key,
            secret_key: admin.secret_key,
            bucket: "data-lake".into(),
        });
        let ledger = SqliteLedger::open(folder.path().join("ledger.db")).await.unwrap();
        Self { lake: Lake::new(store, Arc::new(ledger)), folder }
    }

    async fn open(&self, run: &str, epoch: i64) {
        let doc = RunDoc::starting(new_id(clock::now()), run.into(), "spatial_asset_job".into(), epoch);
        self.lake.ledger().open_run(doc).await.unwrap();
    }

    async fn end(&self, run: &str) {
        let change = StatusChange { status: Status::Failure, at: clock::now(), error_message: None };
        assert!(self.lake.ledger().set_run_status(run, change).await.unwrap());
    }

    fn request(&self, run: &str, epoch: i64, content: &[u8]) -> CommitRequest {
        let path = self.folder.path().join(format!("staged-{run}"));
        std::fs::write(&path, content).unwrap();
        CommitRequest {
            staged: staged(path, content),
            dataset_id: "parcels".parse().unwrap(),
            run: RunLease { run_id: run.into(), epoch },
            output: "raw_spatial_asset".into(),
            principal: "alice".into(),
        }
    }

    async fn commit(&self, run: &str) -> Committed {
        self.open(run, 1).await;
        self.lake.commit(self.request(run, 1, run.as_bytes())).await.unwrap()
    }

    async fn verify(&self, options: VerifyOptions) -> VerifyReport {
        self.lake.verify(options, &|_| {}).await.unwrap()
    }

    async fn found(&self, options: VerifyOptions) -> Vec<(Invariant, String)> {
        let report = self.verify(options).await;
        report.findings.into_iter().map(|f| (f.invariant, f.place)).collect()
    }
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(content))
}

fn staged(path: std::path::PathBuf, content: &[u8]) -> Staged {
    let column = |type_name, logical_type: &str| ColumnSchema {
        title: None,
        description: None,
        type_name,
        logical_type: logical_type.into(),
        nullable: true,
    };
    Staged {
        path,
        sha256: sha256(content),
        bytes: content.len() as u64,
        kind: AssetKind::Spatial,
        format: AssetFormat::Geoparquet,
        crs: Some(Crs {
            name: "WGS 84".into(),
            authority: Some("EPSG:4326".into()),
            wkt: "GEOGCRS[\"WGS 84\"]".into(),
            projjson: serde_json::json!({"type": "GeographicCRS"}),
        }),
        bounds: Some(Bounds { minx: 7.5, miny: 46.9, maxx: 7.6, maxy: 47.0 }),
        metadata: AssetMetadata {
            title: Some("Parcels".into()),
            description: Some("The parcels of a town".into()),
            keywords: vec!["cadastre".into()],
            license: Some("CC-BY-4.0".into()),
            attribution: Some("Town of Lüttiswil".into()),
            column_schema: [
                ("nr".to_owned(), column(TypeName::Integer, "Int32")),
                ("geom".to_owned(), column(TypeName::Geometry, "Binary")),
            ]
            .into(),
            geometry_type: Some("MULTIPOLYGON".into()),
            geometry_column: Some("geom".into()),
            feature_count: Some(3),
            counts: [("repaired_geometries".to_owned(), 1)].into(),
            checks: vec![CheckRecord { name: "rows".into(), passed: true, blocking: true, description: None }],
            ..AssetMetadata::default()
        },
        provenance: Provenance {
            batch_id: Some("batch-1".into()),
            sources: vec![Source {
                s3_key: "batch-1/parcels.zip".into(),
                etag: "e".into(),
                content_hash: ContentHash::from_hex(&"cd".repeat(32)).unwrap(),
                bytes: 100,
                driver: "ESRI Shapefile".into(),
                layer: None,
                crs: Some("EPSG:2056".into()),
                feature_count: Some(3),
            }],
            recipe: Some(RecipeRef { intent: "ingest_vector".into(), fingerprint: "ef".repeat(32) }),
            engine: Some(EngineInfo { name: "sedonadb".into(), version: "0.5".into() }),
            crs_operation: Some(CrsOperation { name: "CH1903+ to WGS 84 (1)".into(), accuracy_m: Some(1.0) }),
        },
    }
}

#[tokio::test]
async fn a_staged_file_becomes_a_version_that_both_ends_speak_of() {
    let world = World::new().await;
    let Committed { asset, already } = world.commit("r1").await;
    assert!(!already);
    assert_eq!((asset.version, asset.s3_key.as_str()), (1, "parcels/v1/data.parquet"));
    let (bytes, info) = world.lake.store().get_bytes(&asset.s3_key, 100).await.unwrap();
    assert_eq!(&bytes[..], b"r1");
    assert_eq!(info.metadata["mongodb_doc_id"], asset.id.to_string());
    assert_eq!(info.metadata["run_id"], "r1");
    assert_eq!(info.metadata["content_hash"], format!("sha256:{}", sha256(b"r1")));
    let report = world.verify(NONE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.documents, report.objects, report.bytes_hashed), (1, 3, 2));
    let log = world.lake.ledger().activities(PageRequest::newest(5), None).await.unwrap().items;
    assert_eq!((log.len(), log[0].user.as_str(), log[0].action.as_str()), (1, "alice", "asset.commit"));
    assert_eq!(world.commit("r2").await.asset.version, 2);
    assert!(world.verify(NONE).await.is_clean());
}

#[tokio::test]
async fn a_commit_that_is_repeated_answers_the_first() {
    let world = World::new().await;
    let first = world.commit("r1").await;
    world.open("r1", 2).await;
    let again = world.lake.commit(world.request("r1", 2, b"other bytes")).await.unwrap();
    assert_eq!(again, Committed { asset: first.asset, already: true });
    let log = world.lake.ledger().activities(PageRequest::newest(5), None).await.unwrap().items;
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_run_that_was_taken_over_commits_nothing() {
    let world = World::new().await;
    world.open("r1", 1).await;
    world.lake.ledger().close_run("r1", 2, clock::now()).await.unwrap();
    let refused = world.lake.commit(world.request("r1", 1, b"late")).await;
    assert!(matches!(refused, Err(LakeError::Ledger(LedgerError::LeaseLost { newest: 2, .. }))), "{refused:?}");
    assert_eq!(world.verify(NONE).await.objects, 0);
}

#[tokio::test]
async fn a_file_that_was_changed_after_its_checks_is_not_committed() {
    let world = World::new().await;
    world.open("r1", 1).await;
    let request = world.request("r1", 1, b"checked");
    std::fs::write(&request.staged.path, b"changed").unwrap();
    assert!(matches!(world.lake.commit(request).await, Err(LakeError::Staged { .. })));
    assert!(world.lake.ledger().run_assets("r1").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_without_a_document_is_garbage_once_its_run_has_ended() {
    let world = World::new().await;
    let kept = world.commit("r1").await.asset;
    world.open("r2", 1).await;
    let request = world.request("r2", 1, b"checked");
    std::fs::write(&request.staged.path, b"changed").unwrap();
    world.lake.commit(request).await.unwrap_err();

    let live = world.lake.gc(NOW, &|_| {}).await.unwrap();
    assert_eq!((live.pending, live.removed.len()), (3, 0), "its run may still be at it");
    assert_eq!(world.verify(NONE).await.pending, 3);
    world.end("r2").await;
    let young = world.lake.gc(GcOptions::default(), &|_| {}).await.unwrap();
    assert_eq!((young.pending, young.removed.len()), (3, 0), "it is younger than the grace period");
    let orphans = ["data.parquet", METADATA, STAC_ITEM].map(|file| format!("s3://data-lake/parcels/v2/{file}"));
    assert_eq!(world.found(NONE).await, orphans.map(|place| (Invariant::ObjectHasDocument, place)));
    let dry = world.lake.gc(GcOptions { dry_run: true, ..NOW }, &|_| {}).await.unwrap();
    assert_eq!(dry.removed.len(), 3);
    let real = world.lake.gc(NOW, &|_| {}).await.unwrap();
    assert_eq!(real.removed, dry.removed);
    assert_eq!((real.removed[0].bytes, real.removed[0].why.as_str()), (7, "it was uploaded and never committed"));
    assert!(world.lake.gc(NOW, &|_| {}).await.unwrap().removed.is_empty());
    let report = world.verify(NONE).await;
    assert!(report.is_clean() && report.objects == 3, "{report:?}");
    world.lake.store().head(&kept.s3_key).await.unwrap();
}

#[tokio::test]
async fn a_deleted_version_loses_its_bytes_and_keeps_its_record() {
    let world = World::new().await;
    let asset = world.commit("r1").await.asset;
    world.lake.ledger().tombstone_asset(asset.id, clock::now()).await.unwrap();
    assert_eq!(world.lake.gc(NOW, &|_| {}).await.unwrap().removed.len(), 3);
    let report = world.verify(NONE).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.documents, report.deleted, report.objects), (0, 1, 0));
}

#[tokio::test]
async fn whatever_is_amiss_is_found_by_name() {
    let world = World::new().await;
    let store = world.lake.store();
    for run in ["r1", "r2", "r3", "r4"] {
        world.commit(run).await;
    }
    store.delete("parcels/v1/data.parquet").await.unwrap();
    let keep = store.head("parcels/v2/data.parquet").await.unwrap();
    let mut attributes = Attributes::default();
    attributes.metadata.extend(keep.metadata.clone());
    store.put_bytes("parcels/v2/data.parquet", "xx", &attributes, PutMode::Overwrite).await.unwrap();
    store.put_bytes("parcels/v3/data.parquet", "r3", &Attributes::default(), PutMode::Overwrite).await.unwrap();
    store.delete(&format!("parcels/v4/{STAC_ITEM}")).await.unwrap();
    store.put_bytes("notes.txt", "mine", &Attributes::default(), PutMode::Overwrite).await.unwrap();

    let place = |key: &str| format!("s3://data-lake/{key}");
    let broken = [
        (Invariant::DocumentHasObject, place("parcels/v1/data.parquet")),
        (Invariant::ContentHash, place("parcels/v2/data.parquet")),
        (Invariant::BothEndsLinked, place("parcels/v3/data.parquet")),
        (Invariant::Described, place("parcels/v4/stac-item.json")),
        (Invariant::ObjectHasDocument, place("notes.txt")),
    ];
    assert_eq!(world.found(NONE).await, broken);
    let quick = world.found(VerifyOptions { quick: true, ..NONE }).await;
    assert!(!quick.contains(&broken[1]), "the same size, and the bytes were not read");

    let repaired = world.verify(REPAIR).await;
    assert!(!repaired.is_clean());
    assert_eq!(repaired.findings.iter().map(|f| f.repaired).collect::<Vec<_>>(), [false, false, true, true, false]);
    assert_eq!(world.found(NONE).await, [broken[0].clone(), broken[1].clone(), broken[4].clone()]);
    let (bytes, _) = store.get_bytes("parcels/v3/data.parquet", 10).await.unwrap();
    assert_eq!(&bytes[..], b"r3");
}

#[tokio::test]
async fn a_version_is_described_to_other_catalogues() {
    let world = World::new().await;
    let asset = world.commit("r1").await.asset;
    let masked = [(asset.id.to_string(), "[id]"), (asset.created_at.to_string(), "[time]")];
    for file in [METADATA, STAC_ITEM] {
        let (bytes, info) = world.lake.store().get_bytes(&format!("parcels/v1/{file}"), 1 << 20).await.unwrap();
        assert_eq!(info.metadata["run_id"], "r1");
        let mut text = String::from_utf8(bytes.to_vec()).unwrap();
        for (value, name) in &masked {
            text = text.replace(value, name);
        }
        insta::assert_snapshot!(file, text);
    }
}
