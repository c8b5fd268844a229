//! The code server over real gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use catchment::{
    Claim, ClaimKey, ClaimOutcome, CodeServer, Definitions, Input, Problem, Res, Resources, RunRequest,
    ScheduleContext, SensorContext, SensorResult, Surroundings, asset, asset_job, claim_handler, schedule, sensor,
};
use catchment_core::definitions::LocationSnapshot;
use catchment_proto::v1::code_location_client::CodeLocationClient;
use catchment_proto::v1::{
    DescribeRequest, EvaluateScheduleRequest, EvaluateSensorRequest, FinishClaimsRequest, RunCommandRequest,
    ValidateRunConfigRequest,
};
use catchment_settings::{Environment, Home};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

static BUILT: AtomicUsize = AtomicUsize::new(0);

#[asset]
async fn one() -> Result<u32, Problem> {
    Ok(1)
}

#[asset]
async fn two(one: Input<u32>) -> Result<u32, Problem> {
    Ok(*one + 1)
}

/// Counts what it is given.
#[sensor(jobs = ["both"], minimum_interval_s = 7, default = running)]
async fn counter(ctx: SensorContext, start: Res<u32>) -> Result<SensorResult, Problem> {
    ctx.log(format!("tick {}", ctx.tick_id()));
    let seen = ctx.cursor().and_then(|cursor| cursor.parse().ok()).unwrap_or(*start);
    Ok(SensorResult { cursor: Some((seen + 1).to_string()), ..Default::default() })
}

#[sensor]
async fn falls_over() -> Result<SensorResult, Problem> {
    panic!("no")
}

/// Blocks its thread, as no sensor should.
#[sensor]
async fn blocks() -> Result<(), Problem> {
    loop {
        std::thread::park();
    }
}

#[schedule(cron = "0 3 * * *", job = "both")]
async fn nightly(ctx: ScheduleContext) -> Result<RunRequest, Problem> {
    ctx.log("asked");
    Ok(RunRequest::default().tag("at", ctx.scheduled_for().to_string()))
}

/// Finishes everything but `bad`.
#[claim_handler]
async fn finish(claim: Claim) -> Result<(), Problem> {
    if claim.claim.key == "bad" {
        return Err(Problem::new(catchment::Code::Unavailable, "not now"));
    }
    Ok(())
}

fn definitions() -> Definitions {
    Definitions::new("grpc")
        .assets([one(), two()])
        .job(asset_job("both", ["one", "two"]))
        .sensor(counter())
        .sensor(falls_over())
        .sensor(blocks())
        .schedule(nightly())
        .on_claims("counter", finish())
        .resource("start", |_| async {
            BUILT.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(10_u32))
        })
}

struct Served {
    client: CodeLocationClient<Channel>,
    address: String,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), Problem>>,
    _folder: tempfile::TempDir,
}

async fn served() -> Served {
    serve(definitions()).await
}

async fn serve(definitions: Definitions) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let environment = Environment::from_lookup(|_| None).unwrap();
    let resources = Resources::of(&definitions, Surroundings { environment, home });
    let server = CodeServer::bind(definitions, resources, std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = server.await.unwrap();
    let address = format!("http://{}", server.address().unwrap());
    let stop = CancellationToken::new();
    let server = catchment_settings::task::spawn("server", server.serve(stop.clone().cancelled_owned()));
    let channel = Channel::from_shared(address.clone()).unwrap().connect().await.unwrap();
    let client = CodeLocationClient::new(channel);
    Served { client, address, stop, server, _folder: folder }
}

