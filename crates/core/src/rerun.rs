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
    /// The steps that did not end well, and everything downstream of them; the values of the others are taken over. Of
    /// what these steps make, again only what the run had selected.
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
            Selection { steps: from_failure(job, &parent.selection, past)?, ..parent.selection.clone() }
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
            Selection { steps, ..parent.selection.clone() }
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{RetryRules, Strategy, automatic_retry, rerun};
    use crate::definitions::{JobSpec, StepSpec};
    use crate::event::{Event, EventKind, Level, NewEvent};
    use crate::run::{Run, RunId, RunStatus, Selection};
    use crate::tags;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn run(status: RunStatus, run_tags: &[(&str, &str)]) -> Run {
        Run {
            run_id: RunId::random(),
            job_name: "j".into(),
            location: "l".into(),
            status,
            run_config: json!({"ops": {}}),
            tags: run_tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            partition_key: Some("2026-01-01".into()),
            selection: Selection::default(),
            parent_run_id: None,
            root_run_id: None,
            created_at: Timestamp::UNIX_EPOCH,
            launched_at: None,
            started_at: None,
            ended_at: None,
            lease_epoch: 1,
            lease_until: None,
            process: None,
            problem: None,
        }
    }

    fn failed(run_tags: &[(&str, &str)]) -> Run {
        run(RunStatus::Failure, run_tags)
    }

    /// `pair` makes `left` and `right`, `last` needs it.
    fn job() -> JobSpec {
        let step = |key: &str, assets: &[&str], needs: &[&str]| StepSpec {
            key: key.into(),
            assets: texts(assets),
            needs: texts(needs),
            ..StepSpec::default()
        };
        let steps = vec![step("pair", &["left", "right"], &[]), step("last", &["end"], &["pair"])];
        JobSpec { name: "j".into(), steps, ..JobSpec::default() }
    }

    fn event(kind: EventKind, step: &str, data: Value) -> Event {
        let event = NewEvent {
            run_id: RunId::NONE,
            timestamp: Timestamp::UNIX_EPOCH,
            kind,
            step_key: Some(step.to_owned()),
            level: Level::Info,
            message: String::new(),
            data,
        };
        Event { id: 1, event }
    }

    fn ended_well(step: &str) -> Event {
        event(EventKind::StepSuccess, step, Value::Null)
    }

    #[test]
    fn a_re_execution_is_its_parent_again_with_tags_that_say_whose_successor_it_is() {
        let first = RunId::random();
        let own = [("team", "x"), (tags::WILL_RETRY, "true"), (tags::RESUME_RETRY, "true")];
        let parent = Run { root_run_id: Some(first), ..failed(&own) };
        let again = rerun(&parent, &job(), &[], Strategy::AllSteps, RunId::random()).unwrap();
        assert_eq!((again.parent_run_id, again.root_run_id), (Some(parent.run_id), Some(first)));
        let (parent_tag, root_tag) = (parent.run_id.to_string(), first.to_string());
        let expected = [("team", "x"), (tags::PARENT_RUN_ID, &*parent_tag), (tags::ROOT_RUN_ID, &*root_tag)];
        assert_eq!(again.tags, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!((again.partition_key, again.run_config), (parent.partition_key, parent.run_config));
        let parent = failed(&[]);
        let again = rerun(&parent, &job(), &[], Strategy::AllSteps, RunId::random()).unwrap();
        assert_eq!(again.root_run_id, Some(parent.run_id), "the first of a chain is its root");
    }

    #[test]
    fn steps_that_run_again_make_what_their_run_had_selected() {
        let selection = Selection { assets: texts(&["left", "end"]), ..Selection::default() };
        let parent = Run { selection, ..failed(&[]) };
        let of = |strategy, events: &[Event]| rerun(&parent, &job(), events, strategy, RunId::random()).unwrap();
        let again = of(Strategy::FromFailure, &[]);
        assert_eq!(again.selection.steps, ["pair", "last"]);
        assert_eq!(again.selection.assets, ["left", "end"]);
        assert_eq!(again.tags[tags::RESUME_RETRY], "true");
        let again = of(Strategy::FromFailure, &[ended_well("pair")]);
        assert_eq!((again.selection.steps, again.selection.assets), (texts(&["last"]), texts(&["left", "end"])));
        let again = of(Strategy::Steps(texts(&["pair"])), &[]);
        assert_eq!((again.selection.steps, again.selection.assets), (texts(&["pair"]), texts(&["left", "end"])));
        assert!(!again.tags.contains_key(tags::RESUME_RETRY));
        let planned = event(EventKind::AssetMaterializationPlanned, "pair", json!({"asset_key": "left"}));
        let again = of(Strategy::FromAssetFailure, &[planned]);
        assert_eq!(again.selection, Selection { assets: texts(&["left"]), ..Selection::default() });
        assert_eq!(again.tags[tags::ASSET_RESUME_RETRY], "true");
    }

    #[test]
    fn what_cannot_be_run_again_is_refused() {
        let refused = |run: &Run, strategy, events: &[Event]| {
            rerun(run, &job(), events, strategy, RunId::random()).unwrap_err().code.to_string()
        };
        let running = run(RunStatus::Started, &[]);
        assert_eq!(refused(&running, Strategy::FromFailure, &[]), "conflict");
        assert_eq!(refused(&running, Strategy::FromAssetFailure, &[]), "conflict");
        // Whoever retries by itself runs all of it then.
        let whole = [ended_well("pair"), ended_well("last")];
        assert_eq!(refused(&failed(&[]), Strategy::FromFailure, &whole), "invalid_input");
        assert_eq!(refused(&failed(&[]), Strategy::Steps(Vec::new()), &[]), "invalid_input");
        assert_eq!(refused(&failed(&[]), Strategy::Steps(texts(&["nothing"])), &[]), "invalid_input");
    }

    #[test]
    fn a_failed_run_is_retried_as_often_as_its_tag_or_the_rules_say() {
        let rules = RetryRules { max_retries: 1, on_step_failure: true };
        let retried = |run: &Run, successors| automatic_retry(run, rules, true, successors);
        assert_eq!(retried(&failed(&[]), 0), Some(Strategy::FromFailure));
        assert_eq!(retried(&failed(&[]), 1), None);
        let tagged = failed(&[(tags::MAX_RETRIES, "3")]);
        assert_eq!((retried(&tagged, 2), retried(&tagged, 3)), (Some(Strategy::FromFailure), None));
        assert_eq!(retried(&failed(&[(tags::MAX_RETRIES, "0")]), 0), None);
        assert_eq!(automatic_retry(&failed(&[]), RetryRules::default(), false, 0), None);
        assert_eq!(retried(&run(RunStatus::Canceled, &[]), 0), None);
        assert_eq!(retried(&run(RunStatus::Success, &[]), 0), None);
    }

    #[test]
    fn a_run_whose_step_failed_is_retried_only_where_that_is_wanted() {
        let rules = |on_step_failure| RetryRules { max_retries: 1, on_step_failure };
        assert_eq!(automatic_retry(&failed(&[]), rules(false), true, 0), None);
        assert_eq!(automatic_retry(&failed(&[]), rules(false), false, 0), Some(Strategy::FromFailure));
        let never = failed(&[(tags::RETRY_ON_STEP_FAILURE, "false")]);
        assert_eq!(automatic_retry(&never, rules(true), true, 0), None);
        let always = failed(&[(tags::RETRY_ON_STEP_FAILURE, "True")]);
        assert_eq!(automatic_retry(&always, rules(false), true, 0), Some(Strategy::FromFailure));
    }

    #[test]
    fn the_strategy_is_that_of_the_tag() {
        let rules = RetryRules { max_retries: 1, on_step_failure: true };
        let by = |strategy| automatic_retry(&failed(&[(tags::RETRY_STRATEGY, strategy)]), rules, true, 0);
        assert_eq!(by("ALL_STEPS"), Some(Strategy::AllSteps));
        assert_eq!(by("FROM_ASSET_FAILURE"), Some(Strategy::FromAssetFailure));
        assert_eq!(by("FROM_FAILURE"), Some(Strategy::FromFailure));
    }
}
