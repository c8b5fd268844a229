//! One schedule from its beginning to its end: two daemons, workers, people who cancel and fill, and a world in which
//! processes are killed, calls are lost and answers come late. Then peace, in which everything has to come to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catchment_core::backfill::{BackfillId, BackfillPolicy, BackfillTarget, NewBackfill};
use catchment_core::run::seed_run_ids;
use catchment_core::state::Command;
use catchment_core::{EventKind, Instigator, RunStatus, tags};
use catchment_daemon::DaemonConfig;
use catchment_daemon::context::Clock;
use catchment_daemon::sensors::Sensor;
use catchment_daemon::term::Term;
use catchment_instance::sql::SqlInstance;
use catchment_instance::{RunFilter, SharedInstance};
use catchment_ledger::SqliteLedger;
use catchment_settings::Home;
use catchment_settings::config::OperatorConfig;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::flaky::{Faults, Flaky, Planted};
use crate::launcher::{Machine, SimLauncher};
use crate::ledger::AtOnce;
use crate::location::{ASSET, Inbox, LOCATION, SENSOR, SimLocations, sensor};
use crate::worker::{POOL, POOL_SLOTS};
use crate::world::{Actors, Process, World};

/// The most runs that may work at once.
const AT_ONCE: usize = 3;
/// How long things go wrong, in milliseconds.
const TROUBLE: i64 = 30_000;
/// How long they then have to come to an end.
const PEACE: i64 = 600_000;

/// What to play.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Decides everything that chance decides: the same seed plays the same schedule.
    pub seed: u64,
    /// A fault to plant.
    pub planted: Option<Planted>,
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// What was seen that must never be.
    pub violations: Vec<String>,
    /// What happened, line by line.
    pub trace: Vec<String>,
    /// How many runs there were.
    pub runs: usize,
}

struct Stage {
    world: Arc<World>,
    state: SharedInstance,
    inbox: Arc<Inbox>,
    machine: Arc<Machine>,
    config: DaemonConfig,
    _folder: tempfile::TempDir,
}

/// Plays a schedule. `runtime` is entered for the stores; it has to have a thread of its own.
pub fn play(setup: Setup, runtime: &tokio::runtime::Handle) -> Report {
    seed_run_ids(setup.seed);
    let world = World::new(setup.seed, runtime.clone());
    let stage = Stage::new(&world, setup);
    let mut actors = Actors::default();
    let daemons: Vec<Process> = (0..2).map(|number| stage.start_daemon(number)).collect();
    stage.spawn_trouble(daemons);
    let start = world.now();
    let mut seen = Watch::default();
    actors.run(&world, after(start, TROUBLE), || {
        seen.look(&stage);
        false
    });
    world.tell(|| "peace".into());
    // New daemons, which nothing happens to, find what was left.
    stage.make_peace();
    let mut looked = 0;
    actors.run(&world, after(start, TROUBLE + PEACE), || {
        seen.look(&stage);
        let second = world.now().as_second();
        std::mem::replace(&mut looked, second) != second && stage.is_quiet()
    });
    seen.check_end(&stage);
    Report { violations: world.violations(), trace: world.trace(), runs: seen.runs }
}

fn after(start: Timestamp, milliseconds: i64) -> Timestamp {
    start.checked_add(SignedDuration::from_millis(milliseconds)).unwrap_or(Timestamp::MAX)
}

