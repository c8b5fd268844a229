//! All that a code location defines.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use catchment_core::definitions::{
    ASSET_JOB, AssetSpec, JobSpec, LocationSnapshot, PartitionsSpec, ResourceSpec, ScheduleSpec,
};
use catchment_core::partitions::PartitionsDefinition as Partitions;
use catchment_core::run::Selection;
use catchment_model::{Code, Fault, Problem};
use serde_json::Value;

use crate::asset::AssetDefinition;
use crate::check::CheckDefinition;
use crate::io_manager::IoManager;
use crate::job::{JobDefinition, JobOf};
use crate::output::OutputStore;
use crate::partitions::PartitionsDefinition;
use crate::plan::Plan;
use crate::resource::{ResourceContext, ResourceDefinition};
use crate::schedule::ScheduleDefinition;
use crate::sensor::{ClaimHandler, SensorDefinition};
use crate::{config, secrets, verify};

/// The name of the resource that commits staged outputs.
pub const OUTPUT_STORE: &str = "catchment/output_store";

/// The definitions of a code location: the one place to look.
#[derive(Clone)]
pub struct Definitions {
    pub(crate) location: String,
    pub(crate) code_version: String,
    pub(crate) assets: Vec<AssetDefinition>,
    /// Assets that nothing here makes.
    pub(crate) external_assets: Vec<AssetSpec>,
    pub(crate) checks: Vec<CheckDefinition>,
    pub(crate) jobs: Vec<JobDefinition>,
    pub(crate) sensors: Vec<SensorDefinition>,
    pub(crate) schedules: Vec<ScheduleDefinition>,
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
            external_assets: Vec::new(),
            checks: Vec::new(),
            jobs: Vec::new(),
            sensors: Vec::new(),
            schedules: Vec::new(),
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

    /// Adds an asset that nothing here makes: it is known, may be upstream of others, and what happens to it is
    /// reported from outside.
    pub fn external_asset(mut self, asset: AssetSpec) -> Self {
        self.external_assets.push(AssetSpec { step: String::new(), ..asset });
        self
    }

