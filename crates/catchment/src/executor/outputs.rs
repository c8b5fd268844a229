//! What a step gave, settled: checks first, then commits and IO managers, then the events that say so.

use std::sync::Arc;
use std::time::Instant;

use catchment_core::definitions::AssetSpec;
use catchment_core::metadata::{self, Metadata, MetadataValue};
use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use catchment_settings::failpoint;
use serde_json::{Value as Json, json};

use super::checks;
use super::execution::Execution;
use super::inputs::Value;
use super::lineage;
use crate::context::Reported;
use crate::definitions::OUTPUT_STORE;
use crate::io_manager::OutputContext;
use crate::materialization::{Materialization, Observation};
use crate::output::{CommitRequest, Committed, OutputPort, OutputStore, Produced, SharedValue, Staged};
use crate::plan::PlannedStep;

/// Who asked for a run: the activity log names it.
pub(crate) const PRINCIPAL_TAG: &str = "catchment/principal";

/// What a step gave, being settled.
pub(crate) struct Settling<'a> {
    execution: &'a Execution,
    step: &'a PlannedStep,
    key: &'a str,
    began: Instant,
    reported: Reported,
    /// What is to be told with the step's end.
    pub(crate) events: Vec<NewEvent>,
    /// Whether any of it is about an asset, so has to be durable before something downstream starts.
    pub(crate) is_about_assets: bool,
}

impl<'a> Settling<'a> {
    pub(crate) fn new(
        execution: &'a Execution,
        step: &'a PlannedStep,
        key: &'a str,
        began: Instant,
        reported: Reported,
    ) -> Self {
        Self { execution, step, key, began, reported, events: Vec::new(), is_about_assets: false }
    }

    /// Settles all outputs: what downstream takes of each.
    pub(crate) async fn settle(&mut self, produced: Vec<Produced>) -> Result<Vec<Value>, Problem> {
        let outputs = &self.step.definition.op.outputs;
        if produced.len() != outputs.len() {
            let what = format!("the step gave {} outputs of {}", produced.len(), outputs.len());
            return Err(Problem::new(Code::Bug, what).place(self.key));
        }
        self.check(&produced).await?;
        let mut values = Vec::new();
        for (at, (produced, port)) in produced.into_iter().zip(outputs).enumerate() {
            values.push(self.output(at, port, produced).await?);
        }
        self.tell_observations();
        self.tell_others();
        Ok(values)
    }

    /// Tells what was reported by a step that failed afterwards, as far as it was not told yet.
    pub(crate) fn tell_reported(&mut self) {
        let checks = std::mem::take(&mut self.reported.checks);
        let events = checks.iter().flat_map(|check| checks::events(self.execution, self.step, self.key, check));
        self.events.extend(events.collect::<Vec<_>>());
        self.tell_observations();
        self.tell_others();
    }

    /// Writes the checks down, and refuses where a blocking one failed: nothing is committed then.
    async fn check(&mut self, produced: &[Produced]) -> Result<(), Problem> {
        let mut results = Vec::new();
        for produced in produced {
            match produced {
                Produced::Staged { staged, .. } => {
                    let checks = self.step.definition.staged_checks.iter();
                    results.extend(checks.map(|check| checks::named(self.step, &check(staged))));
                }
                Produced::Check(result) => results.push(checks::named(self.step, result)),
                _ => {}
            }
        }
        let reported = std::mem::take(&mut self.reported.checks);
        results.extend(reported.iter().map(|check| checks::named(self.step, check)));
        if results.is_empty() {
            return Ok(());
        }
        let events = results.iter().flat_map(|check| checks::events(self.execution, self.step, self.key, check));
        self.execution.scope.journal.write(events.collect()).await?;
        checks::refused(self.step, &results).map_or(Ok(()), Err)
    }