impl Stage {
    fn new(world: &Arc<World>, setup: Setup) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("simulation-").tempdir_in(root).expect("a folder can be made");
        let home = Home::open(folder.path()).expect("a home can be made");
        let real: SharedInstance =
            Arc::new(world.at_once(SqlInstance::open_sqlite(home.instance_db())).expect("a state can be made"));
        let ledger = Arc::new(world.at_once(SqliteLedger::open(home.ledger_db())).expect("a ledger can be made"));
        world.at_once(real.set_pool_limit(POOL, Some(POOL_SLOTS))).expect("the state can be written");
        let faults = Faults { lost_request: 15, lost_answer: 15, slow: 5 };
        let flaky: SharedInstance = Arc::new(Flaky::new(real.clone(), world.clone(), faults, setup.planted));
        let machine = Machine::new(world.clone(), flaky.clone());
        let inbox = Arc::new(Inbox::default());
        let mut config = OperatorConfig::default();
        config.run_queue.max_concurrent_runs = AT_ONCE as i64;
        config.run_retries.enabled = true;
        config.run_retries.max_retries = 1;
        config.run_monitoring.start_timeout_seconds = 10;
        let time = world.clone();
        let config = DaemonConfig {
            home,
            instance: flaky,
            ledger: AtOnce::new(ledger, world.clone()),
            locations: SimLocations::new(world.clone(), inbox.clone()),
            launcher: Arc::new(SimLauncher(machine.clone())),
            config: Arc::new(config),
            clock: Clock::new(move || time.now()),
        };
        Self { world: world.clone(), state: real, inbox, machine, config, _folder: folder }
    }

    fn start_daemon(&self, number: u64) -> Process {
        let process = self.world.new_process();
        self.world.tell(|| format!("daemon {number} starts as process {}", process.0));
        self.world.spawn(process, daemon(self.world.clone(), self.config.clone(), process));
        process
    }

    /// Things come, daemons and workers are killed, people cancel runs and ask for backfills.
    fn spawn_trouble(&self, mut daemons: Vec<Process>) {
        let (world, inbox, machine, state) =
            (self.world.clone(), self.inbox.clone(), self.machine.clone(), self.state.clone());
        let config = self.config.clone();
        let mut backfills = 0;
        self.world.spawn(Process(0), async move {
            loop {
                let (pause, what) = {
                    let mut random = world.random();
                    (random.i64(200..6_000), random.u32(0..12))
                };
                world.sleep(pause).await;
                match what {
                    0..=4 => inbox.put(),
                    5..=6 => {
                        let place = world.random().usize(0..daemons.len());
                        world.kill(daemons[place]);
                        world.tell(|| format!("the daemon of process {} is killed", daemons[place].0));
                        let process = world.new_process();
                        daemons[place] = process;
                        let (reborn, config) = (world.clone(), config.clone());
                        world.spawn(process, async move {
                            let pause = reborn.random().i64(100..5_000);
                            reborn.sleep(pause).await;
                            daemon(reborn, config, process).await;
                        });
                    }
                    7..=8 => {
                        if let Some(pid) = machine.any() {
                            machine.kill(pid);
                        }
                    }
                    9 => cancel_one(&world, &state, Command::Cancel),
                    10 => cancel_one(&world, &state, Command::ForceCancel),
                    _ if backfills < 2 => {
                        backfills += 1;
                        ask_for_backfill(&world, &state, backfills);
                    }
                    _ => {}
                }
            }
        });
    }

    /// Whether nothing is left to do.
    fn is_quiet(&self) -> bool {
        let live = self.world.at_once(self.state.live_runs()).unwrap_or_default();
        let open = |backfill: &catchment_core::backfill::Backfill| !backfill.status.is_final();
        let backfills = self.world.at_once(self.state.backfills(&Default::default(), None, 100)).unwrap_or_default();
        let runs = self.world.at_once(self.state.runs(&RunFilter::default(), None, 1000)).unwrap_or_default();
        let undecided = runs.iter().any(|run| {
            run.status == RunStatus::Failure
                && (!run.tags.contains_key(tags::FAILURE_REASON)
                    || run.tags.get(tags::WILL_RETRY).is_some_and(|will| will == "true")
                        && !run.tags.contains_key(tags::AUTO_RETRY_RUN_ID))
        });
        live.is_empty() && !undecided && !backfills.iter().any(open) && self.cursor() == Some(self.inbox.len())
    }

    fn cursor(&self) -> Option<usize> {
        let sensor = self.world.at_once(self.state.instigator(&Instigator::sensor(LOCATION, SENSOR)));
        sensor.ok()?.cursor?.parse().ok()
    }

    fn make_peace(&self) {
        self.world.kill(Process(0));
        self.inbox.put();
        self.start_daemon(9);
    }
}

fn cancel_one(world: &World, state: &SharedInstance, command: Command) {
    let live = world.at_once(state.live_runs()).unwrap_or_default();
    if live.is_empty() {
        return;
    }
    let run = &live[world.random().usize(0..live.len())];
    world.tell(|| format!("someone asks: {}", command.name()));
    // It may have ended, or been asked for before.
    world.written();
    world.at_once(state.command(run.run_id, command, None, None, world.now())).ok();
}

