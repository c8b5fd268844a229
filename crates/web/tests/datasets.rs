//! Datasets, their bytes, and the care of the lake, with a version that lies on the real S3 server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod common;

use catchment_model::{Asset, DatasetId, RunDoc};
use catchment_settings::clock;
use catchment_store::{Attributes, PutMode};
use common::Plane;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const BYTES: &[u8] = b"PAR1 not really";

/// Commits a version of `parcels` as a run would.
async fn commit(plane: &Plane) -> Asset {
    let now = clock::now();
    let run_id = plane.run("b").await.to_string();
    let run = RunDoc::starting(catchment_ledger::new_id(now), run_id.clone(), "spatial_asset_job".into(), 1);
    let run = plane.ledger.open_run(run).await.unwrap();
    let dataset = DatasetId::new("parcels").unwrap();
    let reserved = plane.ledger.reserve_version(&dataset, now).await.unwrap();
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(BYTES)));
    let key = format!("parcels/v{}/data.parquet", reserved.version);
    let attributes = Attributes::of_type("application/vnd.apache.parquet")
        .with("mongodb_doc_id", reserved.asset_id.to_string())
        .with("run_id", run_id.clone())
        .with("content_hash", hash.clone());
    plane.lake.put_bytes(&key, BYTES, &attributes, PutMode::Overwrite).await.unwrap();
    let asset: Asset = serde_json::from_value(json!({
        "_id": reserved.asset_id, "s3_key": key, "dataset_id": "parcels", "version": reserved.version,
        "content_hash": hash, "bytes": BYTES.len(), "run_id": run.id, "dagster_run_id": run_id,
        "output": "raw_spatial_asset", "lease_epoch": 1, "kind": "spatial", "format": "geoparquet",
        "crs": "EPSG:4326", "bounds": {"minx": 7.0, "miny": 46.0, "maxx": 8.0, "maxy": 47.0},
        "metadata": {"title": "Parcels <b>", "feature_count": 3},
        "provenance": {"batch_id": "b", "sources": [], "recipe": null, "engine": null, "crs_operation": null},
        "created_at": now, "updated_at": now, "deleted_at": null,
    }))
    .unwrap();
    plane.ledger.commit_asset(asset).await.unwrap().asset
}

#[tokio::test]
async fn a_version_is_listed_shown_and_given_by_a_signed_address() {
    let plane = Plane::start().await;
    assert_eq!(plane.get("/api/v1/datasets").await.1["datasets"], json!([]));
    let asset = commit(&plane).await;
    let (_, list) = plane.get("/api/v1/datasets").await;
    assert_eq!(list["datasets"][0]["dataset_id"], "parcels");
    assert_eq!(list["datasets"][0]["latest"]["metadata"]["feature_count"], 3);
    let (_, shown) = plane.get("/api/v1/datasets/parcels").await;
    assert_eq!(shown["latest"]["content_hash"], asset.content_hash.as_str());
    let (_, versions) = plane.get("/api/v1/datasets/parcels/versions").await;
    assert_eq!(versions["versions"][0]["_id"], asset.id.to_string());
    assert_eq!(plane.get("/api/v1/datasets/parcels/versions/1").await.1["version"], 1);
    assert_eq!(plane.get("/api/v1/datasets/parcels/versions/2").await.0, StatusCode::NOT_FOUND);
    assert_eq!(plane.get("/api/v1/datasets/parcels/versions/new").await.0, StatusCode::BAD_REQUEST);
    let (_, assets) = plane.get(&format!("/api/v1/runs/{}/assets", asset.dagster_run_id)).await;
    assert_eq!(assets["assets"].as_array().unwrap().len(), 1);

    let (_, found) = plane.get("/api/v1/datasets/parcels/versions/latest/download").await;
    assert_eq!(found["file_name"], "parcels-v1.parquet");
    let bytes = plane.http.get(found["url"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], BYTES);
    let (_, html) = plane.get("/").await;
    assert!(html.as_str().unwrap().contains("Parcels &lt;b&gt;"));

    plane.ledger.tombstone_asset(asset.id, clock::now()).await.unwrap();
    assert_eq!(plane.get("/api/v1/datasets/parcels/versions/1/download").await.0, StatusCode::NOT_FOUND);
}

/// The lines of a long work's answer.
async fn lines(plane: &Plane, path: &str, body: Value) -> Vec<Value> {
    let request = plane.request(Method::POST, path).bearer_auth(&plane.token).json(&body);
    let text = request.send().await.unwrap().text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_lake_is_proved_and_cleaned_by_lines_that_end_with_a_report() {
    let plane = Plane::start().await;
    commit(&plane).await;
    let verified = lines(&plane, "/api/v1/lake/verify", json!({})).await;
    let last = verified.last().unwrap();
    assert_eq!(last["kind"], "report", "{last}");
    assert_eq!(last["report"]["documents"], 1);
    plane.lake.put_bytes("stray.bin", "x", &Attributes::default(), PutMode::Overwrite).await.unwrap();
    let collected = lines(&plane, "/api/v1/lake/gc", json!({"dry_run": true, "grace_s": 0})).await;
    let garbage = &collected.last().unwrap()["report"]["garbage"];
    assert!(garbage.as_array().unwrap().iter().any(|o| o["key"] == "stray.bin"), "{garbage}");
    assert_eq!(plane.get("/api/v1/activity?resource_type=lake&resource_id=data-lake").await.1["activity"], json!([]));
    lines(&plane, "/api/v1/lake/gc", json!({"grace_s": 0})).await;
    let again = lines(&plane, "/api/v1/lake/gc", json!({"dry_run": true, "grace_s": 0})).await;
    assert_eq!(again.last().unwrap()["report"]["garbage"], json!([]));
    let (_, log) = plane.get("/api/v1/activity?resource_type=lake&resource_id=data-lake").await;
    assert_eq!(log["activity"][0]["action"], "lake.gc");
}
