//! A state, a clock that stands until it is moved, and locations that do what a test says: steps are called one by
//! one, so nothing depends on how fast the machine is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::definitions::{AssetSpec, LocationSnapshot, SensorKind, SensorSpec};
use catchment_core::instigator::{Tick, TickLog, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, RunRequest, SensorInput, SensorResult};
use catchment_core::state::Command;
use catchment_core::{EventKind, Instigator, Level, NewEvent, NewRun, Run, RunId, Selection};
use catchment_daemon::DaemonConfig;
use catchment_daemon::context::{Clock, Context};
use catchment_daemon::locations::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result as Answer, RunCommand,
};
use catchment_daemon::reconcile::Reconcile;
use catchment_daemon::schedules::Schedule;
use catchment_daemon::sensors::Sensor;
use catchment_daemon::term::Term;
use catchment_instance::{Lease, RunFilter, SharedInstance, TickFilter};
use catchment_launchers::{Exit, LaunchRequest, Launcher, Liveness, RunProcess, Stop};
use catchment_ledger::SqliteLedger;
use catchment_model::{Code, Fault, Problem};
use catchment_settings::Home;
use catchment_settings::config::OperatorConfig;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) const LOCATION: &str = "here";

type Evaluate = Box<dyn FnMut(Option<&str>, &SensorInput) -> Result<SensorResult, Problem> + Send>;
type AtTime = Box<dyn FnMut(Timestamp) -> Result<SensorResult, Problem> + Send>;

/// A code location that a test scripts.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) is_away: AtomicBool,
    pub(crate) hangs: AtomicBool,
    /// The only sensor that hangs, where it is not all of them.
    pub(crate) hanging: Mutex<Option<String>>,
    pub(crate) asked: AtomicUsize,
    sensors: Mutex<HashMap<String, Evaluate>>,
    schedules: Mutex<HashMap<String, AtTime>>,
    pub(crate) finished: Mutex<Vec<Claim>>,
    pub(crate) log: Mutex<Vec<TickLog>>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    pub(crate) fn on_sensor(
        &self,
        name: &str,
        evaluate: impl FnMut(Option<&str>, &SensorInput) -> Result<SensorResult, Problem> + Send + 'static,
    ) {
        self.sensors.lock().unwrap().insert(name.to_owned(), Box::new(evaluate));
    }

    pub(crate) fn on_schedule(
        &self,
        name: &str,
        evaluate: impl FnMut(Timestamp) -> Result<SensorResult, Problem> + Send + 'static,
    ) {
        self.schedules.lock().unwrap().insert(name.to_owned(), Box::new(evaluate));
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn reach(&self) -> Answer<()> {
        if self.is_away.load(Ordering::SeqCst) {
            Err(LocationError::Away(Problem::new(Code::Unavailable, "nobody answers")))
        } else {
            Ok(())
        }
    }

    async fn evaluated(&self, outcome: Result<SensorResult, Problem>) -> Answer<Evaluated> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Evaluated { outcome, log: self.log.lock().unwrap().clone() })
    }
}

#[async_trait]
impl LocationClient for Fake {
    async fn describe(&self) -> Answer<Described> {
        self.reach()?;
        Ok(Described { snapshot: LocationSnapshot::default(), server_id: String::new(), problems: Vec::new() })
    }