fn ask_for_backfill(world: &World, state: &SharedInstance, number: u32) {
    let keys = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let request = NewBackfill {
        id: BackfillId(format!("fill{number}")),
        location: LOCATION.into(),
        target: BackfillTarget::Assets { assets: vec![ASSET.into()], partitions: keys },
        policy: Some(BackfillPolicy::MultiRun { max_partitions_per_run: number }),
        run_config: json!({}),
        tags: BTreeMap::new(),
        title: None,
        description: None,
    };
    world.tell(|| format!("someone asks for the backfill {}", request.id));
    if let Err(error) = world.at_once(state.request_backfill(request, world.now())) {
        world.violated(format!("a backfill could not be asked for: {error}"));
    }
}

/// A daemon: it wins the lead, works while it holds it, and tries again when it has lost it.
async fn daemon(world: Arc<World>, config: DaemonConfig, process: Process) {
    let name = format!("daemon#{}", process.0);
    loop {
        let until = after(world.now(), 6_000);
        let epoch = match config.instance.lead(&name, until, world.now()).await {
            Ok(leading) if leading.holder == name => leading.epoch,
            _ => {
                world.sleep(1_500).await;
                continue;
            }
        };
        world.tell(|| format!("{name} leads with epoch {epoch}"));
        let term = Term::new(&config, epoch);
        term.begin().await;
        let context = term.context().clone();
        world.spawn(process, term.gather_exits());
        let Ok(tasks) = term.tasks() else { return };
        for mut task in tasks {
            let (world_of_task, context) = (world.clone(), context.clone());
            world.spawn(process, async move {
                while !context.stop.is_cancelled() {
                    let wait = task.step().await.unwrap_or(Duration::from_millis(700));
                    pause(&world_of_task, wait).await;
                }
            });
        }
        let mut inbox = Sensor::new(context.clone(), LOCATION, sensor());
        let (world_of_sensor, stop) = (world.clone(), context.stop.clone());
        world.spawn(process, async move {
            while !stop.is_cancelled() {
                let wait = inbox.step().await.unwrap_or(Duration::from_millis(900));
                pause(&world_of_sensor, wait).await;
            }
        });
        loop {
            world.sleep(1_500).await;
            let until = after(world.now(), 6_000);
            match config.instance.lead(&name, until, world.now()).await {
                Ok(leading) if leading.holder == name && leading.epoch == epoch => {}
                Ok(_) => break,
                // It may have lost the lead without knowing.
                Err(_) => {}
            }
        }
        world.tell(|| format!("{name} has lost the lead"));
        context.stop.cancel();
    }
}

async fn pause(world: &Arc<World>, wait: Duration) {
    // A hint may shorten any wait.
    let mut wait = i64::try_from(wait.as_millis()).unwrap_or(1_000).clamp(5, 5_000);
    if world.happens(300) {
        wait = world.random().i64(1..=wait);
    }
    world.sleep(wait).await;
}

/// What is looked at after each step, and at the end.
#[derive(Default)]
struct Watch {
    last_event: i64,
    writes: u64,
    ended: BTreeMap<String, EventKind>,
    /// Steps of the pool that work, by run and key.
    pooled: BTreeSet<(String, String)>,
    runs: usize,
}

