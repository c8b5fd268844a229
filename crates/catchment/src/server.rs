//! The code server: a location's definitions over gRPC, beside the standard health service.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use catchment_core::RunId;
use catchment_core::instigator::TickLog;
use catchment_core::run::Selection;
use catchment_core::sensor::{Claim, SensorInput, SensorResult};
use catchment_model::{Code, Problem};
use catchment_proto::PROTOCOL_VERSION;
use catchment_proto::v1::code_location_server::{CodeLocation, CodeLocationServer};
use catchment_proto::v1::{
    DescribeRequest, DescribeResponse, EvaluateScheduleRequest, EvaluateScheduleResponse, EvaluateSensorRequest,
    EvaluateSensorResponse, FinishClaimsRequest, FinishClaimsResponse, FinishedClaim, RunCommandRequest,
    RunCommandResponse, ValidateRunConfigRequest, ValidateRunConfigResponse,
};
use serde::Serialize;
use serde_json::Value;
use tokio::net::{TcpListener, UnixListener};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::context::{ClaimContext, ScheduleContext, SensorContext};
use crate::definitions::Definitions;
use crate::evaluation::{self, Evaluations};
use crate::resource::Resources;
use crate::watch::Watches;

/// Where a code server listens.
#[derive(Debug, Clone)]
pub enum Listen {
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, which is not there yet.
    Socket(PathBuf),
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

enum Listener {
    Tcp(TcpListener),
    Socket(UnixListener, PathBuf),
}

/// A code server that listens and does not serve yet.
pub struct CodeServer {
    listener: Listener,
    location: Location,
}

struct Location {
    definitions: Arc<Definitions>,
    resources: Resources,
    /// What names this start of the server.
    server_id: String,
    /// What is wrong with the definitions: they are served nevertheless.
    problems: Vec<Problem>,
    evaluations: Evaluations,
}

impl CodeServer {
    /// Listens at an address or a socket. No resource is built before it is needed. Definitions that are wrong are
    /// served with their faults, so that these can be shown.
    ///
    /// # Errors
    /// Where the address is taken.
    pub async fn bind(
        definitions: Definitions,
        resources: Resources,
        listen: impl Into<Listen>,
    ) -> Result<Self, Problem> {
        let failed = |place: String, error: std::io::Error, remedy: &str| {
            Problem::new(Code::Unavailable, "the code server cannot listen")
                .place(place)
                .cause(error.to_string())
                .remedy(remedy)
        };
        let listener = match listen.into() {
            Listen::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await.map_err(|error| {
                let remedy = "stop what listens there, or choose another port: --listen 127.0.0.1:0";
                failed(address.to_string(), error, remedy)
            })?),
            Listen::Socket(path) => {
                let bound = UnixListener::bind(&path).map_err(|error| {
                    let remedy = "see that the folder may be written, that nothing of that name is there, and that \
                                  the path is shorter than 100 bytes";
                    failed(path.display().to_string(), error, remedy)
                })?;
                Listener::Socket(bound, path)
            }
        };
        Ok(Self { listener, location: Location::new(definitions, resources) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> Result<String, Problem> {
        match &self.listener {
            Listener::Socket(_, path) => Ok(format!("unix:{}", path.display())),
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.to_string()).map_err(|error| {
                Problem::new(Code::Io, "the address of the code server is unknown").cause(error.to_string())
            }),
        }
    }

    /// Serves until `stop` is done; requests that are being answered are answered.
    ///
    /// # Errors
    /// Where the transport fails.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Problem> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<CodeLocationServer<Location>>().await;
        let _watches = Watches::start(self.location.watched(), &self.location.resources);
        let service = CodeLocationServer::new(self.location).max_decoding_message_size(64 << 20);
        let router = tonic::transport::Server::builder().add_service(health).add_service(service);
        let stop = async {
            stop.await;
            // Whoever watches its health lets go, so that the connections can be closed.
            reporter.set_not_serving::<CodeLocationServer<Location>>().await;
        };
        let served = match self.listener {
            Listener::Tcp(listener) => {
                router.serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop).await
            }
            Listener::Socket(listener, _) => {
                router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop).await
            }
        };
        served.map_err(|error| Problem::new(Code::Io, "the code server failed").cause(error.to_string()))
    }
}

