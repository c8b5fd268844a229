//! What tests of runs work with: a real state (SQLite in a temporary home) and a lake that is a list.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::definitions::JobSpec;
use catchment_core::run::Selection;
use catchment_core::state::Command;
use catchment_core::{Event, EventKind, NewRun, RunId, RunStatus};
use catchment_instance::{Lease, SharedInstance};
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, Home, clock};
use serde_json::{Value, json};

use super::Halt;
use super::run::{End, execute};
use crate::{CommitRequest, Committed, Definitions, OpenRun, OutputStore, ResourceDefinition, Resources, Surroundings};

#[derive(Default)]
pub(super) struct List {
    pub(super) opened: Mutex<Vec<OpenRun>>,
    pub(super) asked: AtomicUsize,
    /// How often it does not answer when a run is opened.
    pub(super) away: AtomicUsize,
    shelf: crate::materialize::Shelf,
}

#[async_trait]
impl OutputStore for List {
    async fn open_run(&self, run: OpenRun) -> Result<(), Problem> {
        if self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Problem::new(Code::Unavailable, "the ledger is away"));
        }
        self.opened.lock().unwrap().push(run);
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, Problem> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(request.staged.path.exists());
        self.shelf.commit(request).await
    }

    async fn newest(&self, dataset_id: &str, output: &str) -> Result<Option<Committed>, Problem> {
        self.shelf.newest(dataset_id, output).await
    }

    async fn committed(&self, run_id: RunId, output: &str) -> Result<Option<Committed>, Problem> {
        self.shelf.committed(run_id, output).await
    }
}

/// A state, a lake that is a list, and the definitions that are run.
pub(super) struct World {
    pub(super) definitions: Definitions,
    pub(super) instance: SharedInstance,
    pub(super) resources: Resources,
    pub(super) list: Arc<List>,
    pub(super) home: Home,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn of(definitions: Definitions) -> Self {
        Self::with_environment(definitions, |_| None).await
    }

    pub(super) async fn with_environment(definitions: Definitions, get: impl Fn(&str) -> Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let instance = catchment_instance::open(&home).await.unwrap();
        let list = Arc::new(List::default());
        let store = ResourceDefinition::ready(crate::OUTPUT_STORE, list.clone() as Arc<dyn OutputStore>);
        let environment = Environment::from_lookup(get).unwrap();
        let all = definitions.resources.iter().cloned().chain([store]);
        let resources = Resources::new(all, Surroundings { environment, home: home.clone() });
        Self { definitions, instance, resources, list, home, _folder: folder }
    }

    /// A run that waits for its process.
    pub(super) async fn launched(&self, job: &str, run_config: Value, partition: Option<&str>) -> Lease {
        let partition_key = partition.map(str::to_owned);
        self.launch(NewRun { run_config, partition_key, ..new_run(job) }).await
    }

    pub(super) async fn launch(&self, run: NewRun) -> Lease {
        let run_id = run.run_id;
        self.instance.enqueue(run, clock::now()).await.unwrap();
        let until = clock::now() + Duration::from_secs(15);
        let run = self.instance.command(run_id, Command::Launch, None, Some(until), clock::now()).await.unwrap();
        Lease { run_id, epoch: run.lease_epoch }
    }

    /// Runs a job to its end.
    pub(super) async fn run(&self, job: &str) -> (Lease, End) {
        let lease = self.launch(new_run(job)).await;
        let end = self.execute(lease).await.unwrap();
        (lease, end)
    }

    pub(super) async fn execute(&self, lease: Lease) -> Result<End, Problem> {
        execute(&self.definitions, self.instance.clone(), self.resources.clone(), lease, Halt::default()).await
    }

    pub(super) async fn status(&self, lease: Lease) -> RunStatus {
        self.instance.run(lease.run_id).await.unwrap().unwrap().status
    }

    pub(super) async fn started(&self, lease: Lease) {
        let deadline = clock::monotonic() + Duration::from_secs(10);
        while self.status(lease).await != RunStatus::Started {
            assert!(clock::monotonic() < deadline, "the run did not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn events(&self, lease: Lease) -> Vec<Event> {
        self.instance.run_events(lease.run_id, 0, 1000).await.unwrap()
    }

    /// What happened, without log lines: the kind, and the step where there is one.
    pub(super) async fn story(&self, lease: Lease) -> Vec<String> {
        let events = self.events(lease).await.into_iter().map(|event| event.event);
        let told = events.filter(|event| event.kind != EventKind::Log);
        told.map(|event| match event.step_key {
            Some(step) => format!("{} {step}", event.kind),
            None => event.kind.to_string(),
        })
        .collect()
    }
}

/// A run of everything of a job.
pub(super) fn new_run(job: &str) -> NewRun {
    NewRun {
        run_id: RunId::random(),
        job_name: job.into(),
        location: "test".into(),
        run_config: json!({}),
        tags: Default::default(),
        partition_key: None,
        selection: Default::default(),
        parent_run_id: None,
        root_run_id: None,
    }
}

/// As owned texts.
pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Why a run failed.
pub(super) fn failure(end: End) -> Problem {
    match end {
        End::Failure(problem) => problem,
        other => panic!("it has to fail, not {other:?}"),
    }
}

impl World {
    /// The events of a kind, with their step.
    pub(super) async fn told(&self, lease: Lease, kind: EventKind) -> Vec<(String, Value)> {
        let events = self.events(lease).await.into_iter().map(|event| event.event).filter(|event| event.kind == kind);
        events.map(|event| (event.step_key.unwrap_or_default(), event.data)).collect()
    }

    /// The steps that an event of this kind is about.
    pub(super) async fn steps(&self, lease: Lease, kind: EventKind) -> Vec<String> {
        let mut steps: Vec<_> = self.told(lease, kind).await.into_iter().map(|(step, _)| step).collect();
        steps.sort();
        steps
    }

    /// A run of some steps of a job, with the values of the others from this run.
    pub(super) async fn again(&self, job: &str, parent: Lease, steps: Vec<String>) -> (Lease, End) {
        let selection = Selection { steps, ..Selection::default() };
        let run =
            NewRun { selection, parent_run_id: Some(parent.run_id), root_run_id: Some(parent.run_id), ..new_run(job) };
        let lease = self.launch(run).await;
        let end = self.execute(lease).await.unwrap();
        (lease, end)
    }

    /// What a step of a run gave, as JSON, from the file that keeps it.
    pub(super) async fn kept(&self, lease: Lease, step: &str) -> String {
        let handled = self.told(lease, EventKind::HandledOutput).await;
        let (_, data) = handled.iter().find(|(key, _)| key == step).unwrap();
        std::fs::read_to_string(data["metadata"]["path"]["value"].as_str().unwrap()).unwrap()
    }

    /// A job, as the control plane sees it.
    pub(super) fn spec(&self, job: &str) -> JobSpec {
        self.definitions.job_spec(&self.definitions.find_job(job).unwrap()).unwrap()
    }
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while !holds().await {
        assert!(clock::monotonic() < deadline, "{what}: in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