    async fn output(&mut self, at: usize, port: &OutputPort, produced: Produced) -> Result<Value, Problem> {
        match produced {
            Produced::Nothing if port.is_optional => Ok(Value::Nothing),
            Produced::Nothing => Err(Problem::new(Code::Bug, format!("the output `{}` was left out", port.name))
                .place(format!("step {}", self.key))
                .remedy("return a value for it, or declare it as `Optional`")),
            Produced::Check(_) => Ok(Value::One(Arc::new(()))),
            Produced::Observation(observation) => {
                if let Some(asset) = self.step.definition.assets.get(at) {
                    self.reported.observations.push((asset.key.clone(), observation));
                }
                Ok(Value::One(Arc::new(())))
            }
            Produced::Value { value, materialization } => {
                self.given(at, port, value.clone(), materialization, Materialization::new()).await?;
                Ok(Value::One(value))
            }
            Produced::Staged { staged, materialization } => {
                let committed = self.commit(at, *staged).await?;
                let described = describe(&committed);
                let value: SharedValue = Arc::new(committed);
                failpoint::hit("run.before_event");
                self.given(at, port, value.clone(), materialization, described).await?;
                Ok(Value::One(value))
            }
            Produced::Dynamic(values) => {
                let mut keys: Vec<&String> = values.iter().map(|(key, _)| key).collect();
                keys.sort();
                if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(Problem::new(Code::InvalidInput, "two dynamic outputs have the same mapping key")
                        .place(format!("step {}, output {}", self.key, port.name))
                        .cause(format!("the key `{}` was given twice", twice[0]))
                        .remedy("give each its own"));
                }
                for (key, value) in &values {
                    check_mapping_key(self.key, key)?;
                    self.tell_output(port, Some(key));
                    self.keep(at, port, value, Some(key), None).await?;
                }
                Ok(Value::Fan(values))
            }
        }
    }

    /// A value: kept, and where it is an asset, materialised.
    async fn given(
        &mut self,
        at: usize,
        port: &OutputPort,
        value: SharedValue,
        returned: Materialization,
        mut said: Materialization,
    ) -> Result<(), Problem> {
        self.tell_output(port, None);
        let Some(asset) = self.step.definition.assets.get(at) else {
            self.keep(at, port, &value, None, None).await?;
            return Ok(());
        };
        let partitions = self.execution.partitions_of(&asset.key);
        // A value of many partitions is kept once for each: who needs one of them finds it.
        for partition in &partitions {
            said.metadata.extend(self.keep(at, port, &value, None, partition.as_deref()).await?);
        }
        said.merge(returned);
        for name in ["", asset.key.as_str()] {
            said.merge(self.reported.materializations.get(name).cloned().unwrap_or_default());
        }
        self.materialized(asset, &partitions, said);
        Ok(())
    }

    fn materialized(&mut self, asset: &AssetSpec, partitions: &[Option<String>], said: Materialization) {
        let settings = &self.step.definition.op.settings;
        let code_version = asset.code_version.as_ref().or(settings.code_version.as_ref());
        let upstream = self.step.definition.upstream_assets();
        let upstream = upstream.into_iter().filter(|key| asset.deps.iter().any(|dep| dep == key));
        let inputs = self.execution.lineage.versions(upstream);
        let is_users = said.data_version.is_some();
        let version = said.data_version.unwrap_or_else(|| {
            let run_id = self.execution.scope.run_id.to_string();
            lineage::derived(code_version.map_or(run_id.as_str(), String::as_str), &inputs)
        });
        self.execution.lineage.made(&asset.key, &version);
        let mut metadata = said.metadata;
        metadata.insert("seconds".to_owned(), MetadataValue::Float(self.began.elapsed().as_secs_f64()));
        for partition in partitions {
            let data = json!({
                "asset_key": asset.key,
                "partition": partition,
                "metadata": metadata,
                "data_version": version,
                "data_version_is_user_provided": is_users,
                "code_version": code_version,
                "input_data_versions": inputs,
            });
            let of = partition.as_ref().map(|key| format!(", partition `{key}`")).unwrap_or_default();
            let message = format!("materialised `{}`{of}", asset.key);
            self.push(EventKind::AssetMaterialization, Level::Info, message, data);
        }
        self.is_about_assets = true;
    }

    /// What was said of assets that the step does not make by an output of its own.
    fn tell_others(&mut self) {
        let own: Vec<&str> = self.step.definition.assets.iter().map(|asset| asset.key.as_str()).collect();
        let mut others = std::mem::take(&mut self.reported.materializations);
        others.retain(|key, _| !key.is_empty() && !own.contains(&key.as_str()));
        for (key, said) in others {
            let known = self.execution.definitions.asset(&key).map(|(_, spec)| spec.clone());
            let spec = known.unwrap_or_else(|| AssetSpec { key: key.clone(), ..AssetSpec::default() });
            let partitions = self.execution.partitions_of(&key);
            self.materialized(&spec, &partitions, said);
        }
    }

    fn tell_observations(&mut self) {
        for (asset, Observation { metadata, data_version }) in std::mem::take(&mut self.reported.observations) {
            if let Some(version) = &data_version {
                self.execution.lineage.made(&asset, version);
            }
            for partition in self.execution.partitions_of(&asset) {
                let data = json!({
                    "asset_key": asset, "partition": partition, "metadata": metadata, "data_version": data_version,
                });
                self.push(EventKind::AssetObservation, Level::Info, format!("observed `{asset}`"), data);
            }
            self.is_about_assets = true;
        }
    }

    fn tell_output(&mut self, port: &OutputPort, mapping_key: Option<&str>) {
        let data = json!({"output_name": port.name, "mapping_key": mapping_key, "type": port.type_name});
        let what =
            mapping_key.map_or_else(|| format!("gave `{}`", port.name), |key| format!("gave `{}[{key}]`", port.name));
        self.push(EventKind::StepOutput, Level::Debug, what, data);
    }

    /// Gives a value to its IO manager; answers what that says of it.
    async fn keep(
        &mut self,
        at: usize,
        port: &OutputPort,
        value: &SharedValue,
        mapping_key: Option<&str>,
        partition: Option<&str>,
    ) -> Result<Metadata, Problem> {
        if port.is_unit() && port.io_manager.is_none() {
            return Ok(Metadata::new());
        }
        let Some((name, manager)) = self.execution.io_manager(Some(port)).await? else { return Ok(Metadata::new()) };
        let asset = self.step.definition.assets.get(at);
        let context = OutputContext {
            run_id: self.execution.scope.run_id,
            step_key: self.key.to_owned(),
            output: port.name.clone(),
            mapping_key: mapping_key.map(str::to_owned),
            asset_key: asset.map(|asset| asset.key.clone()),
            partition: partition.map(str::to_owned),
            metadata: asset.map(|asset| asset.metadata.clone()).unwrap_or_default(),
            type_name: port.type_name,
            codec: port.codec,
        };
        let metadata = manager.handle_output(&context, value).await?;
        let data = json!({
            "output_name": port.name, "mapping_key": mapping_key, "manager_key": name, "metadata": metadata,
        });
        let message = format!("`{}` is kept by the IO manager `{name}`", port.name);
        self.push(EventKind::HandledOutput, Level::Debug, message, data);
        Ok(metadata)
    }

    async fn commit(&self, at: usize, staged: Staged) -> Result<Committed, Problem> {
        let scope = &self.execution.scope;
        let asset = self.step.definition.assets.get(at).map_or(self.key, |asset| &asset.key);
        let dataset_id = scope.partition_key.clone().ok_or_else(|| {
            Problem::new(
                Code::InvalidInput,
                "a staged file needs a dataset to be committed to, and this run has no partition",
            )
            .place(format!("asset {asset}"))
            .remedy("launch the run with a partition")
        })?;
        let store = scope.resources.get::<dyn OutputStore>(OUTPUT_STORE).await?;
        scope.opening.done().await?;
        failpoint::hit("run.before_commit");
        if scope.halt.token.is_cancelled() {
            return Err(scope.halt.reason());
        }
        store
            .commit(CommitRequest {
                staged,
                dataset_id,
                run_id: scope.run_id,
                epoch: scope.epoch,
                output: asset.to_owned(),
                principal: scope.tags.get(PRINCIPAL_TAG).cloned(),
            })
            .await
    }

    fn push(&mut self, kind: EventKind, level: Level, message: String, data: Json) {
        self.events.push(self.execution.event(kind, self.key, level, message, data));
    }
}

fn check_mapping_key(step: &str, key: &str) -> Result<(), Problem> {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidInput, format!("`{key}` is no mapping key"))
        .place(format!("step {step}"))
        .remedy("use letters, digits, `_`, `-` and `.`"))
}

/// What is said of a version that was committed.
fn describe(committed: &Committed) -> Materialization {
    let mut said = Materialization::new().data_version(committed.asset.content_hash.hex());
    said.metadata = metadata::of_version(&committed.asset);
    said
}