#[tokio::test]
async fn a_location_describes_itself_and_says_how_its_runs_are_started() {
    let mut served = served().await;
    let answer = served.client.describe(DescribeRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.protocol_version, catchment_proto::PROTOCOL_VERSION);
    let snapshot: LocationSnapshot = serde_json::from_str(&answer.snapshot_json).unwrap();
    assert_eq!(snapshot.location, "grpc");
    assert_eq!(snapshot.sensors[0].minimum_interval_s, 7);
    assert_eq!(snapshot.sensors[0].description, "Counts what it is given.");
    let command = RunCommandRequest { run_id: "r".into(), lease_epoch: 3, run_config_json: String::new() };
    let command = served.client.run_command(command).await.unwrap().into_inner();
    assert_eq!(command.arguments, ["execute-run", "--run-id", "r", "--lease-epoch", "3"]);
    assert!(command.environment.contains_key("CATCHMENT_HOME"));

    let channel = Channel::from_shared(served.address.clone()).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest { service: "catchment.location.v1.CodeLocation".into() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);
}

#[tokio::test]
async fn a_sensor_is_evaluated_with_its_cursor_and_a_panic_is_a_problem() {
    let mut served = served().await;
    served.client.describe(DescribeRequest {}).await.unwrap();
    assert_eq!(BUILT.load(Ordering::SeqCst), 0, "no resource is built before it is needed");
    for (cursor, expected) in [(None, "11"), (Some("20".to_owned()), "21")] {
        let request =
            EvaluateSensorRequest { sensor: "counter".into(), cursor, tick_id: "5".into(), ..Default::default() };
        let answer = served.client.evaluate_sensor(request).await.unwrap().into_inner();
        let result: SensorResult = serde_json::from_str(&answer.result_json).unwrap();
        assert_eq!(result.cursor.as_deref(), Some(expected));
        assert!(answer.log_json[0].contains("tick 5"));
    }
    assert_eq!(BUILT.load(Ordering::SeqCst), 1, "a resource is built once");
    let request =
        EvaluateSensorRequest { sensor: "falls_over".into(), cursor: None, tick_id: "6".into(), ..Default::default() };
    let answer = served.client.evaluate_sensor(request).await.unwrap().into_inner();
    let problem: Problem = serde_json::from_str(&answer.problem_json).unwrap();
    assert_eq!(problem.cause.as_deref(), Some("no"));
    let request =
        EvaluateSensorRequest { sensor: "unknown".into(), cursor: None, tick_id: "7".into(), ..Default::default() };
    assert_eq!(served.client.evaluate_sensor(request).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn claims_are_finished_one_by_one() {
    let mut served = served().await;
    let claim = |key: &str| {
        let problem = Problem::new(catchment::Code::InvalidManifest, "x");
        let claim = ClaimKey { key: key.into(), etag: "e".into() };
        serde_json::to_string(&Claim { claim, outcome: ClaimOutcome::Rejected { problem } }).unwrap()
    };
    let request = FinishClaimsRequest { sensor: "counter".into(), claims_json: vec![claim("good"), claim("bad")] };
    let finished = served.client.finish_claims(request).await.unwrap().into_inner().finished;
    assert_eq!((finished[0].key.as_str(), finished[0].problem_json.as_str()), ("good", ""));
    assert!(finished[1].problem_json.contains("not now"));
}

#[tokio::test]
async fn run_config_is_checked_and_a_stopped_server_lets_go() {
    let mut served = served().await;
    let config = json!({"ops": {"three": {}}}).to_string();
    let request = ValidateRunConfigRequest { job: "both".into(), run_config_json: config, ..Default::default() };
    let faults = served.client.validate_run_config(request).await.unwrap().into_inner().faults_json;
    assert!(faults[0].contains("$.ops.three"));
    drop(served.client);
    served.stop.cancel();
    served.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn definitions_that_are_wrong_are_served_with_what_is_wrong() {
    let mut served = serve(definitions().job(asset_job("half", ["nothing"]))).await;
    let answer = served.client.describe(DescribeRequest {}).await.unwrap().into_inner();
    let problems: Vec<Problem> =
        answer.problems_json.iter().map(|problem| serde_json::from_str(problem).unwrap()).collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].place.as_deref(), Some("job half"));
    let snapshot: LocationSnapshot = serde_json::from_str(&answer.snapshot_json).unwrap();
    assert!(snapshot.job("both").is_some() && snapshot.job("half").is_none());
    assert!(!answer.server_id.is_empty());
}

#[tokio::test]
async fn a_schedule_is_evaluated_for_its_time() {
    let mut served = served().await;
    let request = EvaluateScheduleRequest {
        schedule: "nightly".into(),
        scheduled_for: "2026-01-02T03:00:00Z".into(),
        tick_id: "1".into(),
        last_tick_at: String::new(),
    };
    let answer = served.client.evaluate_schedule(request).await.unwrap().into_inner();
    let result: SensorResult = serde_json::from_str(&answer.result_json).unwrap();
    assert_eq!(result.run_requests[0].job_name, "both");
    assert_eq!(result.run_requests[0].tags["at"], "2026-01-02T03:00:00Z");
    assert!(answer.log_json[0].contains("asked"));
}

#[test]
fn a_sensor_that_blocks_its_thread_holds_up_no_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut served = served().await;
        let request = |sensor: &str| EvaluateSensorRequest { sensor: sensor.into(), ..Default::default() };
        for _ in 0..3 {
            let mut client = served.client.clone();
            let blocked = request("blocks");
            drop(catchment_settings::task::spawn("blocked", async move { client.evaluate_sensor(blocked).await }));
        }
        let answer = served.client.evaluate_sensor(request("falls_over")).await.unwrap().into_inner();
        assert!(answer.problem_json.contains("\"no\""), "{}", answer.problem_json);
    });
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_run_is_given_the_variables_that_its_config_names_and_no_others() {
    let mut served = serve(definitions().job(
        asset_job("of_its_own", ["one"]).config(json!({"resources": {"x": {"config": {"env": "CARGO_PKG_VERSION"}}}})),
    ))
    .await;
    let config = json!({"ops": {"one": {"config": {"a": [{"password": {"env": "CARGO_PKG_NAME"}}]}}}});
    let request = RunCommandRequest { run_id: "r".into(), lease_epoch: 1, run_config_json: config.to_string() };
    let command = served.client.run_command(request).await.unwrap().into_inner();
    let mut names: Vec<_> = command.environment.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CATCHMENT_HOME"]);
    assert_eq!(command.environment["CARGO_PKG_NAME"], env!("CARGO_PKG_NAME"));
}

