//! One step: its function, its checks, its commit, its events.

use std::sync::Arc;
use std::time::Instant;

use catchment_core::metadata::{Metadata, MetadataValue};
use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, failpoint};
use serde_json::{Value, json};

use super::panics;
use crate::check::CheckResult;
use crate::context::{RunScope, StepContext};
use crate::definitions::OUTPUT_STORE;
use crate::lower::StepDefinition;
use crate::materialization::Materialization;
use crate::output::{CommitRequest, Committed, OutputStore, Produced, SharedValue, Staged};

/// Who asked for a run: the activity log names it.
pub(crate) const PRINCIPAL_TAG: &str = "catchment/principal";

/// Runs a step from its first event to its last. Its failure is written before it is answered.
pub(crate) async fn run(
    definition: StepDefinition,
    scope: Arc<RunScope>,
    context: StepContext,
) -> Result<Vec<(String, SharedValue)>, Problem> {
    let step = Step { definition, scope, context, began: clock::monotonic() };
    step.write(vec![step.event(EventKind::StepStart, Level::Info, "started".into(), Value::Null)]).await?;
    match step.make().await {
        Ok(value) => Ok(value),
        // Another process has taken over: nothing may be written any more.
        Err(problem) if problem.code == Code::LeaseLost => Err(problem),
        Err(problem) => {
            tracing::debug!(%problem, "the step failed");
            let data = json!({"problem": problem, "duration_ms": step.duration_ms()});
            step.write(vec![step.event(EventKind::StepFailure, Level::Error, problem.to_string(), data)]).await?;
            Err(problem)
        }
    }
}

struct Step {
    definition: StepDefinition,
    scope: Arc<RunScope>,
    context: StepContext,
    began: Instant,
}

impl Step {
    async fn make(&self) -> Result<Vec<(String, SharedValue)>, Problem> {
        let produced = panics::caught((self.definition.op.body)(self.context.clone())).await?;
        let mut reported = self.context.take_reported();
        let of_all = reported.materializations.remove("").unwrap_or_default();
        let mut checks = std::mem::take(&mut reported.checks);
        for given in &produced {
            match given {
                Produced::Staged { staged, .. } => {
                    checks.extend(self.definition.staged_checks.iter().map(|check| check(staged)));
                }
                Produced::Check(check) => checks.push(self.own_check(check)),
                _ => {}
            }
        }
        self.check(checks).await?;
        let mut values = Vec::new();
        let mut events = Vec::new();
        for (at, given) in produced.into_iter().enumerate() {
            let Some(port) = self.definition.op.outputs.get(at) else { continue };
            let info = |kind, message, data| self.event(kind, Level::Info, message, data);
            let (value, said) = match given {
                Produced::Value { value, materialization } => (value, materialization),
                Produced::Staged { staged, materialization } => {
                    let committed = self.commit(*staged).await?;
                    failpoint::hit("run.before_event");
                    let mut said = Materialization { metadata: describe(&committed), data_version: None };
                    said.merge(materialization);
                    (Arc::new(committed) as SharedValue, said)
                }
                _ => continue,
            };
            events.push(info(EventKind::StepOutput, format!("gave a {}", port.type_name), Value::Null));
            if let Some(asset) = self.definition.assets.get(at) {
                let mut all = said;
                all.merge(of_all.clone());
                all.merge(reported.materializations.remove(&asset.key).unwrap_or_default());
                all.metadata.insert("seconds".into(), self.began.elapsed().as_secs_f64().into());
                let data = json!({
                    "asset_key": asset.key, "partition": self.scope.partition_key, "metadata": all.metadata,
                    "data_version": all.data_version,
                });
                events.push(info(EventKind::AssetMaterialization, format!("materialised `{}`", asset.key), data));
            }
            values.push((port.name.clone(), value));
        }
        let ms = self.duration_ms();
        let ended = (format!("done in {ms} ms"), json!({"duration_ms": ms}));
        events.push(self.event(EventKind::StepSuccess, Level::Info, ended.0, ended.1));
        self.write(events).await?;
        failpoint::hit("run.after_event");
        Ok(values)
    }

    /// The result of a check that is a step of its own has the name and blocking of its definition.
    fn own_check(&self, check: &CheckResult) -> CheckResult {
        let mut check = check.clone();
        if let Some(spec) = self.definition.checks.first() {
            check.name.clone_from(&spec.name);
            check.blocking = spec.blocking;
        }
        check
    }

