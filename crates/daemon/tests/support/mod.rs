//! A code location, run processes and a daemon to try out: real gRPC, real processes, real databases.

pub(crate) mod location;
pub(crate) mod process;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use catchment_core::Instigator;
use catchment_core::{Event, EventKind, Run, RunStatus};
use catchment_daemon::DaemonConfig;
use catchment_daemon::context::Clock;
use catchment_instance::{RunFilter, SharedInstance};
use catchment_launchers::SubprocessLauncher;
use catchment_ledger::{SharedLedger, SqliteLedger};
use catchment_locations::Registry;
use catchment_model::Problem;
use catchment_settings::config::{GrpcAddress, LocationEntry, LocationSource, OperatorConfig, Workspace};
use catchment_settings::{Home, clock, task, wake};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SENSOR: &str = "manifest_sensor";
pub(crate) const LOCATION: &str = "etl_pipelines";

pub(crate) fn sensor() -> Instigator {
    Instigator::sensor(LOCATION, SENSOR)
}

/// What a daemon in these tests works by: a location at a URL, and settings.
pub(crate) fn daemon_config(
    home: &Home,
    instance: SharedInstance,
    ledger: SharedLedger,
    location: &str,
    settings: OperatorConfig,
) -> DaemonConfig {
    let port = location.rsplit_once(':').unwrap().1.parse().unwrap();
    let source = LocationSource::Grpc(GrpcAddress::Tcp { host: "127.0.0.1".into(), port });
    let workspace = Workspace { locations: vec![LocationEntry { name: LOCATION.into(), source }] };
    let locations = Registry::new(home.clone(), workspace, Duration::from_secs(60)).unwrap();
    locations.start();
    DaemonConfig {
        home: home.clone(),
        instance,
        ledger,
        locations,
        launcher: Arc::new(SubprocessLauncher::new()),
        config: Arc::new(settings),
        clock: Clock::default(),
    }
}

/// A home with its databases, and a folder that stands for the landing zone.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) home: Home,
    pub(crate) instance: SharedInstance,
    pub(crate) ledger: SharedLedger,
    pub(crate) landing: PathBuf,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path().join("home")).unwrap();
        let landing = folder.path().join("landing");
        std::fs::create_dir_all(landing.join("archive")).unwrap();
        Self {
            instance: catchment_instance::open(&home).await.unwrap(),
            ledger: Arc::new(SqliteLedger::open(home.ledger_db()).await.unwrap()),
            home,
            landing,
            _folder: folder,
        }
    }

    /// Puts a manifest: its name, its batch, and what the run's process is to do. Wakes the daemon.
    pub(crate) fn put(&self, name: &str, batch: &str, behaviour: &str) {
        let whole = self.landing.join(format!(".{name}"));
        std::fs::write(&whole, format!("{batch} {behaviour}")).unwrap();
        std::fs::rename(whole, self.landing.join(name)).unwrap();
        wake::wake(&self.home.daemon_socket());
    }

    pub(crate) fn archived(&self, name: &str) -> bool {
        self.landing.join("archive").join(name).exists() && !self.landing.join(name).exists()
    }

    pub(crate) fn settings() -> OperatorConfig {
        let mut settings = OperatorConfig::default();
        settings.sensors.minimum_interval_seconds = 1;
        settings
    }

    pub(crate) fn daemon(&self, location: &str) -> Running {
        self.daemon_with(location, Self::settings())
    }

    pub(crate) fn daemon_with(&self, location: &str, settings: OperatorConfig) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let config = daemon_config(&self.home, self.instance.clone(), self.ledger.clone(), location, settings);
        let handle = task::spawn("daemon", async move {
            catchment_daemon::run(config, async {
                stopped.await.ok();
            })
            .await
        });
        Running { stop, handle }
    }

    pub(crate) async fn runs(&self) -> Vec<Run> {
        self.instance.runs(&RunFilter::default(), None, 100).await.unwrap()
    }

    /// Waits until the only run has this status.
    pub(crate) async fn run_in(&self, status: RunStatus) -> Run {
        let found = until(&format!("a run in status {status}"), async || {
            self.runs().await.into_iter().find(|run| run.status == status)
        })
        .await;
        assert_eq!(self.runs().await.len(), 1);
        found
    }

    pub(crate) async fn events(&self, run: &Run, kind: EventKind) -> Vec<Event> {
        let events = self.instance.run_events(run.run_id, 0, 1000).await.unwrap();
        events.into_iter().filter(|event| event.event.kind == kind).collect()
    }

    /// What the run's process has printed, once there is something.
    pub(crate) async fn output(&self, run: &Run) -> String {
        let path = self.home.run_log_dir(&run.run_id.to_string()).join("stdout.log");
        until("output of the run", async || {
            let text = std::fs::read_to_string(&path).ok()?;
            text.lines().find_map(|line| line.strip_prefix("said: ").map(str::to_owned))
        })
        .await
    }
}

/// A daemon that works.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    pub(crate) handle: JoinHandle<Result<(), Problem>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.handle.await.unwrap().unwrap();
    }
}

/// Looks until there is something, for ten seconds at most.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(clock::monotonic() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The pid of a run's process, out of the handle of the subprocess launcher.
pub(crate) fn pid_of(run: &Run) -> String {
    run.process.as_ref().and_then(|handle| handle.split_once('@')).unwrap().0.to_owned()
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

/// Whether a process is stopped (SIGSTOP).
pub(crate) fn is_suspended(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T"))
}