    async fn evaluate_sensor(
        &self,
        sensor: &str,
        cursor: Option<&str>,
        _tick: i64,
        input: &SensorInput,
    ) -> Answer<Evaluated> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        let outcome = match self.sensors.lock().unwrap().get_mut(sensor) {
            Some(evaluate) => evaluate(cursor, input),
            None => Ok(SensorResult::default()),
        };
        if self.hanging.lock().unwrap().as_deref() == Some(sensor) {
            std::future::pending::<()>().await;
        }
        self.evaluated(outcome).await
    }

    async fn evaluate_schedule(
        &self,
        schedule: &str,
        scheduled_for: Timestamp,
        _tick: i64,
        _last_tick_at: Option<Timestamp>,
    ) -> Answer<Evaluated> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        let outcome = match self.schedules.lock().unwrap().get_mut(schedule) {
            Some(evaluate) => evaluate(scheduled_for),
            None => Ok(SensorResult::default()),
        };
        self.evaluated(outcome).await
    }

    async fn finish_claims(&self, _sensor: &str, claims: &[Claim]) -> Answer<(Vec<ClaimKey>, Option<Problem>)> {
        self.reach()?;
        self.finished.lock().unwrap().extend_from_slice(claims);
        Ok((claims.iter().map(|claim| claim.claim.clone()).collect(), None))
    }

    async fn validate_run_config(&self, _: &str, _: &Value, _: &Selection) -> Answer<Vec<Fault>> {
        Ok(Vec::new())
    }

    async fn run_command(&self, _: &Run) -> Answer<RunCommand> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        Ok(RunCommand { program: "/bin/true".into(), ..RunCommand::default() })
    }

    async fn gone(&self) {
        std::future::pending().await
    }
}

/// A workspace that stays as a test makes it.
#[derive(Debug)]
pub(crate) struct Fixed {
    states: Mutex<BTreeMap<String, Arc<LocationState>>>,
    changed: watch::Sender<()>,
}

impl Fixed {
    pub(crate) fn set(
        &self,
        name: &str,
        snapshot: LocationSnapshot,
        client: Arc<Fake>,
        is_here: bool,
        since: Timestamp,
    ) {
        self.put(name, Some(snapshot), client, is_here, since);
    }

    /// A location that has not said yet what it defines.
    pub(crate) fn set_unknown(&self, name: &str, client: Arc<Fake>, since: Timestamp) {
        self.put(name, None, client, false, since);
    }

    fn put(&self, name: &str, snapshot: Option<LocationSnapshot>, client: Arc<Fake>, is_here: bool, since: Timestamp) {
        let state = LocationState {
            name: name.to_owned(),
            snapshot: snapshot.map(Arc::new),
            loaded_at: None,
            server_id: String::new(),
            problem: (!is_here).then(|| Problem::new(Code::Unavailable, "nobody answers")),
            is_here,
            since,
            client,
        };
        self.states.lock().unwrap().insert(name.to_owned(), Arc::new(state));
        self.changed.send_replace(());
    }
}

impl Locations for Fixed {
    fn all(&self) -> Vec<Arc<LocationState>> {
        self.states.lock().unwrap().values().cloned().collect()
    }

    fn get(&self, name: &str) -> Option<Arc<LocationState>> {
        self.states.lock().unwrap().get(name).cloned()
    }

    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

pub(crate) struct Stage {
    _folder: tempfile::TempDir,
    pub(crate) home: Home,
    pub(crate) context: Context,
    pub(crate) instance: SharedInstance,
    pub(crate) locations: Arc<Fixed>,
    pub(crate) fake: Arc<Fake>,
    time: Arc<AtomicI64>,
}

/// The time at which every test begins.
pub(crate) const BEGIN: &str = "2026-03-02T10:00:30Z";

impl Stage {
    pub(crate) async fn new(snapshot: LocationSnapshot) -> Self {
        Self::with(snapshot, "").await
    }

    /// With a `catchment.yaml`.
    pub(crate) async fn with(snapshot: LocationSnapshot, yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        let instance = catchment_instance::open(&home).await.unwrap();
        let time = Arc::new(AtomicI64::new(at(BEGIN).as_microsecond()));
        let read = time.clone();
        let clock = Clock::new(move || Timestamp::from_microsecond(read.load(Ordering::SeqCst)).unwrap());
        let locations = Arc::new(Fixed { states: Mutex::default(), changed: watch::Sender::new(()) });
        let fake = Arc::new(Fake::default());
        locations.set(LOCATION, snapshot, fake.clone(), true, at(BEGIN));
        let config = Arc::new(OperatorConfig::from_yaml(yaml, |_| None).unwrap());
        let context = Context::new(instance.clone(), locations.clone(), config, clock);
        Self { _folder: folder, home, context, instance, locations, fake, time }
    }

