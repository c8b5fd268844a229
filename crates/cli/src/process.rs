//! The long-lived processes: thin wrappers around their crates. Each prints one line of JSON on standard output
//! when it can serve, and stops on SIGTERM or Ctrl-C.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use catchment_core::definitions::ASSET_JOB;
use catchment_daemon::DaemonConfig;
use catchment_instance::{LocationRecord, SharedInstance};
use catchment_launchers::SubprocessLauncher;
use catchment_ledger::SqliteLedger;
use catchment_locations::{LocationState, Locations as _, Registry};
use catchment_model::{Code, Problem};
use catchment_settings::config::OperatorConfig;
use catchment_settings::{Environment, S3Credentials};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{WebserverArgs, WorkspaceArgs};
use crate::workspace;

/// How long the ready line of the daemon waits for code locations.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);
/// And then for the state to show them.
const SHOWN_WITHIN: Duration = Duration::from_millis(500);

/// Ends when the process is asked to stop.
pub(crate) fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, Problem> {
    let listen =
        |kind| signal(kind).map_err(|e| Problem::new(Code::Io, "signals cannot be listened for").cause(e.to_string()));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    })
}

/// Says that the process can serve.
fn ready(process: &str, address: &str) {
    println!("{}", json!({"ready": true, "process": process, "address": address}));
}

/// `catchment s3`.
pub(crate) async fn s3(environment: &Environment, listen: SocketAddr) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let admin = S3Credentials::load_or_create(&home, environment)?;
    let config = catchment_s3_server::Config::for_home(&home, environment, admin, listen);
    let server = catchment_s3_server::Server::bind(config).await?;
    ready("s3", &server.local_addr().to_string());
    server.serve(stop).await
}

/// `catchment webserver`.
pub(crate) async fn webserver(environment: &Environment, args: WebserverArgs) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let workspace = workspace::load(&args.workspace, &home)?;
    let config = catchment_web::Config { home, environment: environment.clone(), listen: args.listen, workspace };
    let server = catchment_web::Server::bind(config).await?;
    ready("webserver", &server.local_addr().to_string());
    server.serve(stop).await
}

/// `catchment daemon`. It has no port; its ready line, and a line for each later change, says how the code locations
/// are.
pub(crate) async fn daemon(environment: &Environment, args: &WorkspaceArgs) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let settings = OperatorConfig::load(&home)?;
    let timeout = Duration::from_secs(settings.sensors.timeout_seconds.into());
    let registry = Registry::new(home.clone(), workspace::load(args, &home)?, timeout)?;
    let instance = catchment_instance::open(&home).await?;
    for record in instance.locations().await? {
        if let Some(snapshot) = record.snapshot {
            registry.remember(&record.name, snapshot, record.loaded_at);
        }
    }
    let config = DaemonConfig {
        instance,
        ledger: Arc::new(SqliteLedger::open(home.ledger_db()).await?),
        locations: registry.clone(),
        launcher: Arc::new(SubprocessLauncher::new()),
        config: Arc::new(settings),
        clock: catchment_daemon::context::Clock::default(),
        home,
    };
    let instance = config.instance.clone();
    let mut running = std::pin::pin!(catchment_daemon::run(config, stop));
    // Its first step takes the lock and the socket: it either fails there, or it works.
    if let Poll::Ready(ended) = futures::poll!(&mut running) {
        return ended;
    }
    registry.start();
    let ended = tokio::select! {
        ended = &mut running => ended,
        never = announce(&registry, &instance) => match never {},
    };
    registry.stop().await;
    ended
}

/// Whether the state says of each location what the registry does.
async fn are_shown(registry: &Registry, instance: &SharedInstance) -> bool {
    let Ok(records) = instance.locations().await else { return false };
    registry.all().iter().all(|state| {
        let same = |record: &LocationRecord| record.name == state.name && record.is_here() == state.is_here;
        records.iter().any(same)
    })
}

/// Says that the daemon is ready once each location has answered or failed, and then what changes.
async fn announce(registry: &Registry, instance: &SharedInstance) -> Infallible {
    let mut changed = registry.changed();
    registry.settled(SETTLES_WITHIN).await;
    // Whoever is told that the daemon is ready finds the locations in the state too. One that waits for another daemon
    // writes none.
    let shown = async {
        while !are_shown(registry, instance).await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SHOWN_WITHIN, shown).await.ok();
    changed.mark_unchanged();
    let mut said = BTreeMap::new();
    let mut lines = Vec::new();
    for state in registry.all() {
        let line = LocationLine::of(&state);
        lines.push(line.clone());
        said.insert(state.name.clone(), line);
    }
    println!("{}", json!({"ready": true, "process": "daemon", "address": "", "locations": lines}));
    loop {
        if changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        for state in registry.all() {
            let line = LocationLine::of(&state);
            if said.get(&state.name) != Some(&line) {
                println!("{}", json!({"location": line}));
                said.insert(state.name.clone(), line);
            }
        }
    }
}

/// How a code location is, in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LocationLine {
    /// Its name.
    pub(crate) name: String,
    /// Whether it answers.
    pub(crate) here: bool,
    /// When its definitions were loaded.
    pub(crate) loaded_at: Option<Timestamp>,
    /// How many assets, jobs, sensors and schedules it defines.
    pub(crate) counts: [usize; 4],
    /// What is wrong with it.
    pub(crate) problem: Option<Problem>,
}

impl LocationLine {
    fn of(state: &LocationState) -> Self {
        let counts = state.snapshot.as_ref().map_or([0; 4], |s| {
            let jobs = s.jobs.iter().filter(|job| job.name != ASSET_JOB).count();
            [s.assets.len(), jobs, s.sensors.len(), s.schedules.len()]
        });
        Self {
            name: state.name.clone(),
            here: state.is_here,
            loaded_at: state.loaded_at,
            counts,
            problem: state.problem.clone(),
        }
    }
}
