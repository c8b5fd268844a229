//! Assets in a test: no server, no state, nothing on disk but scratch.

use std::collections::{BTreeMap, HashMap};
use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use catchment_core::metadata::Metadata;
use catchment_core::run::Selection;
use catchment_core::{EventKind, NewEvent, RunId};
use catchment_model::documents::ContentHash;
use catchment_model::{Asset, Code, DatasetId, ObjectId, Problem};
use catchment_settings::{Environment, Home, clock};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::config;
use crate::context::RunScope;
use crate::definitions::{Definitions, OUTPUT_STORE};
use crate::executor::execution::Execution;
use crate::executor::journal::{Journal, Record};
use crate::executor::limits::Limits;
use crate::executor::lineage::Lineage;
use crate::executor::{Halt, logs, partitions, steps};
use crate::io_manager::MemoryIoManager;
use crate::lower::{StepDefinition, StepOutputRef};
use crate::op::RESULT;
use crate::output::{CommitRequest, Committed, OpenRun, OutputStore, SharedValue};
use crate::plan::{Past, Plan};
use crate::resource::{ResourceDefinition, Resources, Surroundings};
use crate::verify;

/// Makes assets in this process, in memory: `materialize(&definitions, ["a", "b"]).config(…).await`. What is
/// staged is checked and "committed" to a list; resources may be replaced by fakes. Checks of the assets are evaluated.
pub fn materialize<const N: usize>(definitions: &Definitions, assets: [&str; N]) -> Materialize {
    Materialize::new(definitions, Target::Assets(assets.map(str::to_owned).to_vec()))
}

/// Runs a job in this process, in memory, as [`materialize`] does: `execute_job(&definitions, "etl").await`.
pub fn execute_job(definitions: &Definitions, job: &str) -> Materialize {
    Materialize::new(definitions, Target::Job(job.to_owned()))
}

enum Target {
    Assets(Vec<String>),
    Job(String),
}

/// What is to be made, and with what. Await it.
pub struct Materialize {
    definitions: Definitions,
    target: Target,
    run_config: Value,
    partition: Option<String>,
    tags: BTreeMap<String, String>,
    resources: Vec<ResourceDefinition>,
}

/// What came of it.
pub struct Materialized {
    /// The events of the run, in order.
    pub events: Vec<NewEvent>,
    /// The steps that failed.
    pub failures: Vec<(String, Problem)>,
    values: HashMap<StepOutputRef, SharedValue>,
    outputs: HashMap<String, StepOutputRef>,
}

impl Materialize {
    fn new(definitions: &Definitions, target: Target) -> Self {
        Self {
            definitions: definitions.clone(),
            target,
            run_config: json!({}),
            partition: None,
            tags: BTreeMap::new(),
            resources: Vec::new(),
        }
    }

    /// The run config.
    pub fn config(mut self, run_config: Value) -> Self {
        self.run_config = run_config;
        self
    }

    /// The partition.
    pub fn partition(mut self, key: &str) -> Self {
        self.partition = Some(key.to_owned());
        self
    }

    /// A tag of the run.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts a fake in the place of the resource of that name.
    pub fn resource<T: ?Sized + Send + Sync + 'static>(mut self, name: &str, value: Arc<T>) -> Self {
        self.resources.push(ResourceDefinition::ready(name, value));
        self
    }

    async fn run(self) -> Result<Materialized, Problem> {
        let (job, selection) = match self.target {
            Target::Job(name) => (self.definitions.find_job(&name)?, Selection::default()),
            Target::Assets(assets) => (self.definitions.asset_job(), Selection { assets, ..Selection::default() }),
        };
        let plan = Plan::of(&self.definitions, &job, &selection)?;
        let mut wrong = Vec::new();
        let steps: Vec<_> = plan.steps.iter().map(|planned| &planned.definition).collect();
        verify::check_inputs(&steps, "materialize", &mut wrong);
        if let Some(problem) = wrong.into_iter().next() {
            return Err(problem);
        }
        let run_config = config::merged(&job, &self.run_config);
        let faults =
            config::faults(&self.definitions, &self.definitions.steps_of(&job), &plan.step_keys(), &run_config);
        if !faults.is_empty() {
            return Err(config::problem(faults));
        }
        let folder = tempfile::tempdir().map_err(|error| folder_problem(&error))?;
        let run_id = RunId::random();
        let halt = Halt::default();
        let record = Arc::new(Memory::default());
        let journal = Journal::start(run_id, record.clone(), halt.clone());
        let _registered = logs::Registered::new(run_id, journal.clone());
        let scope = Arc::new(RunScope {
            run_id,
            epoch: 1,
            job_name: job.name.clone(),
            partition_key: self.partition,
            tags: self.tags,
            scratch: folder.path().join("scratch"),
            halt,
            children: Default::default(),
            journal: journal.clone(),
            resources: resources(&self.definitions, self.resources, folder.path())?
                .configured(&run_config, Some(journal.clone())),
            run_config,
            opening: Arc::default(),
        });
        let partition = scope.partition_key.as_deref();
        let partitions = partitions::of_run(&self.definitions, &plan, partition, &scope.tags, None).await?;
        let execution = Arc::new(Execution {
            definitions: self.definitions,
            plan,
            past: Past::default(),
            limits: Limits::of(&scope.run_config, job.concurrency),
            slots: None,
            lineage: Lineage::default(),
            partitions,
            default_io: Arc::new(MemoryIoManager::default()),
            scope,
        });
        journal.tell(execution.planned());
        let ended = steps::run(execution.clone()).await?;
        journal.flush().await?;
        let events = std::mem::take(&mut *record.0.lock().unwrap_or_else(PoisonError::into_inner));
        let plan = &execution.plan;
        let outputs = plan.steps.iter().flat_map(|planned| outputs(&planned.definition)).collect();
        Ok(Materialized { events, failures: ended.failures, values: ended.values, outputs })
    }
}