    /// Another daemon on the same state: what was in memory is gone.
    pub(crate) fn restarted(&self) -> Context {
        Context::new(
            self.instance.clone(),
            self.locations.clone(),
            self.context.config.clone(),
            self.context.clock.clone(),
        )
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.context.now()
    }

    pub(crate) fn set_time(&self, time: &str) {
        self.time.store(at(time).as_microsecond(), Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.time.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    }

    /// Lets time pass from within user code.
    pub(crate) fn passing(&self) -> impl Fn(Duration) + Send + 'static {
        let clock = self.time.clone();
        move |time| {
            clock.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
        }
    }

    pub(crate) fn sensor(&self, name: &str) -> Sensor {
        let location = self.locations.get(LOCATION).unwrap();
        let spec = location.snapshot.as_ref().unwrap().sensors.iter().find(|spec| spec.name == name).unwrap().clone();
        Sensor::new(self.restarted(), LOCATION, spec)
    }

    /// A schedule that was switched on now.
    pub(crate) async fn schedule(&self, name: &str) -> Schedule {
        let instigator = Instigator::schedule(LOCATION, name);
        let status = catchment_core::instigator::InstigatorStatus::Running;
        self.instance.set_status(&instigator, status, true, self.now()).await.unwrap();
        self.schedule_again(name)
    }

    pub(crate) fn schedule_again(&self, name: &str) -> Schedule {
        let location = self.locations.get(LOCATION).unwrap();
        let spec = location.snapshot.as_ref().unwrap().schedules.iter().find(|spec| spec.name == name).unwrap().clone();
        Schedule::new(self.restarted(), LOCATION, spec)
    }

    /// All runs, oldest first.
    pub(crate) async fn runs(&self) -> Vec<Run> {
        let mut runs = self.instance.runs(&RunFilter::default(), None, 10_000).await.unwrap();
        runs.reverse();
        runs
    }

    /// All ticks, oldest first.
    pub(crate) async fn ticks(&self, instigator: &Instigator) -> Vec<Tick> {
        let mut ticks = self.instance.ticks(instigator, &TickFilter::default(), None, 10_000).await.unwrap();
        ticks.reverse();
        ticks
    }

    pub(crate) async fn statuses(&self, instigator: &Instigator) -> Vec<TickStatus> {
        self.ticks(instigator).await.into_iter().map(|tick| tick.status).collect()
    }

    pub(crate) async fn cursor(&self, instigator: &Instigator) -> Option<String> {
        self.instance.instigator(instigator).await.unwrap().cursor
    }

    /// A run of a job that has started.
    pub(crate) async fn started(&self, location: &str, job: &str) -> Run {
        let run = NewRun {
            run_id: RunId::random(),
            job_name: job.to_owned(),
            location: location.to_owned(),
            run_config: Value::Null,
            tags: BTreeMap::new(),
            partition_key: None,
            selection: Selection::default(),
            parent_run_id: None,
            root_run_id: None,
        };
        let run = self.instance.enqueue(run, self.now()).await.unwrap();
        self.start(run.run_id).await
    }

    pub(crate) async fn start(&self, run_id: RunId) -> Run {
        let until = Some(at("2100-01-01T00:00:00Z"));
        let run = self.instance.command(run_id, Command::Launch, None, until, self.now()).await.unwrap();
        let lease = Lease { run_id, epoch: run.lease_epoch };
        self.instance.command(run_id, Command::Start, Some(lease), until, self.now()).await.unwrap()
    }

    pub(crate) async fn end(&self, run: &Run, command: Command) {
        let lease = Lease { run_id: run.run_id, epoch: run.lease_epoch };
        self.instance.command(run.run_id, command, Some(lease), None, self.now()).await.unwrap();
    }

    /// A run that has ended well, or with an error.
    pub(crate) async fn ended(&self, location: &str, job: &str, well: bool) -> Run {
        let run = self.started(location, job).await;
        self.end(&run, if well { Command::Succeed } else { Command::Fail(problem("the roof is off")) }).await;
        run
    }