#[tokio::test]
async fn a_refusal_is_the_problem_itself_with_its_code_and_remedy() {
    let mut served = served().await;
    let request =
        ValidateRunConfigRequest { job: "unknown".into(), run_config_json: "{}".into(), ..Default::default() };
    let status = served.client.validate_run_config(request).await.unwrap_err();
    let problem: Problem = serde_json::from_str(status.message()).unwrap();
    assert_eq!((status.code(), problem.code), (tonic::Code::NotFound, catchment::Code::NotFound));
    assert!(problem.what.contains("no job `unknown`") && problem.cause.is_some() && problem.remedy.is_some());
}

#[test]
fn who_asks_says_how_long_an_evaluation_may_take_and_one_that_blocks_is_not_asked_again() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut served = served().await;
        let request = || {
            let message = EvaluateSensorRequest { sensor: "blocks".into(), ..Default::default() };
            let mut request = tonic::Request::new(message);
            request.set_timeout(std::time::Duration::from_millis(500));
            request
        };
        let answer = served.client.evaluate_sensor(request()).await.unwrap().into_inner();
        let problem: Problem = serde_json::from_str(&answer.problem_json).unwrap();
        assert_eq!(problem.code, catchment::Code::LimitExceeded);
        let mut again = request();
        again.set_timeout(std::time::Duration::from_secs(20));
        let answer = served.client.evaluate_sensor(again).await.unwrap().into_inner();
        let problem: Problem = serde_json::from_str(&answer.problem_json).unwrap();
        assert!(problem.what.contains("still works"), "{problem}");
    });
    runtime.shutdown_background();
}