impl Location {
    fn new(definitions: Definitions, resources: Resources) -> Self {
        let problems = definitions.check();
        let server_id = RunId::random().to_string();
        Self { definitions: Arc::new(definitions), resources, server_id, problems, evaluations: Evaluations::default() }
    }

    /// The resources that say which folders sensors watch.
    fn watched(&self) -> BTreeSet<String> {
        self.definitions.sensors.iter().filter_map(|sensor| sensor.watch.clone()).collect()
    }
}

fn answered(result: Result<SensorResult, Problem>, log: &[TickLog]) -> Result<(String, String, Vec<String>), Status> {
    let log = log.iter().map(json).collect::<Result<_, _>>()?;
    Ok(match result {
        Ok(result) => (json(&result)?, String::new(), log),
        Err(problem) => (String::new(), json(&problem)?, log),
    })
}

#[tonic::async_trait]
impl CodeLocation for Location {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(DescribeResponse {
            protocol_version: PROTOCOL_VERSION,
            snapshot_json: json(&self.definitions.snapshot())?,
            server_id: self.server_id.clone(),
            problems_json: self.problems.iter().map(json).collect::<Result<_, _>>()?,
        }))
    }

    async fn evaluate_sensor(
        &self,
        request: Request<EvaluateSensorRequest>,
    ) -> Result<Response<EvaluateSensorResponse>, Status> {
        let until = evaluation::deadline(&request);
        let EvaluateSensorRequest { sensor, cursor, tick_id, input_json } = request.into_inner();
        let input: SensorInput =
            if input_json.is_empty() { SensorInput::default() } else { parse(&input_json, "the sensor's input")? };
        let definition = self.definitions.find_sensor(&sensor).map_err(|problem| status(&problem))?.clone();
        let context = SensorContext::new(&*sensor, tick_id, cursor, self.resources.clone()).with_input(input);
        let result = {
            let context = context.clone();
            let evaluation = async move { definition.evaluate(context).await };
            self.evaluations.run(&format!("sensor {sensor}"), until, evaluation).await
        };
        let (result_json, problem_json, log_json) = answered(result, &context.log_lines())?;
        Ok(Response::new(EvaluateSensorResponse { result_json, problem_json, log_json }))
    }

    async fn evaluate_schedule(
        &self,
        request: Request<EvaluateScheduleRequest>,
    ) -> Result<Response<EvaluateScheduleResponse>, Status> {
        let until = evaluation::deadline(&request);
        let EvaluateScheduleRequest { schedule, scheduled_for, tick_id, last_tick_at } = request.into_inner();
        let time = |text: &str| {
            text.parse().map_err(|error| Status::invalid_argument(format!("`{text}` is no time: {error}")))
        };
        let last_tick_at = if last_tick_at.is_empty() { None } else { Some(time(&last_tick_at)?) };
        let definition = self.definitions.find_schedule(&schedule).map_err(|problem| status(&problem))?.clone();
        let resources = self.resources.clone();
        let context = ScheduleContext::new(&*schedule, tick_id, time(&scheduled_for)?, last_tick_at, resources);
        let result = {
            let context = context.clone();
            let evaluation = async move { definition.evaluate(context).await };
            self.evaluations.run(&format!("schedule {schedule}"), until, evaluation).await
        };
        let (result_json, problem_json, log_json) = answered(result, &context.log_lines())?;
        Ok(Response::new(EvaluateScheduleResponse { result_json, problem_json, log_json }))
    }

    async fn finish_claims(
        &self,
        request: Request<FinishClaimsRequest>,
    ) -> Result<Response<FinishClaimsResponse>, Status> {
        let until = evaluation::deadline(&request);
        let FinishClaimsRequest { sensor, claims_json } = request.into_inner();
        self.definitions.find_sensor(&sensor).map_err(|problem| status(&problem))?;
        let mut finished = Vec::with_capacity(claims_json.len());
        for text in &claims_json {
            let claim: Claim = parse(text, "a claim")?;
            let (key, etag) = (claim.claim.key.clone(), claim.claim.etag.clone());
            let done = match self.definitions.claim_handler(&sensor) {
                Some(handler) => {
                    let context = ClaimContext::new(&sensor, claim, self.resources.clone());
                    self.evaluations.run(&format!("claims of {sensor}"), until, (handler.finish)(context)).await
                }
                // A sensor without a handler has nothing outside the state to finish.
                None => Ok(()),
            };
            let problem_json = match done {
                Ok(()) => String::new(),
                Err(problem) => json(&problem)?,
            };
            finished.push(FinishedClaim { key, etag, problem_json });
        }
        Ok(Response::new(FinishClaimsResponse { finished }))
    }

    async fn validate_run_config(
        &self,
        request: Request<ValidateRunConfigRequest>,
    ) -> Result<Response<ValidateRunConfigResponse>, Status> {
        let ValidateRunConfigRequest { job, run_config_json, selection_json } = request.into_inner();
        let config = parse(&run_config_json, "the run config")?;
        let selection: Selection =
            if selection_json.is_empty() { Selection::default() } else { parse(&selection_json, "the selection")? };
        let faults = self.definitions.validate_run_config(&job, &selection, &config);
        let faults = faults.map_err(|problem| status(&problem))?;
        let faults_json = faults.iter().map(json).collect::<Result<_, _>>()?;
        Ok(Response::new(ValidateRunConfigResponse { faults_json }))
    }

    async fn run_command(&self, request: Request<RunCommandRequest>) -> Result<Response<RunCommandResponse>, Status> {
        let RunCommandRequest { run_id, lease_epoch, run_config_json } = request.into_inner();
        let run_config =
            if run_config_json.is_empty() { Value::Null } else { parse(&run_config_json, "the run config")? };
        let program = std::env::current_exe()
            .map_err(|error| Status::internal(format!("the location does not know its own program: {error}")))?;
        let home = self.resources.surroundings().home.root().display().to_string();
        // What config was checked with here, the run has too, wherever its launcher starts it.
        let mut environment = HashMap::new();
        for name in self.definitions.variables_of(&run_config) {
            if let Ok(value) = std::env::var(&name) {
                environment.insert(name, value);
            }
        }
        environment.insert("CATCHMENT_HOME".to_owned(), home);
        Ok(Response::new(RunCommandResponse {
            program: program.display().to_string(),
            arguments: vec![
                "execute-run".into(),
                "--run-id".into(),
                run_id,
                "--lease-epoch".into(),
                lease_epoch.to_string(),
            ],
            environment,
        }))
    }
}

fn json(value: &impl Serialize) -> Result<String, Status> {
    serde_json::to_string(value).map_err(|error| Status::internal(format!("an answer is no JSON: {error}")))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, Status> {
    serde_json::from_str(text).map_err(|error| Status::invalid_argument(format!("{what} cannot be read: {error}")))
}

/// How many faults of a problem go into a status: that is a header, which has 16 KiB.
const MOST_FAULTS: usize = 20;

/// The problem as JSON in the status's message, so that who asks sees its code, its faults and its remedy.
fn status(problem: &Problem) -> Status {
    let code = match problem.code {
        Code::NotFound => tonic::Code::NotFound,
        Code::InvalidConfig | Code::InvalidInput => tonic::Code::InvalidArgument,
        _ => tonic::Code::Internal,
    };
    let mut told = problem.clone();
    told.faults.truncate(MOST_FAULTS);
    let message = serde_json::to_string(&told).unwrap_or_else(|_| problem.to_string());
    Status::new(code, message)
}
