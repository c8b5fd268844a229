//! What a code location defines, as the control plane sees it.
//!
//! A snapshot is plain data: the daemon decides by it (what runs when, what depends on what), and the last one of a
//! location that is away is still shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::automation::AutomationCondition;
use crate::backfill::BackfillPolicy;
use crate::cron::CronSchedule;
use crate::freshness::FreshnessPolicy;
use crate::mapping::PartitionMapping;
use crate::metadata::Metadata;
use crate::partitions::PartitionsDefinition;
use crate::retry::RetryPolicy;
use crate::run::RunStatus;

/// The hidden job that holds all assets and checks of a location.
pub const ASSET_JOB: &str = "__ASSET_JOB";
/// The sensor that evaluates the automation conditions of all assets that no other automation sensor names.
pub const DEFAULT_AUTOMATION_SENSOR: &str = "default_automation_condition_sensor";

/// All definitions of a code location.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocationSnapshot {
    /// The location's name, such as `etl_pipelines`.
    pub location: String,
    /// The version of the user's code, where it has one.
    pub code_version: String,
    /// Assets in the order of their definition.
    pub assets: Vec<AssetSpec>,
    /// Checks of assets.
    pub checks: Vec<CheckSpec>,
    /// Jobs, the hidden [`ASSET_JOB`] among them where there are assets.
    pub jobs: Vec<JobSpec>,
    /// Sensors.
    pub sensors: Vec<SensorSpec>,
    /// Schedules.
    pub schedules: Vec<ScheduleSpec>,
    /// Partitions definitions.
    pub partitions: Vec<PartitionsSpec>,
    /// Resources and IO managers.
    pub resources: Vec<ResourceSpec>,
}

/// An asset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AssetSpec {
    /// Its key; parts of a longer key are separated by `/`.
    pub key: String,
    /// The group that it is shown in.
    pub group: String,
    /// What it is made with or of, such as `geoparquet`.
    pub kinds: Vec<String>,
    /// What it is.
    pub description: String,
    /// The keys of the assets that it needs.
    pub deps: Vec<String>,
    /// How its partitions follow from those of an upstream asset, where that is not the default.
    pub mappings: BTreeMap<String, PartitionMapping>,
    /// The partitions definition, by name.
    pub partitions: Option<String>,
    /// JSON Schema of its config, where it takes one.
    pub config_schema: Option<Value>,
    /// The step that makes it; several assets may be made by one. Empty: nothing here makes it, it is only known
    /// (an external asset).
    pub step: String,
    /// Whether its step only looks how it stands elsewhere, and makes nothing.
    pub is_observed: bool,
    /// The version of the code that makes it.
    pub code_version: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Users and teams (`team:x`).
    pub owners: Vec<String>,
    /// What is known of it before it is made.
    pub metadata: Metadata,
    /// The IO manager that keeps its value, by the name of a resource.
    pub io_manager: Option<String>,
    /// How its partitions are put into the runs of a backfill.
    pub backfill_policy: Option<BackfillPolicy>,
    /// When it is made by itself.
    pub automation: Option<AutomationCondition>,
    /// How old it may get.
    pub freshness: Option<FreshnessPolicy>,
}

/// A check of an asset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckSpec {
    /// The asset.
    pub asset_key: String,
    /// Its name, unique for the asset.
    pub name: String,
    /// What it asks.
    pub description: String,
    /// Whether its failure with severity ERROR stops what is downstream of the asset in the same run.
    pub blocking: bool,
    /// The step that evaluates it: the asset's own, or one of its own.
    pub step: String,
    /// When it is evaluated by itself.
    pub automation: Option<AutomationCondition>,
}

impl CheckSpec {
    /// `<asset>:<check>`, as in [`Selection::checks`](crate::run::Selection::checks).
    pub fn key(&self) -> String {
        format!("{}:{}", self.asset_key, self.name)
    }
}

/// A job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its steps, in topological order.
    pub steps: Vec<StepSpec>,
    /// Whether it makes assets (or is a graph of ops).
    pub is_asset_job: bool,
    /// The partitions definition, by name.
    pub partitions: Option<String>,
    /// JSON Schema of its run config.
    pub config_schema: Value,
    /// Tags of each of its runs.
    pub tags: BTreeMap<String, String>,
}

/// A step of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepSpec {
    /// Its key: the op's name, within graphs with those of the graphs before it (`outer.inner`). The step of an asset
    /// has the asset's key, that of several assets the function's name, that of a check `<asset>_<check>`.
    pub key: String,
    /// The steps that it needs.
    pub needs: Vec<String>,
    /// The assets that it makes.
    pub assets: Vec<String>,
    /// The checks that it evaluates, as `<asset>:<check>`.
    pub checks: Vec<String>,
    /// The concurrency pool that it needs a slot of.
    pub pool: Option<String>,
    /// When it is tried again within its run.
    pub retry: Option<RetryPolicy>,
    /// Tags, `dagster/priority` among them.
    pub tags: BTreeMap<String, String>,
    /// What it is made with or of.
    pub kinds: Vec<String>,
    /// What it does.
    pub description: String,
    /// Whether it fans out: what is downstream of it runs once for each of its outputs.
    pub is_dynamic: bool,
    /// The dynamic step whose outputs it runs once each for, as `key[mapping_key]`. Without: it runs once, and takes
    /// all that fanned-out steps before it gave.
    pub mapped_over: Option<String>,
}

/// A sensor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorSpec {
    /// Its name.
    pub name: String,
    /// What it watches.
    pub description: String,
    /// What wakes it.
    pub kind: SensorKind,
    /// The jobs that it may ask for.
    pub jobs: Vec<String>,
    /// The assets that it may ask for.
    pub assets: Vec<String>,
    /// The least time between two evaluations, in seconds, whatever happens outside. 0: no least time; the daemon's own
    /// interval is only how long it waits where nothing wakes the sensor.
    pub minimum_interval_s: u32,
    /// Whether it runs unless someone has stopped it.
    pub running_by_default: bool,
}

