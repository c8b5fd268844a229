//! A code location over gRPC. It connects when it is used, and again after an outage.

use std::time::Duration;

use async_trait::async_trait;
use catchment_core::sensor::{Claim, ClaimKey, SensorInput};
use catchment_core::{Run, Selection};
use catchment_model::{Code, Fault, Problem};
use catchment_proto::PROTOCOL_VERSION;
use catchment_proto::v1::code_location_client::CodeLocationClient;
use catchment_proto::v1::{
    DescribeRequest, EvaluateScheduleRequest, EvaluateSensorRequest, FinishClaimsRequest, RunCommandRequest,
    ValidateRunConfigRequest,
};
use catchment_settings::config::GrpcAddress;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code as Grpc, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Described, Evaluated, LocationClient, LocationError, Result, RunCommand};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For what the location answers from memory.
const SHORT: Duration = Duration::from_secs(10);
/// For what reaches out to objects, where the settings do not say.
const LONG: Duration = Duration::from_secs(60);
/// How far the client's own bound of an evaluation lies behind that of who asks.
const LATER: Duration = Duration::from_secs(5);
/// A connection that says nothing is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The largest answer that is taken: a sensor that was not asked for days may have much to say.
const LARGEST_ANSWER: usize = 64 << 20;
/// The name that health is asked under.
const SERVICE: &str = "catchment.location.v1.CodeLocation";

/// Asks a code server over gRPC.
#[derive(Debug, Clone)]
pub struct GrpcClient {
    client: CodeLocationClient<Channel>,
    channel: Channel,
    address: String,
    evaluation_timeout: Duration,
    environment: Vec<(String, String)>,
}

impl GrpcClient {
    /// A client of the code server at that address. Nothing is connected yet.
    ///
    /// # Errors
    /// Where that cannot be an address.
    pub fn new(address: &GrpcAddress) -> Result<Self, Problem> {
        let url = match address {
            GrpcAddress::Tcp { .. } => format!("http://{address}"),
            GrpcAddress::Socket(path) => format!("unix:{}", path.display()),
        };
        let channel = Endpoint::from_shared(url)
            .map_err(|e| {
                Problem::new(Code::InvalidConfig, "the address of a code location cannot be used")
                    .place(address.to_string())
                    .cause(e.to_string())
                    .remedy("write a host and a port, or the path of a socket, in workspace.yaml")
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        let client = CodeLocationClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER);
        let (address, environment) = (address.to_string(), Vec::new());
        Ok(Self { client, channel, address, evaluation_timeout: LONG + LATER, environment })
    }

    /// How long an evaluation may take. Who asks bounds it as well, and can tell one that takes too long from a
    /// location that is away; so this bound lies behind that one.
    pub fn with_evaluation_timeout(mut self, timeout: Duration) -> Self {
        self.evaluation_timeout = timeout + LATER;
        self
    }

    /// What each run has in its environment beside what the code server says.
    pub fn with_run_environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// Why a call did not come to an answer: the location is away, or it says why it refuses.
    fn failed(&self, doing: &str, status: &Status) -> LocationError {
        let cause = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            // A connection that breaks shows as any of these.
            Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled | Grpc::Unknown | Grpc::Aborted => {
                LocationError::Away(
                    Problem::new(Code::Unavailable, format!("the code location could not be asked to {doing}"))
                        .place(&self.address)
                        .cause(cause)
                        .remedy("start the code location, or see its log; it is tried again by itself"),
                )
            }
            // The location says in its own words what is wrong: a problem as JSON; other servers write a sentence.
            code => LocationError::Refused(serde_json::from_str(status.message()).unwrap_or_else(|_| {
                let (kind, what) = match code {
                    Grpc::InvalidArgument | Grpc::FailedPrecondition | Grpc::OutOfRange => {
                        (Code::InvalidInput, format!("the code location refused to {doing}"))
                    }
                    Grpc::NotFound => (Code::NotFound, format!("the code location refused to {doing}")),
                    _ => (Code::Bug, format!("the code location failed to {doing}")),
                };
                Problem::new(kind, what).place(&self.address).cause(cause).remedy("see the code location's log")
            })),
        }
    }

    fn parse<T: DeserializeOwned>(&self, doing: &str, json: &str) -> Result<T> {
        serde_json::from_str(json).map_err(|error| {
            LocationError::Refused(
                Problem::new(
                    Code::Unsupported,
                    format!("the answer of the code location to `{doing}` is not understood"),
                )
                .place(&self.address)
                .cause(error.to_string())
                .remedy("build the code location and the daemon from the same version of Catchment"),
            )
        })
    }

    fn parse_all<T: DeserializeOwned>(&self, doing: &str, jsons: &[String]) -> Result<Vec<T>> {
        jsons.iter().map(|json| self.parse(doing, json)).collect()
    }

    fn evaluated(&self, doing: &str, result: &str, problem: &str, log: &[String]) -> Result<Evaluated> {
        let outcome =
            if problem.is_empty() { Ok(self.parse(doing, result)?) } else { Err(self.parse(doing, problem)?) };
        Ok(Evaluated { outcome, log: self.parse_all(doing, log)? })
    }
}

