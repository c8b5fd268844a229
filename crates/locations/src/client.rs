//! What a code location can be asked, and what stands in a workspace.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::definitions::LocationSnapshot;
use catchment_core::instigator::TickLog;
use catchment_core::sensor::{Claim, ClaimKey, SensorInput, SensorResult};
use catchment_core::{Run, Selection};
use catchment_model::{Fault, Problem};
use jiff::Timestamp;
use tokio::sync::watch;

/// Why a location did not do what was asked.
#[derive(Debug, Clone)]
pub enum LocationError {
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

/// The result of a call to a location.
pub type Result<T, E = LocationError> = std::result::Result<T, E>;

/// What a location defines.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its definitions.
    pub snapshot: LocationSnapshot,
    /// What names this start of its code server.
    pub server_id: String,
    /// What is wrong with the definitions.
    pub problems: Vec<Problem>,
}

/// What came of an evaluation.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The answer, or the error of the user's code.
    pub outcome: std::result::Result<SensorResult, Problem>,
    /// What user code logged.
    pub log: Vec<TickLog>,
}

/// How the process of a run is started. Its environment may hold secrets: `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RunCommand {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Beside the launcher's own environment.
    pub environment: Vec<(String, String)>,
}

impl fmt::Debug for RunCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("RunCommand")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &names)
            .finish()
    }
}

/// A code location that can be asked.
#[async_trait]
pub trait LocationClient: Send + Sync + fmt::Debug {
    /// What it defines.
    async fn describe(&self) -> Result<Described>;
    /// Evaluates a sensor once.
    async fn evaluate_sensor(
        &self,
        sensor: &str,
        cursor: Option<&str>,
        tick: i64,
        input: &SensorInput,
    ) -> Result<Evaluated>;
    /// Evaluates a schedule that has user code for one of its times.
    async fn evaluate_schedule(
        &self,
        schedule: &str,
        scheduled_for: Timestamp,
        tick: i64,
        last_tick_at: Option<Timestamp>,
    ) -> Result<Evaluated>;
    /// Tells a sensor what became of its claims; answers those that it has finished, and the first reason why another
    /// is not.
    async fn finish_claims(&self, sensor: &str, claims: &[Claim]) -> Result<(Vec<ClaimKey>, Option<Problem>)>;
    /// What is wrong with a run config.
    async fn validate_run_config(
        &self,
        job: &str,
        run_config: &serde_json::Value,
        selection: &Selection,
    ) -> Result<Vec<Fault>>;
    /// How the process of a run is started.
    async fn run_command(&self, run: &Run) -> Result<RunCommand>;
    /// Whether the code server answers at all.
    async fn answers(&self) -> bool {
        true
    }
    /// Waits until the code server goes away, as far as that shows. Cancel-safe.
    async fn gone(&self);
}

/// A location of the workspace, as it stands.
#[derive(Debug, Clone)]
pub struct LocationState {
    /// Its name.
    pub name: String,
    /// Its last definitions; `None` where it never answered.
    pub snapshot: Option<Arc<LocationSnapshot>>,
    /// When they were loaded.
    pub loaded_at: Option<Timestamp>,
    /// What names the start of the code server that they were loaded from; empty before the first.
    pub server_id: String,
    /// Why it does not answer now (`unavailable`), or what is wrong with its definitions (any other code).
    pub problem: Option<Problem>,
    /// Whether it answers now.
    pub is_here: bool,
    /// Since when it is as it is: here or away.
    pub since: Timestamp,
    /// Asks it.
    pub client: Arc<dyn LocationClient>,
}

/// The locations of the workspace.
pub trait Locations: Send + Sync + fmt::Debug {
    /// All of them, in the order of names.
    fn all(&self) -> Vec<Arc<LocationState>>;
    /// One of them.
    fn get(&self, name: &str) -> Option<Arc<LocationState>>;
    /// Changes whenever a location comes, goes, or defines something else.
    fn changed(&self) -> watch::Receiver<()>;
    /// Loads one anew, as far as there is anything to load; it goes on in the background.
    fn reload(&self, name: &str) {
        let _ = name;
    }
}

/// Shared locations.
pub type SharedLocations = Arc<dyn Locations>;
