//! All that a code location defines.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use catchment_core::definitions::{AssetSpec, JobSpec, LocationSnapshot};
use catchment_model::{Code, Fault, Problem};
use serde_json::Value;

use crate::asset::AssetDefinition;
use crate::job::JobDefinition;
use crate::output::OutputStore;
use crate::partitions::PartitionsDefinition;
use crate::plan::Plan;
use crate::resource::{ResourceContext, ResourceDefinition};
use crate::sensor::{ClaimHandler, SensorDefinition};
use crate::{config, verify};

/// The name of the resource that commits staged outputs.
pub const OUTPUT_STORE: &str = "catchment/output_store";

/// The definitions of a code location: the one place to look.
#[derive(Clone)]
pub struct Definitions {
    pub(crate) location: String,
    pub(crate) code_version: String,
    pub(crate) assets: Vec<AssetDefinition>,
    pub(crate) jobs: Vec<JobDefinition>,
    pub(crate) sensors: Vec<SensorDefinition>,
    pub(crate) claim_handlers: Vec<(String, ClaimHandler)>,
    pub(crate) resources: Vec<ResourceDefinition>,
    pub(crate) partitions: Vec<PartitionsDefinition>,
}

impl Definitions {
    /// A code location of that name, without anything.
    pub fn new(location: &str) -> Self {
        Self {
            location: location.to_owned(),
            code_version: String::new(),
            assets: Vec::new(),
            jobs: Vec::new(),
            sensors: Vec::new(),
            claim_handlers: Vec::new(),
            resources: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// The version of the code, such as `env!("CARGO_PKG_VERSION")`.
    pub fn code_version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.code_version);
        self
    }

    /// Adds assets.
    pub fn assets(mut self, assets: impl IntoIterator<Item = AssetDefinition>) -> Self {
        self.assets.extend(assets);
        self
    }

    /// Adds a job.
    pub fn job(mut self, job: JobDefinition) -> Self {
        self.jobs.push(job);
        self
    }

    /// Adds a sensor.
    pub fn sensor(mut self, sensor: SensorDefinition) -> Self {
        self.sensors.push(sensor);
        self
    }

    /// Says what finishes the claims of a sensor.
    pub fn on_claims(mut self, sensor: &str, handler: ClaimHandler) -> Self {
        self.claim_handlers.push((sensor.to_owned(), handler));
        self
    }

    /// Adds a partitions definition.
    pub fn partitions(mut self, partitions: PartitionsDefinition) -> Self {
        self.partitions.push(partitions);
        self
    }

    /// Adds a resource, built by `build` when it is first needed, once a process. `T` may be a trait object:
    /// `Ok(Arc::new(x) as Arc<dyn Engine>)`.
    pub fn resource<T, F, Fut>(mut self, name: &str, build: F) -> Self
    where
        T: ?Sized + Send + Sync + 'static,
        F: Fn(ResourceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<T>, Problem>> + Send + 'static,
    {
        self.resources.push(ResourceDefinition::new(name, build));
        self
    }

    /// Says where staged outputs are committed.
    pub fn output_store<F, Fut>(self, build: F) -> Self
    where
        F: Fn(ResourceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<dyn OutputStore>, Problem>> + Send + 'static,
    {
        self.resource(OUTPUT_STORE, build)
    }

    /// The location's name.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Everything that is wrong with these definitions; nothing where they can be served.
    pub fn check(&self) -> Vec<Problem> {
        verify::faults(self)
    }

    /// Every fault of a run config for a job, with its JSON path.
    ///
    /// # Errors
    /// Where there is no such job.
    pub fn validate_run_config(&self, job: &str, run_config: &Value) -> Result<Vec<Fault>, Problem> {
        Ok(config::faults(self, &self.find_job(job)?.assets, run_config))
    }

    /// The definitions as the control plane sees them.
    ///
    /// # Errors
    /// Where a job cannot be put in order; [`Definitions::check`] says all of it.
    pub fn snapshot(&self) -> Result<LocationSnapshot, Problem> {
        Ok(LocationSnapshot {
            location: self.location.clone(),
            code_version: self.code_version.clone(),
            assets: self.assets.iter().map(asset_spec).collect(),
            jobs: self.jobs.iter().map(|job| self.job_spec(job)).collect::<Result<_, _>>()?,
            sensors: self.sensors.iter().map(|sensor| sensor.spec.clone()).collect(),
            partitions: self.partitions.iter().map(|partitions| partitions.0.clone()).collect(),
        })
    }

    pub(crate) fn asset(&self, key: &str) -> Option<&AssetDefinition> {
        self.assets.iter().find(|asset| asset.key == key)
    }

    pub(crate) fn find_job(&self, name: &str) -> Result<&JobDefinition, Problem> {
        self.jobs.iter().find(|job| job.name == name).ok_or_else(|| {
            let there: Vec<_> = self.jobs.iter().map(|job| job.name.as_str()).collect();
            not_found("job", name, &there, &self.location)
        })
    }

    pub(crate) fn find_sensor(&self, name: &str) -> Result<&SensorDefinition, Problem> {
        self.sensors.iter().find(|sensor| sensor.spec.name == name).ok_or_else(|| {
            let there: Vec<_> = self.sensors.iter().map(|sensor| sensor.spec.name.as_str()).collect();
            not_found("sensor", name, &there, &self.location)
        })
    }

    pub(crate) fn claim_handler(&self, sensor: &str) -> Option<&ClaimHandler> {
        self.claim_handlers.iter().find(|(name, _)| name == sensor).map(|(_, handler)| handler)
    }

    /// The partitions definitions of some assets.
    pub(crate) fn partitions_of<'a>(&'a self, assets: &[String]) -> BTreeSet<&'a str> {
        assets.iter().filter_map(|key| self.asset(key)?.partitions.as_deref()).collect()
    }

    fn job_spec(&self, job: &JobDefinition) -> Result<JobSpec, Problem> {
        let steps: Vec<String> = Plan::of(self, &job.assets)?.steps.into_iter().map(|step| step.asset.key).collect();
        Ok(JobSpec {
            name: job.name.clone(),
            description: job.description.clone(),
            config_schema: config::job_schema(self, &steps),
            partitions: self.partitions_of(&steps).first().map(|name| (*name).to_owned()),
            steps,
        })
    }
}

fn asset_spec(asset: &AssetDefinition) -> AssetSpec {
    AssetSpec {
        key: asset.key.clone(),
        group: asset.group.clone(),
        kinds: asset.kinds.clone(),
        description: asset.description.clone(),
        deps: asset.upstream().into_iter().map(str::to_owned).collect(),
        partitions: asset.partitions.clone(),
        config_schema: asset.config_schema(),
    }
}

pub(crate) fn not_found(what: &str, name: &str, there: &[&str], location: &str) -> Problem {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Problem::new(Code::NotFound, format!("there is no {what} `{name}` in the code location `{location}`"))
        .cause(format!("defined are: {there}"))
        .remedy(format!("choose one of these, or add the {what} to the definitions"))
}
