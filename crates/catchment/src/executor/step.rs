//! One step: its function, its checks, its commit, its events.

use std::sync::Arc;
use std::time::Instant;

use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use catchment_settings::{clock, failpoint};
use serde_json::{Map, Value, json};

use super::panics;
use crate::asset::AssetDefinition;
use crate::check::CheckResult;
use crate::context::{AssetContext, RunScope};
use crate::definitions::OUTPUT_STORE;
use crate::output::{CommitRequest, Committed, OutputStore, SharedValue, Staged, StepOutput};

/// Who asked for a run: the activity log names it.
pub(crate) const PRINCIPAL_TAG: &str = "catchment/principal";

/// Runs a step from its first event to its last. Its failure is written before it is answered.
pub(crate) async fn run(
    asset: AssetDefinition,
    scope: Arc<RunScope>,
    context: AssetContext,
) -> Result<SharedValue, Problem> {
    let step = Step { asset, scope, context, began: clock::monotonic() };
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
    asset: AssetDefinition,
    scope: Arc<RunScope>,
    context: AssetContext,
    began: Instant,
}

impl Step {
    async fn make(&self) -> Result<SharedValue, Problem> {
        let output = panics::caught((self.asset.body)(self.context.clone())).await?;
        match output {
            StepOutput::Value(value) => {
                let (metadata, checks) = self.context.take_reported();
                self.check(checks).await?;
                self.finish(metadata).await?;
                Ok(value)
            }
            StepOutput::Staged(staged) => {
                let mut checks: Vec<_> = self.asset.checks.iter().map(|check| check(&staged)).collect();
                let (metadata, reported) = self.context.take_reported();
                checks.extend(reported);
                self.check(checks).await?;
                let committed = self.commit(*staged).await?;
                let mut all = describe(&committed);
                all.extend(metadata);
                failpoint::hit("run.before_event");
                self.finish(all).await?;
                failpoint::hit("run.after_event");
                Ok(Arc::new(committed))
            }
        }
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
            .place(format!("asset {}", self.asset.key))
            .cause(found.join("; "))
            .remedy("mend the data and ingest it again under a new batch_id"))
    }

    async fn commit(&self, staged: Staged) -> Result<Committed, Problem> {
        let dataset_id = self.scope.partition_key.clone().ok_or_else(|| {
            Problem::new(
                Code::InvalidInput,
                "a staged file needs a dataset to be committed to, and this run has no partition",
            )
            .place(format!("asset {}", self.asset.key))
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
                output: self.asset.key.clone(),
                principal: self.scope.tags.get(PRINCIPAL_TAG).cloned(),
            })
            .await
    }

    /// The materialisation and the step's end, in one transaction.
    async fn finish(&self, mut metadata: Map<String, Value>) -> Result<(), Problem> {
        let key = &self.asset.key;
        metadata.insert("seconds".into(), json!(self.began.elapsed().as_secs_f64()));
        let materialization = json!({"asset_key": key, "partition": self.scope.partition_key, "metadata": metadata});
        let ms = self.duration_ms();
        let info = |kind, message, data| self.event(kind, Level::Info, message, data);
        self.write(vec![
            info(EventKind::StepOutput, format!("gave a {}", self.asset.seen_as.1), Value::Null),
            info(EventKind::AssetMaterialization, format!("materialised `{key}`"), materialization),
            info(EventKind::StepSuccess, format!("done in {ms} ms"), json!({"duration_ms": ms})),
        ])
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
            "asset_key": self.asset.key,
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
        self.scope.journal.event(kind, Some(&self.asset.key), level, message, data)
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
    let numbers: Vec<_> = check.metadata.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    format!("{}: {} ({})", check.name, check.description, numbers.join(", "))
}

/// The metadata of a version's materialisation.
fn describe(committed: &Committed) -> Map<String, Value> {
    let asset = &committed.asset;
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
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
    metadata.retain(|_, value| !value.is_null());
    metadata
}