    /// Adds checks that are steps of their own.
    pub fn asset_checks(mut self, checks: impl IntoIterator<Item = CheckDefinition>) -> Self {
        self.checks.extend(checks);
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

    /// Adds a schedule.
    pub fn schedule(mut self, schedule: ScheduleDefinition) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Says what finishes the claims of a sensor.
    pub fn on_claims(mut self, sensor: &str, handler: ClaimHandler) -> Self {
        self.claim_handlers.push((sensor.to_owned(), handler));
        self
    }

    /// Adds a partitions definition that no asset or job has yet; those that have one bring it along.
    pub fn partitions(mut self, partitions: PartitionsDefinition) -> Self {
        self.partitions.push(partitions);
        self
    }

    /// Adds a resource, built by `build` when it is first needed, once a process. `T` may be a trait object:
    /// `Ok(Arc::new(x) as Arc<dyn Engine>)`.
    pub fn resource<T, F, Fut>(self, name: &str, build: F) -> Self
    where
        T: ?Sized + Send + Sync + 'static,
        F: Fn(ResourceContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Arc<T>, Problem>> + Send + 'static,
    {
        self.add_resource(ResourceDefinition::new(name, build))
    }

    /// Adds a resource: what a function with `#[resource]` answers.
    pub fn add_resource(mut self, resource: ResourceDefinition) -> Self {
        self.resources.push(resource);
        self
    }

    /// Adds an IO manager under a name that assets and ops give; `io_manager` is that of those that give none.
    pub fn io_manager(self, name: &str, manager: impl IoManager + 'static) -> Self {
        let manager: Arc<dyn IoManager> = Arc::new(manager);
        self.add_resource(ResourceDefinition::ready(name, manager))
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

    /// Everything that is wrong with these definitions.
    pub fn check(&self) -> Vec<Problem> {
        verify::faults(self)
    }

    /// Every fault of a run config for a job (or for what is selected of it), with its JSON path.
    ///
    /// # Errors
    /// Where there is no such job, or the selection names what it does not have.
    pub fn validate_run_config(
        &self,
        job: &str,
        selection: &Selection,
        run_config: &Value,
    ) -> Result<Vec<Fault>, Problem> {
        let job = self.find_job(job)?;
        let steps = self.steps_of(&job);
        let plan = Plan::of(self, &job, selection)?;
        Ok(config::faults(self, &steps, &plan.step_keys(), &config::merged(&job, run_config)))
    }

    /// The environment variables that this run config and the config of the definitions name by `{"env": "NAME"}`.
    pub(crate) fn variables_of(&self, run_config: &Value) -> BTreeSet<String> {
        let of_jobs = self.jobs.iter().map(|job| &job.default_config);
        let of_resources = self.resources.iter().filter_map(|resource| resource.default_config.as_ref());
        of_jobs.chain(of_resources).chain([run_config]).flat_map(secrets::named).collect()
    }

    /// The definitions as the control plane sees them. What is too wrong to be shown is left out;
    /// [`Definitions::check`] says all of it.
    pub fn snapshot(&self) -> LocationSnapshot {
        let jobs = self.all_jobs();
        let own_checks = self.assets.iter().flat_map(|asset| &asset.checks);
        LocationSnapshot {
            location: self.location.clone(),
            code_version: self.code_version.clone(),
            assets: self.assets.iter().flat_map(asset_specs).chain(self.external_assets.iter().cloned()).collect(),
            checks: own_checks.chain(self.checks.iter().map(|check| &check.spec)).cloned().collect(),
            jobs: jobs.iter().filter_map(|job| self.job_spec(job).ok()).collect(),
            sensors: self.sensors.iter().map(|sensor| sensor.spec.clone()).collect(),
            schedules: self.schedules.iter().filter_map(|schedule| self.schedule_spec(schedule).ok()).collect(),
            partitions: self.all_partitions().into_iter().filter_map(|p| partitions_spec(p).ok()).collect(),
            resources: self.resources.iter().filter(|r| r.name != OUTPUT_STORE).map(resource_spec).collect(),
        }
        .with_default_automation()
    }

    /// The definition that makes an asset, and what it is.
    pub(crate) fn asset(&self, key: &str) -> Option<(&AssetDefinition, &AssetSpec)> {
        self.assets.iter().find_map(|asset| Some((asset, asset.specs.iter().find(|spec| spec.key == key)?)))
    }

    /// Whether an asset is known, made here or not.
    pub(crate) fn knows_asset(&self, key: &str) -> bool {
        self.asset(key).is_some() || self.external_assets.iter().any(|asset| asset.key == key)
    }

    pub(crate) fn asset_keys(&self) -> Vec<&str> {
        self.assets.iter().flat_map(|asset| &asset.specs).map(|spec| spec.key.as_str()).collect()
    }

    /// The job of that name, the hidden job of all assets among them.
    pub(crate) fn find_job(&self, name: &str) -> Result<JobDefinition, Problem> {
        if name == ASSET_JOB {
            return Ok(self.asset_job());
        }
        self.jobs.iter().find(|job| job.name == name).cloned().ok_or_else(|| {
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

    pub(crate) fn find_schedule(&self, name: &str) -> Result<&ScheduleDefinition, Problem> {
        self.schedules.iter().find(|schedule| schedule.name == name).ok_or_else(|| {
            let there: Vec<_> = self.schedules.iter().map(|schedule| schedule.name.as_str()).collect();
            not_found("schedule", name, &there, &self.location)
        })
    }

    pub(crate) fn claim_handler(&self, sensor: &str) -> Option<&ClaimHandler> {
        self.claim_handlers.iter().find(|(name, _)| name == sensor).map(|(_, handler)| handler)
    }

    /// Every partitions definition, once, those of assets and jobs among them.
    pub(crate) fn all_partitions(&self) -> Vec<&PartitionsDefinition> {
        let mut all: Vec<&PartitionsDefinition> = Vec::new();
        let of_assets = self.assets.iter().filter_map(|asset| asset.partitions.as_ref());
        let of_jobs = self.jobs.iter().filter_map(|job| job.partitions.as_ref());
        for partitions in self.partitions.iter().chain(of_assets).chain(of_jobs) {
            if !all.contains(&partitions) {
                all.push(partitions);
            }
        }
        all
    }

    /// The partitions definition of that name, where it is in order.
    pub(crate) fn partitions_named(&self, name: &str) -> Option<Partitions> {
        self.all_partitions().into_iter().find(|partitions| partitions.name() == name)?.definition().ok()
    }

    /// The partitions definition of a job, by name: its own, or that of its assets. Several where they differ.
    pub(crate) fn partitions_of(&self, job: &JobDefinition) -> BTreeSet<String> {
        if let Some(own) = &job.partitions {
            return BTreeSet::from([own.name().to_owned()]);
        }
        let JobOf::Assets(selection) = &job.of else { return BTreeSet::new() };
        let keys = self.select(selection);
        keys.iter().filter_map(|key| self.asset(key)?.1.partitions.clone()).collect()
    }

    fn all_jobs(&self) -> Vec<JobDefinition> {
        let hidden = (!self.assets.is_empty()).then(|| self.asset_job());
        self.jobs.iter().cloned().chain(hidden).collect()
    }

    pub(crate) fn job_spec(&self, job: &JobDefinition) -> Result<JobSpec, Problem> {
        let plan = Plan::of(self, job, &Selection::default())?;
        let partitions = self.partitions_of(job);
        Ok(JobSpec {
            name: job.name.clone(),
            description: job.description.clone(),
            config_schema: config::job_schema(self, job),
            // Assets of the hidden job may have different partitions: a run of it names one of them, or none.
            partitions: if partitions.len() == 1 { partitions.into_iter().next() } else { None },
            is_asset_job: matches!(job.of, JobOf::Assets(_)),
            tags: job.tags.clone(),
            steps: plan.specs(),
        })
    }

    pub(crate) fn schedule_spec(&self, schedule: &ScheduleDefinition) -> Result<ScheduleSpec, Problem> {
        let job = self.find_job(&schedule.job).ok();
        let names = job.map(|job| self.partitions_of(&job)).unwrap_or_default();
        let partitions = names.first().and_then(|name| self.partitions_named(name));
        let windows = partitions.as_ref().and_then(Partitions::time_windows);
        if !schedule.of_partitioned_job {
            return schedule.spec(None, false);
        }
        let cron = windows.map(|windows| windows.schedule().clone()).ok_or_else(|| {
            Problem::new(
                Code::InvalidConfig,
                format!("the job `{}` has no windows of time as partitions", schedule.job),
            )
            .remedy("give it time-window partitions, or the schedule cron expressions of its own")
        })?;
        schedule.spec(Some(cron), true)
    }
}

fn partitions_spec(partitions: &PartitionsDefinition) -> Result<PartitionsSpec, Problem> {
    Ok(PartitionsSpec { name: partitions.name().to_owned(), definition: partitions.definition()? })
}

fn resource_spec(resource: &ResourceDefinition) -> ResourceSpec {
    resource.spec()
}

fn asset_specs(asset: &AssetDefinition) -> impl Iterator<Item = AssetSpec> {
    let settings = &asset.op.settings;
    let schema = asset.op.config_schema();
    asset.outputs().map(move |(spec, output)| AssetSpec {
        kinds: settings.kinds.clone(),
        description: if spec.description.is_empty() { settings.description.clone() } else { spec.description.clone() },
        config_schema: schema.clone(),
        step: asset.op.name.clone(),
        is_observed: asset.observes,
        code_version: spec.code_version.clone().or_else(|| settings.code_version.clone()),
        tags: settings.tags.iter().chain(&spec.tags).map(|(key, value)| (key.clone(), value.clone())).collect(),
        io_manager: output.io_manager.clone(),
        ..spec.clone()
    })
}

pub(crate) fn not_found(what: &str, name: &str, there: &[&str], location: &str) -> Problem {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Problem::new(Code::NotFound, format!("there is no {what} `{name}` in the code location `{location}`"))
        .cause(format!("defined are: {there}"))
        .remedy(format!("choose one of these, or add the {what} to the definitions"))
}
