//! A code server that answers what a test wants, in this process or in one of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use catchment_core::definitions::{AssetSpec, LocationSnapshot};
use catchment_locations::{LocationState, Locations as _, Registry};
use catchment_model::{Code, Problem};
use catchment_proto::v1::code_location_server::{CodeLocation, CodeLocationServer};
use catchment_proto::v1::*;
use catchment_settings::config::{GrpcAddress, LocationEntry, LocationSource, Workspace};
use catchment_settings::{Home, clock};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the server answers.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    /// Its only asset.
    pub(crate) asset: String,
    /// What it says of its definitions.
    pub(crate) problem: Option<Problem>,
    /// How long it takes to describe itself.
    pub(crate) takes: Duration,
    /// The version of the protocol.
    pub(crate) protocol: u32,
}

impl Answers {
    pub(crate) fn asset(key: &str) -> Self {
        let protocol = catchment_proto::PROTOCOL_VERSION;
        Self { asset: key.into(), problem: None, takes: Duration::ZERO, protocol }
    }
}

struct Fake {
    answers: watch::Receiver<Answers>,
    server_id: String,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl CodeLocation for Fake {
    async fn describe(&self, _: Request<DescribeRequest>) -> Answer<DescribeResponse> {
        let Answers { asset, problem, takes, protocol } = self.answers.borrow().clone();
        tokio::time::sleep(takes).await;
        let snapshot = LocationSnapshot {
            location: "calls itself this".into(),
            assets: vec![AssetSpec { key: asset, ..AssetSpec::default() }],
            ..LocationSnapshot::default()
        };
        Ok(Response::new(DescribeResponse {
            protocol_version: protocol,
            snapshot_json: serde_json::to_string(&snapshot).unwrap(),
            server_id: self.server_id.clone(),
            problems_json: problem.iter().map(|p| serde_json::to_string(p).unwrap()).collect(),
        }))
    }

    async fn evaluate_sensor(&self, _: Request<EvaluateSensorRequest>) -> Answer<EvaluateSensorResponse> {
        let problem = Problem::new(Code::Forbidden, "not today");
        Err(Status::failed_precondition(serde_json::to_string(&problem).unwrap()))
    }

    async fn evaluate_schedule(&self, request: Request<EvaluateScheduleRequest>) -> Answer<EvaluateScheduleResponse> {
        let request = request.into_inner();
        let result_json = format!(r#"{{"skip_reason": "{} {}"}}"#, request.schedule, request.scheduled_for);
        let log = r#"{"timestamp": "2026-01-01T00:00:00Z", "level": "INFO", "message": "looked"}"#.to_owned();
        Ok(Response::new(EvaluateScheduleResponse { result_json, problem_json: String::new(), log_json: vec![log] }))
    }

    async fn finish_claims(&self, _: Request<FinishClaimsRequest>) -> Answer<FinishClaimsResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn validate_run_config(&self, _: Request<ValidateRunConfigRequest>) -> Answer<ValidateRunConfigResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn run_command(&self, request: Request<RunCommandRequest>) -> Answer<RunCommandResponse> {
        // Shows what it was told of the run's config.
        let environment = [("CONFIG".to_owned(), request.into_inner().run_config_json)].into();
        Ok(Response::new(RunCommandResponse { program: "x".into(), environment, ..RunCommandResponse::default() }))
    }
}

/// Serves at a socket until it is aborted.
pub(crate) async fn serve(socket: &Path, server_id: &str, answers: watch::Receiver<Answers>) {
    if socket.exists() {
        std::fs::remove_file(socket).unwrap();
    }
    let listener = UnixListener::bind(socket).unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<CodeLocationServer<Fake>>().await;
    let fake = CodeLocationServer::new(Fake { answers, server_id: server_id.into() });
    println!("\n{{\"ready\": true, \"address\": \"unix:{}\"}}", socket.display());
    let router = tonic::transport::Server::builder().add_service(health).add_service(fake);
    router.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
}

/// A server in this process.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    pub(crate) answers: watch::Sender<Answers>,
    running: Option<tokio::runtime::Runtime>,
}

impl Server {
    pub(crate) async fn start(folder: &Path, name: &str) -> Self {
        let answers = watch::Sender::new(Answers::asset(name));
        let mut server = Self { socket: folder.join(format!("{name}.s")), answers, running: None };
        server.again("1").await;
        server
    }

    pub(crate) async fn again(&mut self, server_id: &str) {
        // A runtime of its own, so that its connections end with it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (socket, answers, id) = (self.socket.clone(), self.answers.subscribe(), server_id.to_owned());
        runtime.spawn(async move { serve(&socket, &id, answers).await });
        self.running = Some(runtime);
        until("the socket", || self.socket.exists()).await;
    }

    /// Ends it as a crash does: connections are cut.
    pub(crate) fn crash(&mut self) {
        self.running.take().unwrap().shutdown_background();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub(crate) fn entry(&self, name: &str) -> LocationEntry {
        LocationEntry { name: name.into(), source: LocationSource::Grpc(GrpcAddress::Socket(self.socket.clone())) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }
}

pub(crate) fn registry(home: &Home, locations: Vec<LocationEntry>) -> Arc<Registry> {
    let registry = Registry::new(home.clone(), Workspace { locations }, Duration::from_secs(5)).unwrap();
    registry.start();
    registry
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while !holds() {
        assert!(clock::monotonic() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a location is as it should be.
pub(crate) async fn state(
    registry: &Registry,
    name: &str,
    what: &str,
    is: impl Fn(&LocationState) -> bool,
) -> Arc<LocationState> {
    let mut found = registry.get(name).unwrap();
    until(what, || {
        found = registry.get(name).unwrap();
        is(&found)
    })
    .await;
    found
}

/// The asset that a location defines.
pub(crate) fn asset(state: &LocationState) -> &str {
    state.snapshot.as_ref().map_or("", |snapshot| &snapshot.assets[0].key)
}