#[async_trait]
impl LocationClient for GrpcClient {
    async fn describe(&self) -> Result<Described> {
        const DOING: &str = "describe itself";
        let answer = self.client.clone().describe(within(SHORT, DescribeRequest {})).await;
        let answer = answer.map_err(|e| self.failed(DOING, &e))?.into_inner();
        if answer.protocol_version != PROTOCOL_VERSION {
            return Err(LocationError::Refused(
                Problem::new(
                    Code::Unsupported,
                    format!(
                        "the code location speaks version {} of the protocol, this program version {PROTOCOL_VERSION}",
                        answer.protocol_version
                    ),
                )
                .place(&self.address)
                .remedy("build both from the same version of Catchment"),
            ));
        }
        Ok(Described {
            snapshot: self.parse(DOING, &answer.snapshot_json)?,
            problems: self.parse_all(DOING, &answer.problems_json)?,
            server_id: answer.server_id,
        })
    }

    async fn evaluate_sensor(
        &self,
        sensor: &str,
        cursor: Option<&str>,
        tick: i64,
        input: &SensorInput,
    ) -> Result<Evaluated> {
        const DOING: &str = "evaluate a sensor";
        let request = EvaluateSensorRequest {
            sensor: sensor.to_owned(),
            cursor: cursor.map(str::to_owned),
            tick_id: tick.to_string(),
            input_json: json(input)?,
        };
        let answer = self.client.clone().evaluate_sensor(within(self.evaluation_timeout, request)).await;
        let answer = answer.map_err(|e| self.failed(DOING, &e))?.into_inner();
        self.evaluated(DOING, &answer.result_json, &answer.problem_json, &answer.log_json)
    }

    async fn evaluate_schedule(
        &self,
        schedule: &str,
        scheduled_for: Timestamp,
        tick: i64,
        last_tick_at: Option<Timestamp>,
    ) -> Result<Evaluated> {
        const DOING: &str = "evaluate a schedule";
        let request = EvaluateScheduleRequest {
            schedule: schedule.to_owned(),
            scheduled_for: scheduled_for.to_string(),
            tick_id: tick.to_string(),
            last_tick_at: last_tick_at.map(|at| at.to_string()).unwrap_or_default(),
        };
        let answer = self.client.clone().evaluate_schedule(within(self.evaluation_timeout, request)).await;
        let answer = answer.map_err(|e| self.failed(DOING, &e))?.into_inner();
        self.evaluated(DOING, &answer.result_json, &answer.problem_json, &answer.log_json)
    }

    async fn finish_claims(&self, sensor: &str, claims: &[Claim]) -> Result<(Vec<ClaimKey>, Option<Problem>)> {
        const DOING: &str = "finish claims";
        let claims_json = claims.iter().map(json).collect::<Result<Vec<_>>>()?;
        let request = FinishClaimsRequest { sensor: sensor.to_owned(), claims_json };
        let answer = self.client.clone().finish_claims(within(self.evaluation_timeout, request)).await;
        let answer = answer.map_err(|e| self.failed(DOING, &e))?.into_inner();
        let mut finished = Vec::new();
        let mut first_problem = None;
        for claim in answer.finished {
            if claim.problem_json.is_empty() {
                finished.push(ClaimKey { key: claim.key, etag: claim.etag });
            } else if first_problem.is_none() {
                first_problem = Some(self.parse::<Problem>(DOING, &claim.problem_json)?.place(claim.key));
            }
        }
        Ok((finished, first_problem))
    }

    async fn validate_run_config(
        &self,
        job: &str,
        run_config: &serde_json::Value,
        selection: &Selection,
    ) -> Result<Vec<Fault>> {
        const DOING: &str = "check run config";
        let request = ValidateRunConfigRequest {
            job: job.to_owned(),
            run_config_json: json(run_config)?,
            selection_json: if selection.is_everything() { String::new() } else { json(selection)? },
        };
        let answer = self.client.clone().validate_run_config(within(SHORT, request)).await;
        let answer = answer.map_err(|e| self.failed(DOING, &e))?.into_inner();
        self.parse_all(DOING, &answer.faults_json)
    }

    async fn run_command(&self, run: &Run) -> Result<RunCommand> {
        let request = RunCommandRequest {
            run_id: run.run_id.to_string(),
            lease_epoch: run.lease_epoch,
            run_config_json: json(&run.run_config)?,
        };
        let answer = self.client.clone().run_command(within(SHORT, request)).await;
        let doing = format!("say how run {} is started", run.run_id);
        let answer = answer.map_err(|e| self.failed(&doing, &e))?.into_inner();
        let environment = answer.environment.into_iter().chain(self.environment.iter().cloned()).collect();
        Ok(RunCommand { program: answer.program, arguments: answer.arguments, environment })
    }

    async fn answers(&self) -> bool {
        let request = within(SHORT, HealthCheckRequest { service: SERVICE.into() });
        match HealthClient::new(self.channel.clone()).check(request).await {
            Ok(_) => true,
            // Whatever it says: it says something.
            Err(status) => !matches!(
                status.code(),
                Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled | Grpc::Unknown | Grpc::Aborted
            ),
        }
    }

    async fn gone(&self) {
        let request = HealthCheckRequest { service: SERVICE.into() };
        let mut statuses = match HealthClient::new(self.channel.clone()).watch(request).await {
            Ok(answer) => answer.into_inner(),
            // A server without the health service: only asking it again shows.
            Err(status) if status.code() == Grpc::Unimplemented => return std::future::pending().await,
            Err(_) => return,
        };
        // The stream breaks with the connection; a server that is about to stop says so.
        while let Ok(Some(answer)) = statuses.message().await {
            if answer.status() == ServingStatus::NotServing {
                return;
            }
        }
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        LocationError::Refused(
            Problem::new(Code::Bug, "a request to a code location cannot be written as JSON").cause(e.to_string()),
        )
    })
}

fn within<T>(time: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}
