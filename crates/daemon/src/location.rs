//! The client of the code location. It connects when it is used, and again after an outage.

use std::time::Duration;

use catchment_core::definitions::LocationSnapshot;
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_core::{Run, RunId};
use catchment_model::{Code, Problem};
use catchment_proto::PROTOCOL_VERSION;
use catchment_proto::v1::code_location_client::CodeLocationClient;
use catchment_proto::v1::{
    DescribeRequest, EvaluateSensorRequest, FinishClaimsRequest, RunCommandRequest, RunCommandResponse,
};
use serde_json::{from_str, to_string};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For what the location answers from memory.
const SHORT: Duration = Duration::from_secs(10);
/// For what reaches out to objects.
const LONG: Duration = Duration::from_secs(60);
/// The largest answer that is taken: a sensor that was not asked for days may have much to say.
const LARGEST_ANSWER: usize = 64 << 20;

/// Why the location did not do what was asked.
#[derive(Debug)]
pub(crate) enum LocationError {
    /// It could not be reached, or did not answer in time: it is tried again.
    Away(Problem),
    /// It answered that it cannot.
    Refused(Problem),
}

impl From<LocationError> for Problem {
    fn from(error: LocationError) -> Self {
        match error {
            LocationError::Away(problem) | LocationError::Refused(problem) => problem,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Location {
    client: CodeLocationClient<Channel>,
    endpoint: String,
}

impl Location {
    pub(crate) fn new(endpoint: &str) -> Result<Self, Problem> {
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|e| {
                Problem::new(Code::InvalidConfig, "the address of the code location is no URL")
                    .place(endpoint)
                    .cause(e.to_string())
                    .remedy("write it as http://127.0.0.1:4000")
            })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .connect_lazy();
        let client = CodeLocationClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        Ok(Self { client, endpoint: endpoint.to_owned() })
    }

    /// What the location defines.
    pub(crate) async fn describe(&self) -> Result<LocationSnapshot, LocationError> {
        let answer = self.client.clone().describe(within(SHORT, DescribeRequest {})).await;
        let answer = answer.map_err(|e| self.failed("describe", &e))?.into_inner();
        if answer.protocol_version != PROTOCOL_VERSION {
            return Err(LocationError::Refused(
                Problem::new(
                    Code::Unsupported,
                    format!(
                        "the code location speaks version {} of the protocol, this daemon version {PROTOCOL_VERSION}",
                        answer.protocol_version
                    ),
                )
                .place(&self.endpoint)
                .remedy("build both from the same version of Catchment"),
            ));
        }
        self.parse("describe", &answer.snapshot_json)
    }

    /// Evaluates a sensor; the inner error is that of the user's code.
    pub(crate) async fn evaluate_sensor(
        &self,
        sensor: &str,
        cursor: Option<String>,
        tick: i64,
    ) -> Result<Result<SensorResult, Problem>, LocationError> {
        let request = EvaluateSensorRequest { sensor: sensor.to_owned(), cursor, tick_id: tick.to_string() };
        let answer = self.client.clone().evaluate_sensor(within(LONG, request)).await;
        let answer = answer.map_err(|e| self.failed("evaluate a sensor", &e))?.into_inner();
        for line in &answer.log_lines {
            tracing::info!(sensor, tick, "{line}");
        }
        if answer.problem_json.is_empty() {
            self.parse("evaluate a sensor", &answer.result_json).map(Ok)
        } else {
            self.parse("evaluate a sensor", &answer.problem_json).map(Err)
        }
    }

    /// Tells a sensor what became of its claims; answers those that it has finished, and the first reason why
    /// another is not.
    pub(crate) async fn finish_claims(
        &self,
        sensor: &str,
        claims: &[Claim],
    ) -> Result<(Vec<ClaimKey>, Option<Problem>), LocationError> {
        let claims_json = claims.iter().map(to_string).collect::<Result<Vec<_>, _>>().map_err(|e| {
            LocationError::Refused(Problem::new(Code::Bug, "a claim cannot be written as JSON").cause(e.to_string()))
        })?;
        let request = FinishClaimsRequest { sensor: sensor.to_owned(), claims_json };
        let answer = self.client.clone().finish_claims(within(LONG, request)).await;
        let answer = answer.map_err(|e| self.failed("finish claims", &e))?.into_inner();
        let mut finished = Vec::new();
        let mut first_problem = None;
        for claim in answer.finished {
            if claim.problem_json.is_empty() {
                finished.push(ClaimKey { key: claim.key, etag: claim.etag });
            } else if first_problem.is_none() {
                first_problem = Some(self.parse::<Problem>("finish claims", &claim.problem_json)?.place(claim.key));
            }
        }
        Ok((finished, first_problem))
    }

    /// How the process of a run is started.
    pub(crate) async fn run_command(&self, run: &Run) -> Result<RunCommandResponse, LocationError> {
        let request = RunCommandRequest { run_id: run.run_id.to_string(), lease_epoch: run.lease_epoch };
        let answer = self.client.clone().run_command(within(SHORT, request)).await;
        Ok(answer.map_err(|e| self.failed(&starting(run.run_id), &e))?.into_inner())
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, doing: &str, json: &str) -> Result<T, LocationError> {
        from_str(json).map_err(|e| {
            LocationError::Refused(
                Problem::new(Code::Unsupported, format!("the code location's answer to `{doing}` is not understood"))
                    .place(&self.endpoint)
                    .cause(e.to_string())
                    .remedy("build the daemon and the code location from the same version of Catchment"),
            )
        })
    }

    fn failed(&self, doing: &str, status: &Status) -> LocationError {
        use tonic::Code as Grpc;
        let cause = format!("{:?}: {}", status.code(), status.message());
        match status.code() {
            // A connection that breaks shows as any of these.
            Grpc::Unavailable | Grpc::DeadlineExceeded | Grpc::Cancelled | Grpc::Unknown | Grpc::Aborted => {
                LocationError::Away(
                    Problem::new(Code::Unavailable, format!("the code location could not be asked to {doing}"))
                        .place(&self.endpoint)
                        .cause(cause)
                        .remedy("start the code location, or see its log; the daemon tries again by itself"),
                )
            }
            _ => LocationError::Refused(
                Problem::new(Code::InvalidInput, format!("the code location refused to {doing}"))
                    .place(&self.endpoint)
                    .cause(cause)
                    .remedy("see the code location's log"),
            ),
        }
    }
}

fn starting(run_id: RunId) -> String {
    format!("say how run {run_id} is started")
}

fn within<T>(time: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}
