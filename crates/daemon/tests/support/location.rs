//! A code location over a folder: each file `<name>` with the text `<batch> <behaviour>` is a manifest.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use catchment_core::definitions::{AssetSpec, JobSpec, LocationSnapshot, SensorSpec, StepSpec};
use catchment_core::sensor::{AddPartitions, Claim, ClaimKey, ClaimOutcome, Rejection, RunRequest, SensorResult};
use catchment_instance::SharedInstance;
use catchment_ledger::{SharedLedger, new_id};
use catchment_model::{Code, ManifestDoc, Problem};
use catchment_proto::v1::code_location_server::{CodeLocation, CodeLocationServer};
use catchment_proto::v1::*;
use catchment_settings::{Home, clock, task};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::{SENSOR, World};

struct Location {
    home: Home,
    landing: PathBuf,
    instance: SharedInstance,
    ledger: SharedLedger,
}

/// A server that can be stopped and started again at the same address.
pub(crate) struct Server {
    pub(crate) url: String,
    port: u16,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Server {
    pub(crate) async fn start(world: &World) -> Self {
        let mut server = Self { url: String::new(), port: 0, running: None };
        server.again(world).await;
        server
    }

    pub(crate) async fn again(&mut self, world: &World) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        self.url = format!("http://127.0.0.1:{}", self.port);
        let location = Location {
            home: world.home.clone(),
            landing: world.landing.clone(),
            instance: world.instance.clone(),
            ledger: world.ledger.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = task::spawn("location", async move {
            let served = tonic::transport::Server::builder()
                .add_service(CodeLocationServer::new(location))
                // Without it Nagle's algorithm and delayed acknowledgements add 40 ms to an answer.
                .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
                    stopped.await.ok();
                });
            served.await.unwrap();
        });
        self.running = Some((stop, handle));
    }

    /// Stops it as a crash does: connections are cut.
    pub(crate) async fn crash(&mut self) {
        let (_stop, handle) = self.running.take().unwrap();
        handle.abort();
        handle.await.unwrap_err();
    }
}

fn manifests(folder: &Path) -> Vec<(ClaimKey, String)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_file() && !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let key = entry.file_name().into_string().unwrap();
            (ClaimKey { key, etag: format!("{:x}", hasher.finish()) }, text)
        })
        .collect();
    found.sort();
    found
}

#[tonic::async_trait]
impl CodeLocation for Location {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        let snapshot = LocationSnapshot {
            location: "etl_pipelines".into(),
            jobs: vec![JobSpec {
                name: "spatial_asset_job".into(),
                steps: vec![StepSpec {
                    key: "raw_spatial_asset".into(),
                    assets: vec!["raw_spatial_asset".into()],
                    ..StepSpec::default()
                }],
                ..JobSpec::default()
            }],
            assets: vec![AssetSpec {
                key: "raw_spatial_asset".into(),
                deps: vec!["source".into()],
                step: "raw_spatial_asset".into(),
                code_version: Some("7".into()),
                ..AssetSpec::default()
            }],
            sensors: vec![SensorSpec {
                name: SENSOR.into(),
                jobs: vec!["spatial_asset_job".into()],
                running_by_default: true,
                ..SensorSpec::default()
            }],
            ..LocationSnapshot::default()
        };
        let snapshot_json = serde_json::to_string(&snapshot).unwrap();
        Ok(Response::new(DescribeResponse {
            protocol_version: catchment_proto::PROTOCOL_VERSION,
            snapshot_json,
            server_id: "1".into(),
            problems_json: Vec::new(),
        }))
    }

    async fn evaluate_sensor(
        &self,
        _: Request<EvaluateSensorRequest>,
    ) -> Result<Response<EvaluateSensorResponse>, Status> {
        let mut result = SensorResult::default();
        for (claim, text) in manifests(&self.landing) {
            let Some((batch, behaviour)) = text.split_once(' ') else {
                let problem = Problem::new(Code::InvalidManifest, "not a manifest");
                result.rejections.push(Rejection { claim, problem });
                continue;
            };
            result.add_partitions.push(AddPartitions { definition: "dataset_id".into(), keys: vec!["parcels".into()] });
            result.run_requests.push(RunRequest {
                run_key: Some(batch.into()),
                job_name: "spatial_asset_job".into(),
                run_config: serde_json::json!(behaviour),
                partition_key: Some("parcels".into()),
                claim: Some(claim),
                ..RunRequest::default()
            });
        }
        let result_json = serde_json::to_string(&result).unwrap();
        Ok(Response::new(EvaluateSensorResponse { result_json, ..EvaluateSensorResponse::default() }))
    }

    async fn evaluate_schedule(
        &self,
        _: Request<EvaluateScheduleRequest>,
    ) -> Result<Response<EvaluateScheduleResponse>, Status> {
        Err(Status::not_found("there are no schedules"))
    }

    async fn finish_claims(
        &self,
        request: Request<FinishClaimsRequest>,
    ) -> Result<Response<FinishClaimsResponse>, Status> {
        let mut answer = FinishClaimsResponse::default();
        for json in request.into_inner().claims_json {
            let Claim { claim, outcome } = serde_json::from_str(&json).unwrap();
            let archive = self.landing.join("archive");
            match outcome {
                ClaimOutcome::Accepted { request, .. } => {
                    let manifest = serde_json::from_value(serde_json::json!({
                        "batch_id": request.run_key, "uploader": "u", "intent": "ingest_vector", "files": [], "metadata": {},
                    }))
                    .unwrap();
                    let (key, etag, now) = (claim.key.clone(), claim.etag.clone(), clock::now());
                    let doc = ManifestDoc::queued(new_id(now), manifest, key, etag, None, now);
                    self.ledger.record_manifest(doc).await.map_err(|e| Status::internal(e.to_string()))?;
                }
                ClaimOutcome::Rejected { problem } => {
                    std::fs::write(archive.join(format!("{}.error.json", claim.key)), problem.to_string()).unwrap();
                }
            }
            std::fs::rename(self.landing.join(&claim.key), archive.join(&claim.key)).ok();
            answer.finished.push(FinishedClaim { key: claim.key, etag: claim.etag, problem_json: String::new() });
        }
        Ok(Response::new(answer))
    }

    async fn validate_run_config(
        &self,
        _: Request<ValidateRunConfigRequest>,
    ) -> Result<Response<ValidateRunConfigResponse>, Status> {
        Ok(Response::new(ValidateRunConfigResponse::default()))
    }

    async fn run_command(&self, request: Request<RunCommandRequest>) -> Result<Response<RunCommandResponse>, Status> {
        let request = request.into_inner();
        let run = self.instance.run(request.run_id.parse().unwrap()).await.unwrap().unwrap();
        let behaviour = run.run_config.as_str().unwrap().to_owned();
        if behaviour == "refused" {
            return Err(Status::not_found("no such job"));
        }
        if let Some(script) = behaviour.strip_prefix("sh ") {
            return Ok(Response::new(RunCommandResponse {
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), script.into()],
                environment: Default::default(),
            }));
        }
        Ok(Response::new(super::process::command(&self.home, &behaviour)))
    }
}