/// What a sensor follows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SensorKind {
    /// What lies outside: it is evaluated when its interval has passed or something wakes it.
    #[default]
    Standard,
    /// Runs that reach one of these statuses.
    RunStatus {
        /// The statuses.
        statuses: Vec<RunStatus>,
        /// Only runs of these jobs; empty: of all jobs of its location.
        monitored_jobs: Vec<String>,
        /// Runs of all locations.
        monitor_all_locations: bool,
    },
    /// Materialisations of these assets: an asset sensor has one, a multi-asset sensor several.
    Asset {
        /// Their keys.
        assets: Vec<String>,
    },
    /// The automation conditions of these assets; it is evaluated by the daemon, without user code.
    Automation {
        /// Their keys; empty: of all that no other sensor names.
        assets: Vec<String>,
    },
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When it asks.
    pub cron: CronSchedule,
    /// The job that it asks for.
    pub job: String,
    /// Whether it runs unless someone has stopped it.
    pub running_by_default: bool,
    /// Whether each tick stands for a partition: then missed ticks are caught up within a limit, else only the latest.
    pub partitioned: bool,
    /// Whether user code is asked what to run; without, each tick asks for one run of the job (of the newest complete
    /// partition, where it is partitioned).
    pub has_body: bool,
    /// Tags of each run.
    pub tags: BTreeMap<String, String>,
    /// Run config of each run, without user code.
    pub run_config: Value,
}

/// A partitions definition with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionsSpec {
    /// Its name, such as `dataset_id`.
    pub name: String,
    /// The definition.
    pub definition: PartitionsDefinition,
}

/// A resource or IO manager.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceSpec {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Its type's name.
    pub type_name: String,
    /// JSON Schema of its config, where it takes one.
    pub config_schema: Option<Value>,
    /// Whether it is an IO manager.
    pub is_io_manager: bool,
}

impl LocationSnapshot {
    /// The asset of that key.
    pub fn asset(&self, key: &str) -> Option<&AssetSpec> {
        self.assets.iter().find(|asset| asset.key == key)
    }

    /// Whether an automation sensor evaluates the condition of an asset and those of its checks: it names the asset, or
    /// it names none and no other sensor names this one.
    pub fn evaluates(&self, sensor: &SensorSpec, asset: &str) -> bool {
        let names = |assets: &[String]| assets.iter().any(|key| key == asset);
        let others = self.sensors.iter().filter(|other| other.name != sensor.name);
        match &sensor.kind {
            SensorKind::Automation { assets } if assets.is_empty() => !others
                .into_iter()
                .any(|other| matches!(&other.kind, SensorKind::Automation { assets } if names(assets))),
            SensorKind::Automation { assets } => names(assets),
            SensorKind::Standard | SensorKind::RunStatus { .. } | SensorKind::Asset { .. } => false,
        }
    }

    /// The same with the sensor [`DEFAULT_AUTOMATION_SENSOR`] (stopped unless someone starts it), where there is a
    /// condition that no other sensor evaluates.
    pub fn with_default_automation(mut self) -> Self {
        let default = SensorSpec {
            name: DEFAULT_AUTOMATION_SENSOR.to_owned(),
            description: "evaluates the automation conditions that no other sensor evaluates".to_owned(),
            kind: SensorKind::Automation { assets: Vec::new() },
            minimum_interval_s: 30,
            ..SensorSpec::default()
        };
        let assets = self.assets.iter().filter(|asset| asset.automation.is_some()).map(|asset| &asset.key);
        let checks = self.checks.iter().filter(|check| check.automation.is_some()).map(|check| &check.asset_key);
        let is_evaluated = |asset: &String| self.sensors.iter().any(|sensor| self.evaluates(sensor, asset));
        if assets.chain(checks).any(|asset| !is_evaluated(asset)) {
            self.sensors.push(default);
        }
        self
    }

    /// The job of that name.
    pub fn job(&self, name: &str) -> Option<&JobSpec> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// The partitions definition of that name.
    pub fn partitions(&self, name: &str) -> Option<&PartitionsDefinition> {
        self.partitions.iter().find(|spec| spec.name == name).map(|spec| &spec.definition)
    }
}

#[cfg(test)]
mod tests {
    use super::{AssetSpec, DEFAULT_AUTOMATION_SENSOR, LocationSnapshot, SensorKind, SensorSpec};
    use crate::automation::AutomationCondition;

    #[test]
    fn the_default_automation_sensor_is_there_where_a_condition_is_left_and_is_stopped() {
        let asset = |key: &str| AssetSpec {
            key: key.into(),
            automation: Some(AutomationCondition::eager()),
            ..AssetSpec::default()
        };
        let own = SensorSpec {
            name: "own".into(),
            kind: SensorKind::Automation { assets: vec!["a".into()] },
            ..SensorSpec::default()
        };
        let snapshot = LocationSnapshot { assets: vec![asset("a")], sensors: vec![own], ..LocationSnapshot::default() };
        assert_eq!(snapshot.clone().with_default_automation(), snapshot);
        let snapshot = LocationSnapshot { assets: vec![asset("a"), asset("b")], ..snapshot };
        let whole = snapshot.with_default_automation();
        let default = &whole.sensors[1];
        assert_eq!((default.name.as_str(), default.running_by_default), (DEFAULT_AUTOMATION_SENSOR, false));
        assert!(whole.evaluates(default, "b") && !whole.evaluates(default, "a"));
        assert_eq!(whole.clone().with_default_automation(), whole);
    }
}