    /// The asset that a check is of.
    fn checked(&self) -> &str {
        let own = self.definition.assets.first().map(|asset| asset.key.as_str());
        own.or(self.definition.checks.first().map(|check| check.asset_key.as_str())).unwrap_or_default()
    }

    /// Writes the checks down, and refuses where a blocking one failed.
    async fn check(&self, checks: Vec<CheckResult>) -> Result<(), Problem> {
        if checks.is_empty() {
            return Ok(());
        }
        self.write(checks.iter().map(|check| self.check_event(check)).collect()).await?;
        let failed: Vec<_> = checks.iter().filter(|check| check.blocks()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = failed.iter().map(|check| format!("`{}`", check.name)).collect();
        let found: Vec<_> = failed.iter().map(|check| in_words(check)).collect();
        let verb = if names.len() == 1 { "the blocking check" } else { "the blocking checks" };
        Err(Problem::new(Code::CheckFailed, format!("{verb} {} failed, so nothing was committed", names.join(", ")))
            .place(format!("asset {}", self.checked()))
            .cause(found.join("; "))
            .remedy("mend the data and ingest it again under a new batch_id"))
    }

    async fn commit(&self, staged: Staged) -> Result<Committed, Problem> {
        let dataset_id = self.scope.partition_key.clone().ok_or_else(|| {
            Problem::new(
                Code::InvalidInput,
                "a staged file needs a dataset to be committed to, and this run has no partition",
            )
            .place(format!("asset {}", self.checked()))
            .remedy("launch the run with a partition")
        })?;
        let store = self.scope.resources.get::<dyn OutputStore>(OUTPUT_STORE).await?;
        self.scope.opened.clone().await?;
        failpoint::hit("run.before_commit");
        if self.scope.halt.token.is_cancelled() {
            return Err(self.scope.halt.reason());
        }
        store
            .commit(CommitRequest {
                staged,
                dataset_id,
                run_id: self.scope.run_id,
                epoch: self.scope.epoch,
                output: self.checked().to_owned(),
                principal: self.scope.tags.get(PRINCIPAL_TAG).cloned(),
            })
            .await
    }

    fn check_event(&self, check: &CheckResult) -> NewEvent {
        let word = if check.passed { "passed" } else { "failed" };
        let level = match (check.passed, check.blocks()) {
            (true, _) => Level::Info,
            (false, true) => Level::Error,
            (false, false) => Level::Warning,
        };
        let data = json!({
            "asset_key": self.checked(),
            "check_name": check.name,
            "passed": check.passed,
            "severity": check.severity,
            "blocking": check.blocking,
            "description": check.description,
            "metadata": check.metadata,
        });
        let message = format!("check `{}` {word}: {}", check.name, check.description);
        self.event(EventKind::AssetCheckEvaluation, level, message, data)
    }

    fn event(&self, kind: EventKind, level: Level, message: String, data: Value) -> NewEvent {
        self.scope.journal.event(kind, Some(&self.definition.key), level, message, data)
    }

    async fn write(&self, events: Vec<NewEvent>) -> Result<(), Problem> {
        self.scope.journal.write(events).await
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn in_words(check: &CheckResult) -> String {
    if check.metadata.is_empty() {
        return format!("{}: {}", check.name, check.description);
    }
    let numbers: Vec<_> =
        check.metadata.iter().map(|(name, value)| format!("{name} = {}", json!(value)["value"])).collect();
    format!("{}: {} ({})", check.name, check.description, numbers.join(", "))
}

/// The metadata of a version's materialisation.
fn describe(committed: &Committed) -> Metadata {
    let asset = &committed.asset;
    let mut metadata = Metadata::new();
    let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), MetadataValue::infer(value));
    put("dataset_id", json!(asset.dataset_id));
    put("version", json!(asset.version));
    put("s3_key", json!(asset.s3_key));
    put("mongodb_doc_id", json!(asset.id));
    put("content_hash", json!(asset.content_hash));
    put("bytes", json!(asset.bytes));
    put("format", json!(asset.format));
    put("crs", json!(asset.crs));
    put("bounds", json!(asset.bounds));
    put("rows", json!(asset.metadata.feature_count));
    put("geometry_type", json!(asset.metadata.geometry_type));
    for (name, count) in &asset.metadata.counts {
        put(name, json!(count));
    }
    if !asset.metadata.warnings.is_empty() {
        put("warnings", json!(asset.metadata.warnings));
    }
    metadata.retain(|_, value| *value != MetadataValue::Null);
    metadata
}
