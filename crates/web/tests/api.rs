//! The API against a real home, state, ledger and S3 server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod common;

use std::time::Duration;

use catchment_core::{EventKind, Level, NewEvent};
use catchment_instance::Heartbeat;
use catchment_model::{Code, Fault, Problem, RejectedManifest};
use catchment_settings::{clock, task};
use common::{Plane, answer};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn every_error_is_a_problem_with_the_status_of_its_code() {
    let plane = Plane::start().await;
    let missing = "/api/v1/runs/00000000-0000-4000-8000-000000000000";
    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        (missing, 404, "not_found"),
        ("/api/v1/runs/xyz", 400, "invalid_input"),
        ("/api/v1/runs?status=DONE", 400, "invalid_input"),
        ("/api/v1/runs?limit=many", 400, "invalid_input"),
        ("/api/v1/datasets/none", 404, "not_found"),
        ("/api/v1/datasets/-bad-", 400, "invalid_input"),
        ("/api/v1/datasets/none/versions/latest/download", 404, "not_found"),
        ("/api/v1/manifests/none", 404, "not_found"),
        ("/api/v1/activity?resource_type=run", 400, "invalid_input"),
    ] {
        let (got, body) = plane.get(path).await;
        assert_eq!((got.as_u16(), body["code"].as_str()), (status, Some(code)), "{path}: {body}");
        assert!(body["what"].is_string() && body["remedy"].is_string(), "{path}: {body}");
    }
    let (status, body) = plane.change(Method::DELETE, "/api/v1/runs", json!({})).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_input")));
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages_and_by_filter() {
    let plane = Plane::start().await;
    let mut made = Vec::new();
    for n in 0..5 {
        made.push(plane.run(&format!("b{n}")).await.to_string());
    }
    made.reverse();
    let mut seen: Vec<String> = Vec::new();
    let mut before = String::new();
    loop {
        let (_, page) = plane.get(&format!("/api/v1/runs?limit=2{before}")).await;
        seen.extend(page["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let (_, one) = plane.get("/api/v1/runs?batch_id=b3&status=queued,started").await;
    assert_eq!(one["runs"].as_array().unwrap().len(), 1);
    assert_eq!(one["runs"][0]["tags"]["dagster/run_key"], "b3");
    let (_, none) = plane.get("/api/v1/runs?status=SUCCESS").await;
    assert_eq!(none["runs"], json!([]));
    let (_, shown) = plane.get(&format!("/api/v1/runs/{}", made[0])).await;
    assert!(shown["run_config"]["ops"].is_object());
}

#[tokio::test]
async fn a_reader_that_waits_is_answered_as_soon_as_there_is_an_event() {
    let plane = Plane::start().await;
    let run_id = plane.run("b").await;
    let (_, first) = plane.get(&format!("/api/v1/runs/{run_id}/events")).await;
    assert_eq!(first["events"][0]["kind"], "PIPELINE_ENQUEUED");
    assert_eq!((first["ended"].as_bool(), first["status"].as_str()), (Some(false), Some("QUEUED")));
    let waiting =
        plane.request(Method::GET, &format!("/api/v1/runs/{run_id}/events?wait_ms=20000&after={}", first["cursor"]));
    let waiting = task::spawn("reader", answer(waiting));
    let event = NewEvent {
        run_id,
        timestamp: clock::now(),
        kind: EventKind::Log,
        step_key: None,
        level: Level::Info,
        message: "hello".into(),
        data: Value::Null,
    };
    plane.instance.append(&[event], None).await.unwrap();
    let began = clock::monotonic();
    let (_, list) = waiting.await.unwrap();
    assert_eq!(list["events"][0]["message"], "hello");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_that_stops_answers_those_who_wait() {
    let mut plane = Plane::start().await;
    let run_id = plane.run("b").await;
    let (_, first) = plane.get(&format!("/api/v1/runs/{run_id}/events")).await;
    let path = format!("/api/v1/runs/{run_id}/events?wait_ms=30000&after={}", first["cursor"]);
    let waiting = task::spawn("reader", answer(plane.request(Method::GET, &path)));
    let began = clock::monotonic();
    // The reader is connected once another request behind it was answered.
    plane.get("/healthz").await;
    plane.stop.take().unwrap().send(()).unwrap();
    plane.served.take().unwrap().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(8));
    drop(waiting);
}

#[tokio::test]
async fn a_cancel_needs_the_token_and_is_in_the_activity_log() {
    let plane = Plane::start().await;
    let run_id = plane.run("b").await;
    let path = format!("/api/v1/runs/{run_id}/cancel");
    let (status, body) = answer(plane.request(Method::POST, &path)).await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("unauthenticated")));
    let (status, run) = plane.change(Method::POST, &path, json!({})).await;
    assert_eq!((status, run["status"].as_str()), (StatusCode::OK, Some("CANCELED")));
    let (status, again) = plane.change(Method::POST, &path, json!({})).await;
    assert_eq!((status, again["code"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    let (_, log) = plane.get(&format!("/api/v1/activity?resource_type=run&resource_id={run_id}")).await;
    assert_eq!(log["activity"].as_array().unwrap().len(), 1);
    assert_eq!(
        (log["activity"][0]["action"].as_str(), log["activity"][0]["user"].as_str()),
        (Some("run.cancel"), Some("admin"))
    );
}

#[tokio::test]
async fn raw_logs_are_given_whole_and_by_range() {
    let plane = Plane::start().await;
    let run_id = plane.run("b").await;
    let path = format!("/api/v1/runs/{run_id}/logs/stderr");
    assert_eq!(plane.get(&path).await, (StatusCode::OK, Value::String(String::new())));
    let folder = plane.home.run_log_dir(&run_id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("stderr.log"), "one\ntwo\n").unwrap();
    assert_eq!(plane.get(&path).await.1, "one\ntwo\n");
    let part = answer(plane.request(Method::GET, &path).header("range", "bytes=4-")).await;
    assert_eq!(part, (StatusCode::PARTIAL_CONTENT, Value::String("two\n".into())));
    let beyond = answer(plane.request(Method::GET, &path).header("range", "bytes=8-")).await;
    assert_eq!(beyond.0, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(plane.get(&format!("/api/v1/runs/{run_id}/logs/..%2Fx")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_refused_manifest_is_listed_with_its_faults_and_found_by_who_put_it() {
    let plane = Plane::start().await;
    let fault = Fault { path: "$.oops".into(), what: "unknown field".into(), allowed: "batch_id".into() };
    let now = clock::now();
    let doc = RejectedManifest {
        id: catchment_ledger::new_id(now),
        s3_key: "manifests/typo.json".into(),
        etag: "abc".into(),
        principal: Some("admin".into()),
        batch_id: Some("b".into()),
        problem: Problem::new(Code::InvalidManifest, "the manifest has 1 fault").faults(vec![fault]),
        rejected_at: now,
    };
    plane.ledger.reject_manifest(doc).await.unwrap();
    let (_, list) = plane.get("/api/v1/rejected-manifests").await;
    assert_eq!(list["rejected"][0]["s3_key"], "manifests/typo.json");
    assert_eq!(list["rejected"][0]["faults"], list["rejected"][0]["problem"]["faults"]);
    let (_, found) = plane.get("/api/v1/submissions?key=manifests/typo.json&etag=abc&batch_id=b&wait_ms=5000").await;
    assert_eq!(
        (found["state"].as_str(), found["problem"]["code"].as_str()),
        (Some("rejected"), Some("invalid_manifest"))
    );
    let (_, other) = plane.get("/api/v1/submissions?key=manifests/typo.json&etag=def&batch_id=b").await;
    assert_eq!(other["state"], "waiting");
    let run_id = plane.run("b").await;
    let (_, run) = plane.get("/api/v1/submissions?key=manifests/b.json&etag=e1&batch_id=b").await;
    assert_eq!(
        (run["state"].as_str(), run["run"]["run_id"].as_str()),
        (Some("accepted"), Some(run_id.to_string().as_str()))
    );
}

#[tokio::test]
async fn a_manifest_is_checked_whole_and_nothing_changes() {
    let plane = Plane::start().await;
    let good = json!({"batch_id": "b", "uploader": "u", "intent": "ingest_vector", "metadata": {"tags": {"dataset_id": "d"}},
        "files": [{"path": "s3://landing-zone/b/a.gpkg", "type": "vector", "format": "GPKG"}]});
    let (_, found) = plane.change(Method::POST, "/api/v1/manifests/validate", good.clone()).await;
    assert_eq!((found["valid"].as_bool(), found["dataset_id"].as_str()), (Some(true), Some("d")), "{found}");
    let mut bad = good;
    bad["bacth"] = json!(1);
    bad["files"][0]["type"] = json!("cube");
    let (status, found) = plane.change(Method::POST, "/api/v1/manifests/validate", bad).await;
    assert_eq!((status, found["valid"].as_bool()), (StatusCode::OK, Some(false)));
    assert!(found["problem"]["faults"].as_array().unwrap().len() >= 2, "{found}");
    assert_eq!(plane.get("/api/v1/manifests").await.1["manifests"], json!([]));
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_taken_back() {
    let plane = Plane::start().await;
    let new = json!({"name": "anna", "role": "uploader"});
    let (status, key) = plane.change(Method::POST, "/api/v1/s3/keys", new.clone()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(key["secret_key"].as_str().unwrap().len() > 20);
    let (status, _) = plane.change(Method::POST, "/api/v1/s3/keys", new).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = plane.change(Method::POST, "/api/v1/s3/keys", json!({"name": "eve", "role": "admin"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, list) = plane.get("/api/v1/s3/keys").await;
    assert!(list["keys"][0].get("secret_key").is_none());
    let (_, gone) = plane.change(Method::DELETE, "/api/v1/s3/keys/anna", json!({})).await;
    assert!(gone["revoked_at"].is_string());
    let (status, _) = plane.change(Method::DELETE, "/api/v1/s3/keys/anna", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, log) = plane.get("/api/v1/activity").await;
    let actions: Vec<&str> =
        log["activity"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["s3_key.revoke", "s3_key.add"]);
    assert!(!log.to_string().contains(key["secret_key"].as_str().unwrap()));
}

#[tokio::test]
async fn another_web_page_and_a_rebound_name_get_nothing() {
    let plane = Plane::start().await;
    let rebound = answer(plane.request(Method::GET, "/api/v1/runs").header("host", "evil.example")).await;
    assert_eq!(rebound.0, StatusCode::FORBIDDEN);
    let page = plane
        .request(Method::POST, "/api/v1/s3/keys")
        .bearer_auth(&plane.token)
        .header("origin", "http://evil.example");
    assert_eq!(answer(page.json(&json!({"name": "x", "role": "reader"}))).await.0, StatusCode::FORBIDDEN);
    let huge =
        plane.request(Method::POST, "/api/v1/manifests/validate").bearer_auth(&plane.token).body(vec![b' '; 3 << 20]);
    let status = huge.send().await.map_or(StatusCode::PAYLOAD_TOO_LARGE, |answer| answer.status());
    assert!(matches!(status.as_u16(), 413 | 422), "{status}");
}

#[tokio::test]
async fn health_says_what_is_missing_and_what_is_there() {
    let plane = Plane::start().await;
    assert_eq!(plane.get("/healthz").await.1, "ok\n");
    assert_eq!(plane.get("/readyz").await.1, "ready\n");
    let (_, health) = plane.get("/api/v1/health").await;
    let part = |name: &str| health["parts"].as_array().unwrap().iter().find(|p| p["name"] == name).unwrap().clone();
    for name in ["state", "ledger", "s3"] {
        assert_eq!(part(name)["healthy"], true, "{health}");
    }
    assert_eq!((health["healthy"].as_bool(), part("daemon")["healthy"].as_bool()), (Some(false), Some(false)));
    let beat = Heartbeat { daemon: "SENSOR".into(), at: clock::now(), problem: None, lag: 0 };
    plane.instance.beat(&beat).await.unwrap();
    let (_, health) = plane.get("/api/v1/health").await;
    let daemon = health["parts"].as_array().unwrap().iter().find(|p| p["name"] == "daemon").unwrap();
    assert_eq!(daemon["healthy"], true);
    let (_, instance) = plane.get("/api/v1/instance").await;
    assert_eq!(instance["landing_bucket"], "landing-zone");
}

#[tokio::test]
async fn the_start_page_lists_what_there_is() {
    let plane = Plane::start().await;
    let run_id = plane.run("b").await.to_string();
    let (status, html) = plane.get("/").await;
    let html = html.as_str().unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(html.contains(&run_id) && html.contains("/api/v1/openapi.json"));
}