impl Watch {
    /// Only what has happened since the last look is looked at.
    fn look(&mut self, stage: &Stage) {
        let world = &stage.world;
        if std::mem::replace(&mut self.writes, world.writes()) == world.writes() {
            return;
        }
        let kinds = &[
            EventKind::RunStarting,
            EventKind::RunStart,
            EventKind::RunSuccess,
            EventKind::RunFailure,
            EventKind::RunCanceled,
            EventKind::StepStart,
            EventKind::StepSuccess,
            EventKind::StepFailure,
        ];
        let events = world.at_once(stage.state.events_after(self.last_event, kinds, 100)).unwrap_or_default();
        let Some(last) = events.last() else { return };
        self.last_event = last.id;
        for event in &events {
            let (kind, run) = (event.event.kind, event.event.run_id.to_string());
            let step = (run.clone(), event.event.step_key.clone().unwrap_or_default());
            match kind {
                EventKind::StepStart if event.event.data["pooled"] == json!(true) => drop(self.pooled.insert(step)),
                EventKind::StepSuccess | EventKind::StepFailure => drop(self.pooled.remove(&step)),
                _ => {}
            }
            if matches!(kind, EventKind::RunSuccess | EventKind::RunFailure | EventKind::RunCanceled) {
                self.pooled.retain(|(of, _)| *of != run);
                if let Some(before) = self.ended.insert(run, kind) {
                    world.violated(format!("a run ended twice: {before}, then {kind}"));
                }
            } else if kind == EventKind::StepStart && self.ended.contains_key(&run) {
                world.violated("a step began after its run had ended".into());
            }
        }
        let live = world.at_once(stage.state.live_runs()).unwrap_or_default();
        let active = live.iter().filter(|run| run.status.is_active()).count();
        if active > AT_ONCE {
            world.violated(format!("{active} runs work at once, of {AT_ONCE} that may"));
        }
        if self.pooled.len() > usize::try_from(POOL_SLOTS).unwrap_or(usize::MAX) {
            world.violated(format!("{} steps of a pool with {POOL_SLOTS} slots work at once", self.pooled.len()));
        }
    }

    fn check_end(&mut self, stage: &Stage) {
        let world = &stage.world;
        let runs = world.at_once(stage.state.runs(&RunFilter::default(), None, 1000)).unwrap_or_default();
        self.runs = runs.len();
        for run in runs.iter().filter(|run| !run.status.is_final()) {
            world.violated(format!("a run is {} for good", run.status));
        }
        for run in &runs {
            let ended = self.ended.get(&run.run_id.to_string());
            let expected = match run.status {
                RunStatus::Success => Some(EventKind::RunSuccess),
                RunStatus::Failure => Some(EventKind::RunFailure),
                RunStatus::Canceled => Some(EventKind::RunCanceled),
                _ => None,
            };
            if ended.copied() != expected {
                world.violated(format!("a run is {} by its row and {ended:?} by its events", run.status));
            }
            if run.status == RunStatus::Failure && run.problem.is_none() {
                world.violated("a run failed without a reason".into());
            }
        }
        // Retries keep the tag of the run that they run again.
        let first = runs.iter().filter(|run| run.parent_run_id.is_none());
        let mut keys: Vec<_> = first.filter_map(|run| run.tags.get(tags::RUN_KEY)).collect();
        keys.sort();
        let unique: BTreeSet<_> = keys.iter().collect();
        if unique.len() != keys.len() {
            world.violated(format!("a run key has several runs: {keys:?}"));
        }
        if unique.len() != stage.inbox.len() {
            world.violated(format!("{} things came, and {} have runs", stage.inbox.len(), unique.len()));
        }
        for run in runs.iter().filter(|run| run.tags.contains_key(tags::BACKFILL) && run.parent_run_id.is_none()) {
            let same = |other: &&catchment_core::Run| {
                other.parent_run_id.is_none()
                    && other.tags.get(tags::BACKFILL) == run.tags.get(tags::BACKFILL)
                    && other.partition_key == run.partition_key
                    && other.tags.get(tags::PARTITION_RANGE_START) == run.tags.get(tags::PARTITION_RANGE_START)
            };
            if runs.iter().filter(same).count() > 1 {
                world.violated("a chunk of a backfill has several runs".into());
            }
        }
        for backfill in world.at_once(stage.state.backfills(&Default::default(), None, 100)).unwrap_or_default() {
            if !backfill.status.is_final() {
                world.violated(format!(
                    "the backfill {} is {} for good",
                    backfill.request.id,
                    backfill.status.as_str()
                ));
            }
        }
        let retried = runs.iter().filter_map(|run| run.parent_run_id).collect::<Vec<_>>();
        if retried.iter().collect::<BTreeSet<_>>().len() != retried.len() {
            world.violated("a run was run again twice".into());
        }
        let pools = world.at_once(stage.state.pools()).unwrap_or_default();
        if pools.iter().any(|pool| !pool.slots.is_empty() || !pool.waiting.is_empty()) {
            world.violated("slots are held by runs that have ended".into());
        }
        let cursor = stage.cursor();
        if cursor != Some(stage.inbox.len()) {
            world.violated(format!("the sensor's cursor is {cursor:?} after {} things", stage.inbox.len()));
        }
    }
}