/// The outputs of a step, by the keys of the assets that they are, and by `<step>` or `<step>.<output>`.
fn outputs(step: &StepDefinition) -> Vec<(String, StepOutputRef)> {
    let mut found = Vec::new();
    for (at, port) in step.op.outputs.iter().enumerate() {
        let output = StepOutputRef { step: step.key.clone(), output: port.name.clone() };
        let name = if port.name == RESULT { step.key.clone() } else { format!("{}.{}", step.key, port.name) };
        found.push((step.assets.get(at).map_or(name, |asset| asset.key.clone()), output));
    }
    found
}

impl IntoFuture for Materialize {
    type Output = Result<Materialized, Problem>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

impl Materialized {
    /// Whether every step ended well.
    pub fn success(&self) -> bool {
        self.failures.is_empty() && !self.events.iter().any(|event| event.kind == EventKind::StepSkipped)
    }

    /// The value of an asset: what its function returned, or [`Committed`] where that was `Staged`.
    pub fn value<T: Send + Sync + 'static>(&self, asset: &str) -> Option<Arc<T>> {
        self.values.get(self.outputs.get(asset)?)?.clone().downcast().ok()
    }

    /// The value of an op's output: `<step>`, or `<step>.<output>` where it has several.
    pub fn output<T: Send + Sync + 'static>(&self, output: &str) -> Option<Arc<T>> {
        self.value(output)
    }

    /// The metadata of an asset's materialisation.
    pub fn metadata(&self, asset: &str) -> Option<Metadata> {
        let made = self
            .events
            .iter()
            .find(|event| event.kind == EventKind::AssetMaterialization && event.asset_key() == Some(asset));
        serde_json::from_value(made?.data.get("metadata")?.clone()).ok()
    }

    /// Whether a check of an asset held; `None` where it was not evaluated.
    pub fn check(&self, asset: &str, check: &str) -> Option<bool> {
        let evaluated = self.events.iter().find(|event| {
            event.kind == EventKind::AssetCheckEvaluation
                && event.asset_key() == Some(asset)
                && event.data.get("check_name").and_then(Value::as_str) == Some(check)
        });
        evaluated?.data.get("passed")?.as_bool()
    }
}

fn resources(
    definitions: &Definitions,
    fakes: Vec<ResourceDefinition>,
    folder: &std::path::Path,
) -> Result<Resources, Problem> {
    let environment = Environment::from_lookup(|_| None)?;
    let home = Home::at(folder.join("home")).map_err(|error| folder_problem(&error))?;
    let store: Arc<dyn OutputStore> = Arc::new(Shelf::default());
    let defined = definitions.resources.iter().filter(|resource| resource.name != OUTPUT_STORE).cloned();
    let all = defined.chain([ResourceDefinition::ready(OUTPUT_STORE, store)]).chain(fakes);
    Ok(Resources::new(all, Surroundings { environment, home }))
}

fn folder_problem(error: &std::io::Error) -> Problem {
    Problem::new(Code::Io, "a temporary folder cannot be made")
        .cause(error.to_string())
        .remedy("see that TMPDIR may be written and has room")
}

#[derive(Default)]
struct Memory(Mutex<Vec<NewEvent>>);

#[async_trait]
impl Record for Memory {
    async fn append(&self, events: &[NewEvent]) -> Result<(), Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(events);
        Ok(())
    }
}

/// An output store that keeps no file: it numbers what it is given, and describes it as the lake would.
#[derive(Default)]
pub(crate) struct Shelf(AtomicU64, Mutex<Vec<Asset>>);

#[async_trait]
impl OutputStore for Shelf {
    async fn open_run(&self, _: OpenRun) -> Result<(), Problem> {
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Committed, Problem> {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let invalid = |what: String| Problem::new(Code::InvalidInput, what).place(request.output.clone());
        let dataset_id = DatasetId::new(&request.dataset_id).map_err(|error| invalid(error.to_string()))?;
        let staged = request.staged.clone();
        let content_hash = ContentHash::from_hex(&staged.sha256).map_err(|error| invalid(error.to_string()))?;
        let now = clock::now();
        let mut id = [0; 12];
        id[4..].copy_from_slice(&number.to_be_bytes());
        let asset = Asset {
            id: ObjectId::from_bytes(id),
            s3_key: format!("{dataset_id}/v{number}/{}", staged.format.file_name()),
            dataset_id,
            version: number,
            content_hash,
            bytes: staged.bytes,
            run_id: ObjectId::from_bytes([0; 12]),
            dagster_run_id: request.run_id.to_string(),
            output: request.output.clone(),
            lease_epoch: request.epoch,
            kind: staged.kind,
            format: staged.format,
            crs: staged.crs.as_ref().map(|crs| crs.label().to_owned()),
            bounds: staged.bounds,
            metadata: staged.metadata,
            provenance: staged.provenance,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push(asset.clone());
        Ok(Committed { asset, already: false })
    }

    async fn newest(&self, dataset_id: &str, output: &str) -> Result<Option<Committed>, Problem> {
        Ok(self.last(|asset| asset.dataset_id.to_string() == dataset_id && asset.output == output))
    }

    async fn committed(&self, run_id: RunId, output: &str) -> Result<Option<Committed>, Problem> {
        Ok(self.last(|asset| asset.dagster_run_id == run_id.to_string() && asset.output == output))
    }
}

impl Shelf {
    fn last(&self, is: impl Fn(&Asset) -> bool) -> Option<Committed> {
        let assets = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        assets.iter().rev().find(|asset| is(asset)).map(|asset| Committed { asset: asset.clone(), already: true })
    }
}
