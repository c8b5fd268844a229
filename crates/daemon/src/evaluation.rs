//! What a tick of a sensor and one of a schedule have in common: user code is asked within a time limit, what it
//! logged is kept, its answer is admitted in one transaction, and a failure is told to those who asked to be.

use std::future::Future;

use catchment_core::definitions::{ASSET_JOB, LocationSnapshot};
use catchment_core::partitions::{MultiKey, PartitionsDefinition};
use catchment_core::sensor::{ClaimOutcome, RunRequest, SensorResult};
use catchment_core::{Instigator, RunId, tags};
use catchment_instance::{Admitted, InstanceError};
use catchment_model::{Code, Problem};
use jiff::Timestamp;

use crate::alerts;
use crate::context::Context;
use crate::locations::{Evaluated, LocationError};

/// Why an evaluation gave no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The location could not be asked: it is asked again.
    Away(Problem),
    /// It took too long.
    Late(Problem),
    /// User code failed, or its answer cannot be used.
    Refused(Problem),
    /// The state failed: the tick stays open, and the next one ends it.
    State(Problem),
}

impl From<LocationError> for Failed {
    fn from(error: LocationError) -> Self {
        match error {
            LocationError::Away(problem) => Self::Away(problem),
            LocationError::Refused(problem) => Self::Refused(problem),
        }
    }
}

impl From<InstanceError> for Failed {
    /// What the state will never take is user code's fault: the same answer would be refused again and again.
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Invalid(_) => Self::Refused(error.into()),
            error => Self::State(error.into()),
        }
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Away(problem) | Failed::Late(problem) | Failed::Refused(problem) | Failed::State(problem) => {
                problem
            }
        }
    }
}

/// The ticks of one sensor or schedule.
#[derive(Clone)]
pub(crate) struct Ticks {
    pub(crate) context: Context,
    pub(crate) instigator: Instigator,
}

impl Ticks {
    /// Begins a tick; answers its id.
    pub(crate) async fn begin(&self, scheduled_for: Option<Timestamp>) -> Result<i64, Problem> {
        Ok(self.context.instance.begin_tick(&self.instigator, scheduled_for, self.context.now()).await?.id)
    }

    /// Waits for user code, within the time that it may take, and keeps what it logged.
    pub(crate) async fn ask(
        &self,
        tick: i64,
        answer: impl Future<Output = Result<Evaluated, LocationError>> + Send,
    ) -> Result<SensorResult, Failed> {
        let limit = self.context.evaluation_timeout();
        let Ok(answer) = tokio::time::timeout(limit, answer).await else {
            let what = format!("the evaluation of {} took longer than {} s", self.instigator, limit.as_secs());
            return Err(Failed::Late(Problem::new(Code::LimitExceeded, what).remedy(
                "leave long work to the run that the evaluation asks for, or raise `sensors.timeout_seconds` in \
                 catchment.yaml",
            )));
        };
        let Evaluated { outcome, log } = answer?;
        if !log.is_empty() {
            self.context.instance.log_tick(tick, &log).await?;
        }
        outcome.map_err(Failed::Refused)
    }

    /// Writes an answer in one transaction, and wakes the queue.
    pub(crate) async fn admit(&self, tick: i64, result: SensorResult, origins: &[RunId]) -> Result<Admitted, Failed> {
        let admitted = self.context.instance.admit(tick, result, origins, self.context.now()).await?;
        catchment_settings::failpoint::hit("daemon.admitted");
        let Admitted { tick, .. } = &admitted;
        if !tick.run_ids.is_empty() {
            self.context.hints.runs();
            tracing::info!(instigator = %self.instigator, tick = tick.id, runs = tick.run_ids.len(), "runs were asked for");
        }
        for claim in &tick.rejected {
            if let ClaimOutcome::Rejected { problem } = &claim.outcome {
                tracing::warn!(instigator = %self.instigator, key = claim.claim.key, %problem, "an object was refused");
            }
        }
        Ok(admitted)
    }

    /// Ends a tick as failed. The alert comes first: what is cut off in between leaves an open tick, which the next
    /// one ends, and an alert that is known is not raised twice.
    pub(crate) async fn fail(&self, tick: i64, problem: Problem, cursor: Option<&str>) -> Result<(), Problem> {
        tracing::warn!(instigator = %self.instigator, tick, %problem, "the tick failed");
        let now = self.context.now();
        alerts::tick_failed(&self.context, &self.instigator, tick, &problem, now).await?;
        Ok(self.context.instance.fail_tick(tick, problem, cursor, now).await?)
    }
}

/// Fills in what a request leaves to its definitions: the hidden job of assets, the tags of the job, and those of a
/// partition's dimensions.
pub(crate) fn complete(request: &mut RunRequest, snapshot: &LocationSnapshot, jobs: &[String]) {
    if request.job_name.is_empty() {
        request.job_name = match jobs.first() {
            Some(first) if request.selection.is_everything() => first.clone(),
            _ => ASSET_JOB.to_owned(),
        };
    }
    let job = snapshot.job(&request.job_name);
    for (name, value) in job.iter().flat_map(|job| &job.tags) {
        request.tags.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let of_asset = || snapshot.asset(request.selection.assets.first()?)?.partitions.as_deref();
    let partitions = job.and_then(|job| job.partitions.as_deref()).or_else(of_asset);
    if let Some(PartitionsDefinition::Multi { dimensions }) = partitions.and_then(|name| snapshot.partitions(name))
        && let Some(MultiKey(parts)) = request.partition_key.as_deref().and_then(|key| MultiKey::parse(key, dimensions))
    {
        for (dimension, part) in parts {
            request.tags.insert(format!("{}{dimension}", tags::PARTITION_DIMENSION_PREFIX), part);
        }
    }
}
