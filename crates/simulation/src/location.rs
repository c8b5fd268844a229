//! A code location that is made up: a sensor that asks for a run for each thing it finds, a job, and an asset with
//! partitions to fill.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use catchment_core::definitions::{AssetSpec, JobSpec, LocationSnapshot, PartitionsSpec, SensorSpec, StepSpec};
use catchment_core::partitions::PartitionsDefinition;
use catchment_core::sensor::{Claim, ClaimKey, RunRequest, SensorInput, SensorResult};
use catchment_core::{Run, Selection};
use catchment_locations::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result, RunCommand,
};
use catchment_model::{Code, Fault, Problem};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;

use crate::world::World;

/// Its name.
pub const LOCATION: &str = "simulated";
/// Its sensor.
pub const SENSOR: &str = "inbox";
/// Its job.
pub const JOB: &str = "work";
/// Its asset.
pub const ASSET: &str = "tiles";

/// What it defines.
pub fn snapshot() -> LocationSnapshot {
    let step = StepSpec { key: "step_0".into(), ..StepSpec::default() };
    let definition = PartitionsDefinition::with_keys(["a", "b", "c", "d", "e"])
        .unwrap_or(PartitionsDefinition::Dynamic { name: "none".into() });
    LocationSnapshot {
        location: LOCATION.into(),
        jobs: vec![JobSpec { name: JOB.into(), steps: vec![step], ..JobSpec::default() }],
        assets: vec![AssetSpec { key: ASSET.into(), partitions: Some("letters".into()), ..AssetSpec::default() }],
        partitions: vec![PartitionsSpec { name: "letters".into(), definition }],
        sensors: vec![sensor()],
        ..LocationSnapshot::default()
    }
}

/// Its sensor, as it is defined.
pub fn sensor() -> SensorSpec {
    SensorSpec {
        name: SENSOR.into(),
        jobs: vec![JOB.into()],
        minimum_interval_s: 1,
        running_by_default: true,
        ..SensorSpec::default()
    }
}

/// What lies in the inbox: things `0..n`, each of which is to get exactly one run.
#[derive(Debug, Default)]
pub struct Inbox(AtomicUsize);

impl Inbox {
    /// One more comes.
    pub fn put(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many have come.
    pub fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether none has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Asks the location, over a network that loses things.
pub struct SimClient {
    world: Arc<World>,
    inbox: Arc<Inbox>,
}

impl fmt::Debug for SimClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimClient")
    }
}

impl SimClient {
    async fn way(&self) -> Result<()> {
        let delay = if self.world.happens(10) { 4_000 } else { self.world.random().i64(0..30) };
        self.world.sleep(delay).await;
        if self.world.happens(15) {
            return Err(LocationError::Away(Problem::new(Code::Unavailable, "simulated: the location is away")));
        }
        Ok(())
    }
}

#[async_trait]
impl LocationClient for SimClient {
    async fn describe(&self) -> Result<Described> {
        self.way().await?;
        Ok(Described { snapshot: snapshot(), server_id: "1".into(), problems: Vec::new() })
    }

    async fn evaluate_sensor(&self, _: &str, cursor: Option<&str>, _: i64, _: &SensorInput) -> Result<Evaluated> {
        self.way().await?;
        let seen: usize = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let there = self.inbox.len();
        if self.world.happens(40) {
            let outcome = Err(Problem::new(Code::Bug, "simulated: user code failed"));
            return Ok(Evaluated { outcome, log: Vec::new() });
        }
        // It asks again for the last one too: its run key keeps it from a second run.
        let asked = seen.saturating_sub(1)..there.min(seen + 2);
        let run_requests = asked.clone().map(|thing| RunRequest {
            run_key: Some(format!("thing-{thing}")),
            job_name: JOB.into(),
            run_config: json!({}),
            ..RunRequest::default()
        });
        let result = SensorResult {
            run_requests: run_requests.collect(),
            cursor: Some(asked.end.max(seen).to_string()),
            more: asked.end < there,
            ..SensorResult::default()
        };
        Ok(Evaluated { outcome: Ok(result), log: Vec::new() })
    }

    async fn evaluate_schedule(&self, _: &str, _: Timestamp, _: i64, _: Option<Timestamp>) -> Result<Evaluated> {
        self.way().await?;
        Ok(Evaluated { outcome: Ok(SensorResult::default()), log: Vec::new() })
    }

    async fn finish_claims(&self, _: &str, _: &[Claim]) -> Result<(Vec<ClaimKey>, Option<Problem>)> {
        self.way().await?;
        Ok((Vec::new(), None))
    }

    async fn validate_run_config(&self, _: &str, _: &serde_json::Value, _: &Selection) -> Result<Vec<Fault>> {
        self.way().await?;
        Ok(Vec::new())
    }

    async fn gone(&self) {
        std::future::pending().await
    }

    async fn run_command(&self, _: &Run) -> Result<RunCommand> {
        self.way().await?;
        Ok(RunCommand { program: "simulated".into(), ..RunCommand::default() })
    }
}

/// A workspace of this one location.
pub struct SimLocations {
    state: Arc<LocationState>,
    changed: watch::Sender<()>,
}

impl fmt::Debug for SimLocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimLocations")
    }
}

impl SimLocations {
    /// The workspace as a daemon sees it.
    pub fn new(world: Arc<World>, inbox: Arc<Inbox>) -> Arc<Self> {
        let now = world.now();
        let state = LocationState {
            name: LOCATION.into(),
            snapshot: Some(Arc::new(snapshot())),
            loaded_at: Some(now),
            problem: None,
            is_here: true,
            server_id: "1".into(),
            since: now,
            client: Arc::new(SimClient { world, inbox }),
        };
        Arc::new(Self { state: Arc::new(state), changed: watch::Sender::new(()) })
    }
}

impl Locations for SimLocations {
    fn all(&self) -> Vec<Arc<LocationState>> {
        vec![self.state.clone()]
    }

    fn get(&self, name: &str) -> Option<Arc<LocationState>> {
        (name == LOCATION).then(|| self.state.clone())
    }

    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
