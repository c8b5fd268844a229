//! A run that runs another again. Pure.

use std::collections::BTreeMap;

use catchment_model::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::definitions::JobSpec;
use crate::event::Event;
use crate::reexecution::{from_asset_failure, from_failure, split_key};
use crate::run::{NewRun, Run, RunId, RunStatus, Selection};
use crate::tags;

/// What of a run is run again. The names are Dagster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Strategy {
    /// All that it was to run.
    AllSteps,
    /// The steps that did not end well, and everything downstream of them; the values of the others are taken over.
    FromFailure,
    /// The assets and checks that were not made.
    FromAssetFailure,
    /// These steps; the values of the others are taken over.
    Steps(Vec<String>),
}

/// Tags that say what became of a run, so are not its successor's.
const OF_ONE_RUN: &[&str] =
    &[tags::WILL_RETRY, tags::AUTO_RETRY_RUN_ID, tags::FAILURE_REASON, tags::RESUME_RETRY, tags::ASSET_RESUME_RETRY];

/// The run that runs `parent` again: same job, config, partition and tags, with the reserved tags that say whose
/// successor it is. `events` are those of the parent, in order; they are asked only where the strategy needs them.
///
/// # Errors
/// `conflict` where the parent has to have failed or been cancelled and has not; `invalid_input` where there is
/// nothing to run again, or a step that the job does not have.
pub fn rerun(
    parent: &Run,
    job: &JobSpec,
    events: &[Event],
    strategy: Strategy,
    run_id: RunId,
) -> Result<NewRun, Problem> {
    let place = format!("run {}", parent.run_id);
    if matches!(strategy, Strategy::FromFailure | Strategy::FromAssetFailure)
        && !matches!(parent.status, RunStatus::Failure | RunStatus::Canceled)
    {
        return Err(Problem::new(
            Code::Conflict,
            "only a run that failed or was cancelled is run again from its failure",
        )
        .place(place)
        .cause(format!("it is {}", parent.status))
        .remedy("wait for its end, or run all of its steps again"));
    }
    let mut run_tags: BTreeMap<_, _> =
        parent.tags.iter().filter(|(key, _)| !OF_ONE_RUN.contains(&key.as_str())).map(own).collect();
    let past = events.iter().map(|event| &event.event);
    let selection = match strategy {
        Strategy::AllSteps => parent.selection.clone(),
        Strategy::FromFailure => {
            run_tags.insert(tags::RESUME_RETRY.to_owned(), "true".to_owned());
            Selection { steps: from_failure(job, &parent.selection, past)?, ..Selection::default() }
        }
        Strategy::FromAssetFailure => {
            run_tags.insert(tags::ASSET_RESUME_RETRY.to_owned(), "true".to_owned());
            from_asset_failure(past)?
        }
        Strategy::Steps(steps) => {
            let unknown = steps.iter().find(|key| !job.steps.iter().any(|step| step.key == split_key(key).0));
            if let Some(unknown) = unknown {
                return Err(Problem::new(
                    Code::InvalidInput,
                    format!("the job `{}` has no step `{unknown}`", job.name),
                )
                .place(place)
                .remedy("name steps of the job; `catchment job list` shows them"));
            }
            if steps.is_empty() {
                return Err(Problem::new(Code::InvalidInput, "no step was named")
                    .place(place)
                    .remedy("name one at least"));
            }
            Selection { steps, ..Selection::default() }
        }
    };
    let root = parent.root_run_id.unwrap_or(parent.run_id);
    run_tags.insert(tags::PARENT_RUN_ID.to_owned(), parent.run_id.to_string());
    run_tags.insert(tags::ROOT_RUN_ID.to_owned(), root.to_string());
    Ok(NewRun {
        run_id,
        job_name: parent.job_name.clone(),
        location: parent.location.clone(),
        run_config: parent.run_config.clone(),
        tags: run_tags,
        partition_key: parent.partition_key.clone(),
        selection,
        parent_run_id: Some(parent.run_id),
        root_run_id: Some(root),
    })
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// When a failed run is run again, where its tags do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRules {
    /// How often a run is run again, its successors together.
    pub max_retries: u32,
    /// Whether one whose step failed is run again, or only one that was lost.
    pub on_step_failure: bool,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self { max_retries: 0, on_step_failure: true }
    }
}

/// Whether and how a failed run is run again by itself: `Some` where it is. `successors` are the runs that have the
/// same root, by hand or by itself; all of them count.
pub fn automatic_retry(run: &Run, rules: RetryRules, step_failed: bool, successors: u64) -> Option<Strategy> {
    let text = |key: &str| run.tags.get(key).map(|value| value.trim());
    let most = text(tags::MAX_RETRIES).and_then(|value| value.parse().ok()).unwrap_or(rules.max_retries);
    let on_step_failure = match text(tags::RETRY_ON_STEP_FAILURE) {
        Some(value) => value.eq_ignore_ascii_case("true"),
        None => rules.on_step_failure,
    };
    if run.status != RunStatus::Failure || successors >= u64::from(most) || (step_failed && !on_step_failure) {
        return None;
    }
    Some(match text(tags::RETRY_STRATEGY) {
        Some("ALL_STEPS") => Strategy::AllSteps,
        Some("FROM_ASSET_FAILURE") => Strategy::FromAssetFailure,
        _ => Strategy::FromFailure,
    })
}
