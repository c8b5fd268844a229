//! The API about what a code location defines, against one that answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use catchment_core::definitions::{
    ASSET_JOB, AssetSpec, CheckSpec, JobSpec, LocationSnapshot, PartitionsSpec, StepSpec,
};
use catchment_core::freshness::FreshnessPolicy;
use catchment_core::partitions::PartitionsDefinition;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_instance::{AutomationRecord, LocationRecord, RunFilter};
use catchment_proto::v1::code_location_server::{CodeLocation, CodeLocationServer};
use catchment_proto::v1::*;
use catchment_settings::config::{GrpcAddress, LocationEntry, LocationSource, Workspace};
use catchment_settings::{clock, task};
use common::Plane;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

const LOCATION: &str = "etl";

/// A code location that accepts any run config, as often as it may.
struct Location {
    asked: Arc<Semaphore>,
    may_answer: Arc<Semaphore>,
}

#[tonic::async_trait]
impl CodeLocation for Location {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn evaluate_sensor(
        &self,
        _: Request<EvaluateSensorRequest>,
    ) -> Result<Response<EvaluateSensorResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn evaluate_schedule(
        &self,
        _: Request<EvaluateScheduleRequest>,
    ) -> Result<Response<EvaluateScheduleResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn finish_claims(&self, _: Request<FinishClaimsRequest>) -> Result<Response<FinishClaimsResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn validate_run_config(
        &self,
        _: Request<ValidateRunConfigRequest>,
    ) -> Result<Response<ValidateRunConfigResponse>, Status> {
        self.asked.add_permits(1);
        self.may_answer.acquire().await.unwrap().forget();
        Ok(Response::new(ValidateRunConfigResponse::default()))
    }

