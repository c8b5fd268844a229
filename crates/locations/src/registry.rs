//! What is known of each location of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catchment_core::definitions::LocationSnapshot;
use catchment_model::{Code, Problem};
use catchment_settings::config::{GrpcAddress, LocationEntry, LocationSource, Workspace};
use catchment_settings::{Home, clock, task};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::backoff;
use crate::client::{Described, LocationClient, LocationState, Locations, Result};
use crate::code_server;
use crate::grpc::GrpcClient;

/// Between two looks at the definitions of a location that answers.
const DESCRIBE_INTERVAL: Duration = Duration::from_secs(60);
/// After a code server has gone away, before it is asked again.
const AFTER_LOSS: Duration = Duration::from_millis(50);

/// The locations of a workspace, with a task that looks after each.
#[derive(Debug)]
pub struct Registry {
    pub(crate) home: Home,
    evaluation_timeout: Duration,
    states: Mutex<BTreeMap<String, Arc<LocationState>>>,
    entries: BTreeMap<String, (LocationEntry, Arc<Notify>)>,
    /// Those that were asked at least once, whatever came of it.
    seen: watch::Sender<BTreeSet<String>>,
    changed: watch::Sender<()>,
    pub(crate) stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Registry {
    /// The locations of a workspace, each away until it has answered. Nothing is asked or started before
    /// [`Registry::start`].
    ///
    /// # Errors
    /// Where an address cannot be one.
    pub fn new(home: Home, workspace: Workspace, evaluation_timeout: Duration) -> Result<Arc<Self>, Problem> {
        let (mut states, mut entries) = (BTreeMap::new(), BTreeMap::new());
        for entry in workspace.locations {
            let client = client(&entry, &entry.address(&home), evaluation_timeout)?;
            let state = LocationState {
                name: entry.name.clone(),
                snapshot: None,
                loaded_at: None,
                server_id: String::new(),
                problem: Some(Problem::new(Code::Unavailable, "the code location has not answered yet")),
                is_here: false,
                since: clock::now(),
                client,
            };
            states.insert(entry.name.clone(), Arc::new(state));
            entries.insert(entry.name.clone(), (entry, Arc::new(Notify::new())));
        }
        Ok(Arc::new(Self {
            home,
            evaluation_timeout,
            states: Mutex::new(states),
            entries,
            seen: watch::Sender::new(BTreeSet::new()),
            changed: watch::Sender::new(()),
            stop: CancellationToken::new(),
            tasks: Mutex::default(),
        }))
    }

    /// What was known of a location when it last answered an earlier process.
    pub fn remember(&self, name: &str, snapshot: LocationSnapshot, loaded_at: Option<Timestamp>) {
        if let Some(state) = self.states().get_mut(name) {
            *state = Arc::new(LocationState { snapshot: Some(Arc::new(snapshot)), loaded_at, ..(**state).clone() });
        }
    }

    /// Starts to look after the locations, and the code servers of those that are given by a binary.
    pub fn start(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, reload) in self.entries.values().cloned() {
            let registry = self.clone();
            tasks.push(task::spawn("location", async move {
                let stop = registry.stop.clone();
                match entry.source.clone() {
                    LocationSource::Grpc(_) => {
                        let Some(state) = registry.get(&entry.name) else { return };
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = registry.watch(&entry.name, state.client.clone(), None, &reload) => {}
                        }
                    }
                    LocationSource::Binary { path, environment } => {
                        let environment = environment.into_iter().collect();
                        code_server::keep(&registry, &entry, path, environment, &reload).await;
                    }
                }
            }));
        }
    }

    /// Waits until each location has answered or failed once, for so long at most.
    pub async fn settled(&self, within: Duration) {
        let mut seen = self.seen.subscribe();
        let all = seen.wait_for(|seen| seen.len() >= self.entries.len());
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::info!("a code location has not answered yet; it is not waited for");
        }
    }

    /// Ends the tasks, and the code servers that they have started.
    pub async fn stop(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "the task of a location has failed");
            }
        }
    }

    /// Looks after a location that answers through `client`: asks it again when its server goes away, when someone
    /// asks for it, and every minute. `note` is said beside what it answers. It never ends.
    pub(crate) async fn watch(
        &self,
        name: &str,
        client: Arc<dyn LocationClient>,
        note: Option<Problem>,
        reload: &Notify,
    ) {
        let (mut failures, mut asked_for) = (0, false);
        loop {
            let wait = match client.describe().await {
                Ok(described) => {
                    failures = 0;
                    self.here(name, described, client.clone(), note.clone(), asked_for);
                    DESCRIBE_INTERVAL
                }
                Err(error) => {
                    failures += 1;
                    self.away(name, error.into());
                    backoff(failures)
                }
            };
            let gone = async {
                match failures {
                    0 => client.gone().await,
                    _ => std::future::pending().await,
                }
            };
            asked_for = tokio::select! {
                () = reload.notified() => true,
                () = tokio::time::sleep(wait) => false,
                () = gone => {
                    tokio::time::sleep(AFTER_LOSS).await;
                    false
                }
            };
        }
    }

    /// Notes what a location answered. `loaded` says that it was loaded anew even if nothing in it has changed.
    pub(crate) fn here(
        &self,
        name: &str,
        described: Described,
        client: Arc<dyn LocationClient>,
        note: Option<Problem>,
        loaded: bool,
    ) {
        let Described { mut snapshot, problems, server_id } = described;
        // The workspace names its locations, whatever they call themselves.
        name.clone_into(&mut snapshot.location);
        let problem = note.or_else(|| faulty(&problems));
        let now = clock::now();
        self.update(name, |old| {
            let same = old.snapshot.as_deref() == Some(&snapshot);
            let loaded = loaded || !same || old.server_id != server_id;
            if old.is_here && !loaded && old.problem == problem && Arc::ptr_eq(&old.client, &client) {
                return None;
            }
            if !old.is_here {
                tracing::info!(location = name, "the code location is here");
            } else if loaded {
                tracing::info!(location = name, changed = !same, "the code location was loaded again");
            }
            Some(LocationState {
                name: old.name.clone(),
                snapshot: if same { old.snapshot.clone() } else { Some(Arc::new(snapshot)) },
                loaded_at: if loaded { Some(now) } else { old.loaded_at },
                server_id,
                problem,
                is_here: true,
                since: if old.is_here { old.since } else { now },
                client,
            })
        });
    }

    /// Notes that a location does not answer; what it last defined stays.
    pub(crate) fn away(&self, name: &str, problem: Problem) {
        let problem = Problem { code: Code::Unavailable, ..problem };
        self.update(name, |old| {
            if !old.is_here && old.problem.as_ref() == Some(&problem) {
                return None;
            }
            if old.is_here {
                tracing::warn!(location = name, %problem, "the code location is away");
            }
            let since = if old.is_here { clock::now() } else { old.since };
            Some(LocationState { problem: Some(problem), is_here: false, since, ..old.clone() })
        });
    }

    fn update(&self, name: &str, change: impl FnOnce(&LocationState) -> Option<LocationState>) {
        let new = {
            let mut states = self.states();
            let Some(state) = states.get_mut(name) else { return };
            change(state).map(|new| *state = Arc::new(new))
        };
        self.seen.send_if_modified(|seen| seen.insert(name.to_owned()));
        if new.is_some() {
            self.changed.send_replace(());
        }
    }

    /// A client of that location.
    pub(crate) fn client(&self, entry: &LocationEntry) -> Result<Arc<dyn LocationClient>, Problem> {
        client(entry, &entry.address(&self.home), self.evaluation_timeout)
    }

    /// A client of that location at another address.
    pub(crate) fn client_at(
        &self,
        entry: &LocationEntry,
        address: &GrpcAddress,
    ) -> Result<Arc<dyn LocationClient>, Problem> {
        client(entry, address, self.evaluation_timeout)
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LocationState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locations for Registry {
    fn all(&self) -> Vec<Arc<LocationState>> {
        self.states().values().cloned().collect()
    }

    fn get(&self, name: &str) -> Option<Arc<LocationState>> {
        self.states().get(name).cloned()
    }

    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn reload(&self, name: &str) {
        if let Some((_, reload)) = self.entries.get(name) {
            reload.notify_one();
        }
    }
}

fn client(
    entry: &LocationEntry,
    address: &GrpcAddress,
    evaluation_timeout: Duration,
) -> Result<Arc<dyn LocationClient>, Problem> {
    let environment = match &entry.source {
        LocationSource::Binary { environment, .. } => environment.clone().into_iter().collect(),
        LocationSource::Grpc(_) => Vec::new(),
    };
    let client = GrpcClient::new(address)?;
    Ok(Arc::new(client.with_evaluation_timeout(evaluation_timeout).with_run_environment(environment)))
}

/// What is wrong with definitions that are served nevertheless.
fn faulty(problems: &[Problem]) -> Option<Problem> {
    let (first, others) = problems.split_first()?;
    let what = match others.len() {
        0 => "a definition of the code location is wrong".to_owned(),
        n => format!("{} definitions of the code location are wrong", n + 1),
    };
    let cause = others.iter().fold(first.to_string(), |so_far, problem| format!("{so_far}\n{problem}"));
    Some(
        Problem::new(Code::InvalidConfig, what).cause(cause).remedy("its binary's `check` lists them; mend them there"),
    )
}