    /// Reports a materialisation; answers its id.
    pub(crate) async fn made(&self, asset: &str, partition: Option<&str>, run_id: RunId) -> i64 {
        self.append(EventKind::AssetMaterialization, json!({ "asset_key": asset, "partition": partition }), run_id)
            .await
    }

    pub(crate) async fn append(&self, kind: EventKind, mut data: Value, run_id: RunId) -> i64 {
        if data["partition"].is_null() {
            data.as_object_mut().unwrap().remove("partition");
        }
        let event = NewEvent {
            run_id,
            timestamp: self.now(),
            kind,
            step_key: None,
            level: Level::Info,
            message: String::new(),
            data,
        };
        self.instance.append(&[event], None).await.unwrap()
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn problem(what: &str) -> Problem {
    Problem::new(Code::InvalidInput, what)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A location with these sensors.
pub(crate) fn sensors(sensors: impl IntoIterator<Item = (&'static str, SensorKind)>) -> LocationSnapshot {
    let spec = |(name, kind): (&str, SensorKind)| SensorSpec {
        name: name.to_owned(),
        kind,
        running_by_default: true,
        ..SensorSpec::default()
    };
    LocationSnapshot {
        location: LOCATION.to_owned(),
        sensors: sensors.into_iter().map(spec).collect(),
        ..LocationSnapshot::default()
    }
}

/// An asset that a step makes.
pub(crate) fn asset(key: &str, deps: &[&str]) -> AssetSpec {
    AssetSpec {
        key: key.to_owned(),
        step: key.to_owned(),
        deps: deps.iter().map(|dep| (*dep).to_owned()).collect(),
        ..AssetSpec::default()
    }
}

/// An answer that asks for runs of `job` with these keys.
pub(crate) fn runs_for<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> SensorResult {
    let request = |key: S| RunRequest { run_key: Some(key.into()), job_name: "job".into(), ..RunRequest::default() };
    SensorResult { run_requests: keys.into_iter().map(request).collect(), ..SensorResult::default() }
}

/// The tasks of a daemon that leads, called one by one.
pub(crate) struct Work {
    tasks: Vec<Box<dyn Reconcile>>,
}

impl Stage {
    /// A daemon that has just taken the lead; what it launches starts nothing.
    pub(crate) async fn work(&self) -> Work {
        let until = at("2100-01-01T00:00:00Z");
        let leading = self.instance.lead("a test", until, self.now()).await.unwrap();
        let config = DaemonConfig {
            home: self.home.clone(),
            instance: self.instance.clone(),
            ledger: Arc::new(SqliteLedger::open(self.home.ledger_db()).await.unwrap()),
            locations: self.locations.clone(),
            launcher: Arc::new(Nowhere),
            config: self.context.config.clone(),
            clock: self.context.clock.clone(),
        };
        Work { tasks: Term::new(&config, leading.epoch).tasks().unwrap() }
    }

    /// A run that waits in the queue.
    pub(crate) async fn queued(&self, job: &str, tags: &[(&str, &str)]) -> Run {
        let run = NewRun {
            run_id: RunId::random(),
            job_name: job.to_owned(),
            location: LOCATION.to_owned(),
            run_config: Value::Null,
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            partition_key: None,
            selection: Selection::default(),
            parent_run_id: None,
            root_run_id: None,
        };
        self.instance.enqueue(run, self.now()).await.unwrap()
    }
}

impl Work {
    /// One step of a task.
    pub(crate) async fn step(&mut self, name: &str) {
        self.tasks.iter_mut().find(|task| task.name() == name).unwrap().step().await.unwrap();
    }
}

/// Starts nothing, and says that it did.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Launcher for Nowhere {
    async fn launch(&self, request: LaunchRequest) -> Result<String, Problem> {
        Ok(format!("{}@nowhere", request.run_id))
    }

    async fn find(&self, _: RunId, _: i64) -> Option<String> {
        None
    }

    async fn stop(&self, _: &RunProcess, _: Stop) -> bool {
        false
    }

    async fn liveness(&self, _: &RunProcess) -> Liveness {
        Liveness::Unknown
    }

    async fn next_exit(&self) -> Exit {
        std::future::pending().await
    }
}