    async fn run_command(&self, _: Request<RunCommandRequest>) -> Result<Response<RunCommandResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

struct World {
    plane: Plane,
    asked: Arc<Semaphore>,
    may_answer: Arc<Semaphore>,
}

impl World {
    async fn start() -> Self {
        let (asked, may_answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let location = Location { asked: asked.clone(), may_answer: may_answer.clone() };
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_nodelay(Some(true));
        let port = incoming.local_addr().unwrap().port();
        let served = tonic::transport::Server::builder().add_service(CodeLocationServer::new(location));
        task::spawn("location", served.serve_with_incoming(incoming));
        let source = LocationSource::Grpc(GrpcAddress::Tcp { host: "127.0.0.1".into(), port });
        let entry = LocationEntry { name: LOCATION.into(), source };
        let plane = Plane::start_with(Workspace { locations: vec![entry] }).await;
        let now = clock::now();
        let record = LocationRecord {
            name: LOCATION.into(),
            snapshot: Some(snapshot()),
            loaded_at: Some(now),
            problem: None,
            since: now,
        };
        plane.instance.save_location(&record).await.unwrap();
        Self { plane, asked, may_answer }
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.plane.change(Method::POST, path, body).await
    }
}

fn snapshot() -> LocationSnapshot {
    let asset = |key: &str, partitions: Option<&str>| AssetSpec {
        key: key.into(),
        step: key.into(),
        partitions: partitions.map(str::to_owned),
        freshness: partitions.map(|_| FreshnessPolicy::time_window(Duration::from_secs(3600), None).unwrap()),
        ..AssetSpec::default()
    };
    let step = |key: &str| StepSpec { key: key.into(), ..StepSpec::default() };
    let check = CheckSpec {
        asset_key: "raw/daily".into(),
        name: "own".into(),
        step: "daily_own".into(),
        ..CheckSpec::default()
    };
    LocationSnapshot {
        location: LOCATION.into(),
        assets: vec![asset("plain", None), asset("raw/daily", Some("days"))],
        checks: vec![check],
        partitions: vec![PartitionsSpec {
            name: "days".into(),
            definition: PartitionsDefinition::Static { keys: vec!["mon".into(), "tue".into()] },
        }],
        jobs: vec![JobSpec {
            name: ASSET_JOB.into(),
            is_asset_job: true,
            partitions: Some("days".into()),
            steps: vec![step("plain"), step("raw/daily"), step("daily_own")],
            ..JobSpec::default()
        }],
        ..LocationSnapshot::default()
    }
}

fn event(kind: EventKind, data: Value) -> NewEvent {
    let timestamp = clock::now();
    NewEvent { run_id: RunId::NONE, timestamp, kind, step_key: None, level: Level::Info, message: String::new(), data }
}

#[tokio::test]
async fn assets_with_and_without_partitions_are_made_and_a_check_is_run_alone() {
    let world = World::start().await;
    world.may_answer.add_permits(9);
    let (status, run) = world.post("/api/v1/materializations", json!({"selection": "plain"})).await;
    assert_eq!((status, run["partition_key"].as_str()), (StatusCode::OK, None), "{run}");
    let (status, problem) = world.post("/api/v1/materializations", json!({"selection": "key:\"raw/daily\""})).await;
    assert_eq!((status, problem["place"].as_str()), (StatusCode::BAD_REQUEST, Some("partition_key")), "{problem}");
    let wanted = json!({"checks": ["raw/daily:own"], "tags": {"dagster/isolation": "x"}});
    let (status, run) = world.post("/api/v1/materializations", wanted).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    let made = world.plane.instance.runs(&RunFilter::default(), None, 1).await.unwrap().pop().unwrap();
    assert_eq!(made.job_name, ASSET_JOB);
    assert_eq!((made.selection.checks, made.selection.assets), (vec!["raw/daily:own".to_owned()], vec![]));
    let one = json!({"checks": ["raw/daily:own"], "partition_key": "wed"});
    let (_, problem) = world.post("/api/v1/materializations", one).await;
    assert!(problem["what"].as_str().unwrap().contains("no partition"), "{problem}");
    let stranger = json!({"selection": "plain", "tags": {"catchment/principal": "alice"}});
    assert_eq!(world.post("/api/v1/materializations", stranger).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_change_whose_client_goes_away_is_carried_out_and_recorded() {
    let world = World::start().await;
    let request = world.plane.request(Method::POST, "/api/v1/materializations").bearer_auth(&world.plane.token);
    let client = task::spawn("client", request.json(&json!({"selection": "plain"})).send());
    world.asked.acquire().await.unwrap().forget();
    client.abort();
    client.await.unwrap_err();
    // The server has seen the end of the connection by the time that it has answered another.
    assert_eq!(world.plane.get("/healthz").await.0, StatusCode::OK);
    world.may_answer.add_permits(1);
    let deadline = clock::monotonic() + Duration::from_secs(10);
    loop {
        let (_, log) = world.plane.get("/api/v1/activity?limit=9").await;
        if let [entry] = log["activity"].as_array().unwrap().as_slice() {
            assert_eq!(entry["action"], "run.launch");
            break;
        }
        assert!(clock::monotonic() < deadline, "no entry came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.plane.instance.runs(&RunFilter::default(), None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wipe_forgets_partitions_or_all_of_an_asset() {
    let world = World::start().await;
    let instance = &world.plane.instance;
    for partition in ["mon", "tue"] {
        let data = json!({"asset_key": "raw/daily", "partition": partition, "data_version": "1"});
        instance.append(&[event(EventKind::AssetMaterialization, data)], None).await.unwrap();
    }
    let counts = async || {
        let (_, asset) = world.plane.get("/api/v1/assets/raw%2Fdaily").await;
        asset["partition_counts"]["materialized"].as_u64().unwrap()
    };
    assert_eq!(counts().await, 2);
    let unknown = json!({"asset_key": "raw/daily", "partitions": ["wed"]});
    assert_eq!(world.post("/api/v1/wipes", unknown).await.0, StatusCode::BAD_REQUEST);
    let (status, wiped) = world.post("/api/v1/wipes", json!({"asset_key": "raw/daily", "partitions": ["mon"]})).await;
    assert_eq!((status, &wiped["partitions"]), (StatusCode::OK, &json!(["mon"])));
    assert_eq!(counts().await, 1);
    assert_eq!(world.post("/api/v1/wipes", json!({"asset_key": "raw/daily"})).await.0, StatusCode::OK);
    assert_eq!(counts().await, 0);
    assert_eq!(world.post("/api/v1/wipes", json!({"asset_key": "nothing"})).await.0, StatusCode::NOT_FOUND);
    let (_, log) = world.plane.get("/api/v1/activity").await;
    assert_eq!(log["activity"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_became_of_an_asset_is_shown() {
    let world = World::start().await;
    let instance = &world.plane.instance;
    let (_, asset) = world.plane.get("/api/v1/assets/raw%2Fdaily").await;
    assert_eq!(asset["freshness"], json!({"state": "UNKNOWN", "since": null}));
    let change = json!({"asset_key": "raw/daily", "from": "UNKNOWN", "to": "PASS"});
    instance.append(&[event(EventKind::FreshnessStateChange, change)], None).await.unwrap();
    let records: Vec<_> = (1..=3)
        .map(|tick| AutomationRecord {
            id: 0,
            key: "raw/daily".into(),
            tick,
            timestamp: clock::now(),
            requested: 2,
            evaluation: json!({"value": true}),
        })
        .collect();
    instance.save_automation(LOCATION, &[], &records).await.unwrap();
    let (_, asset) = world.plane.get("/api/v1/assets/raw%2Fdaily").await;
    assert_eq!((asset["freshness"]["state"].as_str(), asset["freshness"]["since"].is_string()), (Some("PASS"), true));
    let (_, page) = world.plane.get("/api/v1/evaluations?key=raw/daily&limit=2").await;
    assert_eq!((&page["evaluations"][0]["tick"], &page["evaluations"][0]["requested"]), (&json!(3), &json!(2)));
    let (_, last) = world.plane.get(&format!("/api/v1/evaluations?key=raw/daily&before={}", page["next"])).await;
    assert_eq!((last["evaluations"].as_array().unwrap().len(), &last["next"]), (1, &Value::Null));
    for passed in [true, false] {
        let data = json!({
            "asset_key": "raw/daily", "check_name": "own", "partition": null, "passed": passed, "severity": "WARN",
            "blocking": false, "description": "looked", "metadata": {"rows": {"type": "int", "value": 5}},
        });
        instance.append(&[event(EventKind::AssetCheckEvaluation, data)], None).await.unwrap();
    }
    let (_, page) = world.plane.get("/api/v1/checks/executions?asset_key=raw/daily&name=own&limit=1").await;
    let newest = &page["executions"][0];
    assert_eq!((newest["status"].as_str(), newest["severity"].as_str()), (Some("FAILED"), Some("WARN")), "{page}");
    assert_eq!(newest["metadata"]["rows"]["value"], 5);
    let older = format!("/api/v1/checks/executions?asset_key=raw/daily&name=own&before={}", page["next"]);
    assert_eq!(world.plane.get(&older).await.1["executions"][0]["status"], "SUCCEEDED");
}
