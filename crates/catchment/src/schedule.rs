//! Schedules: runs at times.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use catchment_core::cron::CronSchedule;
use catchment_core::definitions::ScheduleSpec;
use catchment_core::sensor::SensorResult;
use catchment_model::{Code, Problem};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::context::ScheduleContext;
use crate::extract::Need;
use crate::output::Returned;
use crate::sensor::Requests;

pub(crate) type EvaluateSchedule =
    Arc<dyn Fn(ScheduleContext) -> BoxFuture<'static, Result<SensorResult, Problem>> + Send + Sync>;

/// A schedule: when it asks for runs of which job. `#[schedule]` writes this for a function that says what to run; one
/// that always asks for the same needs none:
///
/// ```
/// use catchment::{Definitions, ScheduleDefinition};
///
/// let nightly = ScheduleDefinition::new("nightly", ["0 3 * * *"], "refresh").timezone("Europe/Zurich");
/// let definitions = Definitions::new("hello").schedule(nightly);
/// ```
#[derive(Clone)]
pub struct ScheduleDefinition {
    pub(crate) name: String,
    pub(crate) description: String,
    expressions: Vec<String>,
    timezone: String,
    pub(crate) job: String,
    running_by_default: bool,
    /// Whether its times and its partitions are those of its job.
    pub(crate) of_partitioned_job: bool,
    tags: BTreeMap<String, String>,
    run_config: Value,
    pub(crate) needs: Vec<Need>,
    pub(crate) evaluate: Option<EvaluateSchedule>,
}

/// A schedule that asks, as soon as a partition of a job is complete, for its run. Its times are those at which the
/// windows of the job's partitions end.
pub fn schedule_from_partitioned_job(job: &str) -> ScheduleDefinition {
    let none: [&str; 0] = [];
    ScheduleDefinition { of_partitioned_job: true, ..ScheduleDefinition::new(&format!("{job}_schedule"), none, job) }
}

impl ScheduleDefinition {
    /// A schedule that ticks whenever one of the cron expressions does (five fields, or `@daily` and its like), in UTC.
    pub fn new<const N: usize>(name: &str, cron: [&str; N], job: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            expressions: cron.map(str::to_owned).to_vec(),
            timezone: "UTC".to_owned(),
            job: job.to_owned(),
            running_by_default: false,
            of_partitioned_job: false,
            tags: BTreeMap::new(),
            run_config: json!({}),
            needs: Vec::new(),
            evaluate: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is called, where that is not as its function or job is.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The time zone of its cron expressions: its IANA name.
    pub fn timezone(mut self, timezone: &str) -> Self {
        timezone.clone_into(&mut self.timezone);
        self
    }

    /// Whether it runs unless someone has stopped it (default: not).
    pub fn running_by_default(mut self, running: bool) -> Self {
        self.running_by_default = running;
        self
    }

    /// What it is for.
    pub fn description(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }

    /// A tag of each run.
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Run config of each run, where no function says what to run.
    pub fn config(mut self, run_config: Value) -> Self {
        self.run_config = run_config;
        self
    }

    /// What an argument of its function needs.
    pub fn needs(mut self, needs: Vec<Need>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// The function that says what to run at a time.
    pub fn body<R, F, Fut>(mut self, body: F) -> Self
    where
        R: Requests + 'static,
        F: Fn(ScheduleContext) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        let job = self.job.clone();
        self.evaluate = Some(Arc::new(move |context| {
            let job = job.clone();
            body(context).map(move |asked| asked.map(|asked| with_job(asked.into_result(), &job))).boxed()
        }));
        self
    }

    /// Begins a schedule whose function returns `R`.
    pub fn of<R: Returned<Value: Requests>, const N: usize>(name: &str, cron: [&str; N], job: &str) -> Self {
        Self::new(name, cron, job)
    }

    /// Evaluates it for one of its times, also in a test.
    ///
    /// # Errors
    /// What its function answers; `invalid_input` for a schedule without one.
    pub async fn evaluate(&self, context: ScheduleContext) -> Result<SensorResult, Problem> {
        match &self.evaluate {
            Some(evaluate) => evaluate(context).await,
            None => Err(Problem::new(Code::InvalidInput, format!("`{}` always asks for the same", self.name))
                .cause("it has no function that says what to run")),
        }
    }

    /// As the control plane sees it; `cron` is that of its job's partitions, where its times are theirs.
    pub(crate) fn spec(&self, cron: Option<CronSchedule>, partitioned: bool) -> Result<ScheduleSpec, Problem> {
        let cron = match cron {
            Some(cron) => cron,
            None => CronSchedule::parse(&self.expressions, &self.timezone)?,
        };
        Ok(ScheduleSpec {
            name: self.name.clone(),
            description: self.description.clone(),
            cron,
            job: self.job.clone(),
            running_by_default: self.running_by_default,
            partitioned,
            has_body: self.evaluate.is_some(),
            tags: self.tags.clone(),
            run_config: self.run_config.clone(),
        })
    }
}

/// Requests that name neither job nor assets are for the schedule's (or sensor's) job.
pub(crate) fn with_job(mut result: SensorResult, job: &str) -> SensorResult {
    for request in &mut result.run_requests {
        if request.job_name.is_empty() && request.selection.is_everything() {
            job.clone_into(&mut request.job_name);
        }
    }
    result
}
