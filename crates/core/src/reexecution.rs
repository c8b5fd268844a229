//! What a re-execution runs again. Pure.
//!
//! Both questions are answered from what a run was to do (its job's steps and its selection) and what it did (its
//! events). Nothing here knows where the values of the other steps come from: the run's process loads them from the
//! run that made them.

use std::collections::{BTreeMap, BTreeSet};

use catchment_model::{Code, Problem};
use serde_json::Value;

use crate::definitions::{JobSpec, StepSpec};
use crate::event::{EventKind, NewEvent};
use crate::run::Selection;

/// The key of a step that runs once for each output of a dynamic one: `step[mapping_key]`.
pub fn mapped_key(step: &str, mapping_key: &str) -> String {
    format!("{step}[{mapping_key}]")
}

/// A step's key without its mapping key, and the mapping key.
pub fn split_key(key: &str) -> (&str, Option<&str>) {
    match key.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((step, mapping_key)) => (step, Some(mapping_key)),
        None => (key, None),
    }
}

/// The steps of a job that a selection names, in the order of the job. A step that is named with a mapping key counts
/// as a whole; the checks of an asset go with it, unless checks are named. Where steps are named, they alone count:
/// assets and checks beside them only say what these make.
pub fn selected<'a>(job: &'a JobSpec, selection: &Selection) -> Vec<&'a StepSpec> {
    let asset_of = |check: &str| check.rsplit_once(':').map_or(String::new(), |(asset, _)| asset.to_owned());
    let named_check = |check: &String| match selection.checks.is_empty() {
        true => selection.assets.contains(&asset_of(check)),
        false => selection.checks.contains(check),
    };
    let named = |step: &StepSpec| match selection.steps.is_empty() {
        true => {
            selection.is_everything()
                || step.assets.iter().any(|asset| selection.assets.contains(asset))
                || step.checks.iter().any(named_check)
        }
        false => selection.steps.iter().any(|key| split_key(key).0 == step.key),
    };
    job.steps.iter().filter(|step| named(step)).collect()
}

/// The steps that a re-execution from failure runs: those of the run that failed, were skipped, were cut off or never
/// started, and everything of the run that is downstream of them. In the order of the job.
///
/// `events` are those of the run, in order. A step that was fanned out is named with its mapping key, unless what fans
/// it out runs again too.
///
/// # Errors
/// `invalid_input` where every step ended well.
pub fn from_failure<'a>(
    job: &JobSpec,
    selection: &Selection,
    events: impl IntoIterator<Item = &'a NewEvent>,
) -> Result<Vec<String>, Problem> {
    let past = Past::of(events);
    let mut again: Vec<String> = Vec::new();
    let mut seen: BTreeMap<&str, Again> = BTreeMap::new();
    for step in selected(job, selection) {
        let upstream: Vec<_> = step.needs.iter().filter_map(|key| Some((key, seen.get(key.as_str())?))).collect();
        let which = if step.mapped_over.is_some() {
            fanned(step, selection, &past, &upstream)
        } else if upstream.iter().any(|(_, again)| again.any()) || !past.succeeded.contains(step.key.as_str()) {
            Again::Whole
        } else {
            Again::Not
        };
        match &which {
            Again::Not => {}
            Again::Whole => again.push(step.key.clone()),
            Again::Keys(keys) => again.extend(keys.iter().map(|key| mapped_key(&step.key, key))),
        }
        seen.insert(&step.key, which);
    }
    if again.is_empty() {
        return Err(nothing("every step of the run ended well"));
    }
    Ok(again)
}

/// The assets and checks that a re-execution of what was not made asks for: planned assets that were not materialised,
/// planned checks that were not evaluated, and those that stopped the run, with their assets.
///
/// # Errors
/// `invalid_input` where everything that was planned was made.
pub fn from_asset_failure<'a>(events: impl IntoIterator<Item = &'a NewEvent>) -> Result<Selection, Problem> {
    let (mut assets, mut checks) = (Vec::new(), Vec::new());
    for event in events {
        let Some(asset) = event.asset_key() else { continue };
        let asset = asset.to_owned();
        let check = event.data.get("check_name").and_then(Value::as_str).map(|name| format!("{asset}:{name}"));
        match (event.kind, check) {
            (EventKind::AssetMaterializationPlanned | EventKind::AssetFailedToMaterialize, _) => {
                add(&mut assets, asset)
            }
            (EventKind::AssetMaterialization, _) => assets.retain(|planned| *planned != asset),
            (EventKind::AssetCheckEvaluationPlanned, Some(check)) => add(&mut checks, check),
            (EventKind::AssetCheckEvaluation, Some(check)) if stops(&event.data) => {
                add(&mut checks, check);
                add(&mut assets, asset);
            }
            (EventKind::AssetCheckEvaluation, Some(check)) => checks.retain(|planned| *planned != check),
            _ => {}
        }
    }
    if assets.is_empty() && checks.is_empty() {
        return Err(nothing("the run made every asset, and evaluated every check, that it planned"));
    }
    Ok(Selection { assets, checks, steps: Vec::new() })
}

/// Whether the data of an evaluation say that what is downstream must not run.
fn stops(data: &Value) -> bool {
    let is = |field: &str| data.get(field).and_then(Value::as_bool) == Some(true);
    !is("passed") && is("blocking") && data.get("severity").and_then(Value::as_str) != Some("WARN")
}

fn add(list: &mut Vec<String>, entry: String) {
    if !list.contains(&entry) {
        list.push(entry);
    }
}

fn nothing(cause: &str) -> Problem {
    Problem::new(Code::InvalidInput, "there is nothing to run again")
        .cause(cause)
        .remedy("re-execute all of it instead")
}

/// Which of a step runs again.
enum Again {
    Not,
    Whole,
    /// Those of these mapping keys.
    Keys(BTreeSet<String>),
}

impl Again {
    fn any(&self) -> bool {
        !matches!(self, Self::Not)
    }
}

/// What a run did.
struct Past<'a> {
    succeeded: BTreeSet<&'a str>,
    /// The mapping keys that each dynamic step gave.
    mapping_keys: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Past<'a> {
    fn of(events: impl IntoIterator<Item = &'a NewEvent>) -> Self {
        let mut past = Self { succeeded: BTreeSet::new(), mapping_keys: BTreeMap::new() };
        for event in events {
            let Some(step) = event.step_key.as_deref() else { continue };
            match event.kind {
                EventKind::StepSuccess => {
                    past.succeeded.insert(step);
                }
                EventKind::StepOutput => {
                    if let Some(key) = event.data.get("mapping_key").and_then(Value::as_str) {
                        past.mapping_keys.entry(step).or_default().insert(key);
                    }
                }
                // A step that is tried again gives its keys again, and maybe others.
                EventKind::StepUpForRetry | EventKind::StepRestarted => drop(past.mapping_keys.remove(step)),
                _ => {}
            }
        }
        past
    }
}

/// Which mapping keys of a fanned-out step run again.
fn fanned(step: &StepSpec, selection: &Selection, past: &Past<'_>, upstream: &[(&String, &Again)]) -> Again {
    if upstream.iter().any(|(_, again)| matches!(again, Again::Whole)) {
        return Again::Whole;
    }
    let over = step.mapped_over.as_deref().unwrap_or_default();
    let named = selection.steps.iter().map(|key| split_key(key)).filter(|(key, _)| *key == step.key);
    let named: BTreeSet<&str> = named.filter_map(|(_, mapping_key)| mapping_key).collect();
    let planned = match past.mapping_keys.get(over) {
        _ if !named.is_empty() => &named,
        Some(given) => given,
        // Its dynamic step ended without an output: there is nothing to map. Or it is not of this run, and then
        // nothing is known of it.
        None if past.succeeded.contains(over) => return Again::Not,
        None => return Again::Whole,
    };
    let failed = planned.iter().filter(|key| !past.succeeded.contains(mapped_key(&step.key, key).as_str()));
    let mut keys: BTreeSet<String> = failed.map(|key| (*key).to_owned()).collect();
    for (_, again) in upstream {
        if let Again::Keys(more) = again {
            keys.extend(more.iter().cloned());
        }
    }
    if keys.is_empty() { Again::Not } else { Again::Keys(keys) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{from_asset_failure, from_failure, selected, split_key};
    use crate::definitions::{JobSpec, StepSpec};
    use crate::event::{EventKind, Level, NewEvent};
    use crate::run::{RunId, Selection};

    fn step(key: &str, needs: &[&str]) -> StepSpec {
        StepSpec { key: key.into(), needs: needs.iter().map(|key| (*key).to_owned()).collect(), ..StepSpec::default() }
    }

    fn mapped(key: &str, needs: &[&str]) -> StepSpec {
        StepSpec { mapped_over: Some("list".into()), ..step(key, needs) }
    }

    fn job(steps: Vec<StepSpec>) -> JobSpec {
        JobSpec { steps, ..JobSpec::default() }
    }

    fn event(kind: EventKind, step_key: &str, data: Value) -> NewEvent {
        NewEvent {
            run_id: RunId::NONE,
            timestamp: Timestamp::UNIX_EPOCH,
            kind,
            step_key: Some(step_key.to_owned()).filter(|key| !key.is_empty()),
            level: Level::Info,
            message: String::new(),
            data,
        }
    }

    fn ended(step_key: &str) -> NewEvent {
        event(EventKind::StepSuccess, step_key, Value::Null)
    }

    fn everything() -> Selection {
        Selection::default()
    }

    fn steps(keys: &[&str]) -> Selection {
        Selection { steps: keys.iter().map(|key| (*key).to_owned()).collect(), ..Selection::default() }
    }

    fn fan() -> JobSpec {
        let mut list = step("list", &[]);
        list.is_dynamic = true;
        job(vec![list, mapped("load", &["list"]), mapped("store", &["load"]), step("sum", &["store"])])
    }

    fn gave(mapping_key: &str) -> NewEvent {
        event(EventKind::StepOutput, "list", json!({"mapping_key": mapping_key}))
    }

    #[test]
    fn a_run_that_never_began_runs_whole() {
        let job = job(vec![step("a", &[]), step("b", &["a"])]);
        assert_eq!(from_failure(&job, &everything(), &[]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_run_that_ended_well_has_nothing_to_run_again() {
        let job = job(vec![step("a", &[])]);
        assert!(from_failure(&job, &everything(), &[ended("a")]).is_err());
    }

    #[test]
    fn what_the_run_did_not_select_stays_out() {
        let job = job(vec![step("a", &[]), step("b", &["a"]), step("c", &["b"])]);
        assert_eq!(from_failure(&job, &steps(&["b", "c"]), &[ended("b")]).unwrap(), ["c"]);
    }

    #[test]
    fn a_check_goes_with_its_asset_unless_checks_are_named() {
        let check = StepSpec { checks: vec!["a:n".into()], ..step("a_n", &["a"]) };
        let job = job(vec![StepSpec { assets: vec!["a".into()], ..step("a", &[]) }, check]);
        let of = |checks: &[&str]| {
            let checks = checks.iter().map(|check| (*check).to_owned()).collect();
            let selection = Selection { assets: vec!["a".into()], checks, steps: Vec::new() };
            selected(&job, &selection).into_iter().map(|step| step.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), ["a", "a_n"]);
        assert_eq!(of(&["b:n"]), ["a"]);
    }

    #[test]
    fn one_branch_of_a_fan_runs_again_with_what_collects_it() {
        let past = [gave("x"), gave("y"), ended("list"), ended("load[x]"), ended("load[y]"), ended("store[x]")];
        assert_eq!(from_failure(&fan(), &everything(), &past).unwrap(), ["store[y]", "sum"]);
    }

    #[test]
    fn a_branch_that_failed_early_runs_all_that_follows_in_it() {
        let past = [gave("x"), gave("y"), ended("list"), ended("load[x]"), ended("store[x]")];
        let again = from_failure(&fan(), &everything(), &past).unwrap();
        assert_eq!(again, ["load[y]", "store[y]", "sum"]);
        let later = from_failure(&fan(), &steps(&["load[y]", "store[y]", "sum"]), &[ended("load[y]")]).unwrap();
        assert_eq!(later, ["store[y]", "sum"], "a re-execution can be re-executed");
    }

    #[test]
    fn the_keys_of_a_try_that_failed_afterwards_are_forgotten() {
        let again = event(EventKind::StepUpForRetry, "list", Value::Null);
        let past = [gave("x"), gave("old"), again, gave("x"), ended("list"), ended("load[x]"), ended("store[x]")];
        assert_eq!(from_failure(&fan(), &everything(), &past).unwrap(), ["sum"]);
    }

    #[test]
    fn assets_beside_named_steps_add_no_steps() {
        let made = |key: &str| StepSpec { assets: vec![key.into()], ..step(key, &[]) };
        let job = job(vec![made("a"), made("b")]);
        let selection = Selection { assets: vec!["a".into(), "b".into()], ..steps(&["b"]) };
        assert_eq!(selected(&job, &selection).len(), 1);
    }

    #[test]
    fn a_fan_whose_source_failed_runs_whole() {
        assert_eq!(from_failure(&fan(), &everything(), &[]).unwrap(), ["list", "load", "store", "sum"]);
    }

    #[test]
    fn an_empty_fan_runs_only_what_collects_it() {
        assert_eq!(from_failure(&fan(), &everything(), &[ended("list")]).unwrap(), ["sum"]);
    }

    #[test]
    fn assets_that_were_not_made_are_asked_for_with_the_checks_that_stopped_the_run() {
        let about = |kind, data| event(kind, "", data);
        let check = |passed| json!({"asset_key": "b", "check_name": "n", "passed": passed, "blocking": true, "severity": "ERROR"});
        let past = [
            about(EventKind::AssetMaterializationPlanned, json!({"asset_key": "a"})),
            about(EventKind::AssetMaterializationPlanned, json!({"asset_key": "b"})),
            about(EventKind::AssetMaterializationPlanned, json!({"asset_key": "c"})),
            about(EventKind::AssetCheckEvaluationPlanned, json!({"asset_key": "b", "check_name": "n"})),
            about(EventKind::AssetMaterialization, json!({"asset_key": "a"})),
            about(EventKind::AssetMaterialization, json!({"asset_key": "b"})),
            about(EventKind::AssetCheckEvaluation, check(false)),
            about(EventKind::AssetFailedToMaterialize, json!({"asset_key": "c"})),
        ];
        let again = from_asset_failure(&past).unwrap();
        assert_eq!(again.assets, ["c", "b"]);
        assert_eq!(again.checks, ["b:n"]);
        assert!(from_asset_failure(&past[4..6]).is_err());
    }

    #[test]
    fn a_key_is_split_at_its_mapping_key() {
        assert_eq!(split_key("a.b[x]"), ("a.b", Some("x")));
        assert_eq!(split_key("a.b"), ("a.b", None));
    }

    /// Steps `0..n`; each needs some of those before it; and whether each ended well.
    fn pasts() -> impl Strategy<Value = Vec<(Vec<usize>, bool)>> {
        (1usize..12).prop_flat_map(|count| {
            let step = |at: usize| (prop::collection::vec(0..at.max(1), 0..3), any::<bool>());
            (0..count).map(step).collect::<Vec<_>>()
        })
    }

    proptest! {
        #[test]
        fn what_runs_again_is_what_did_not_end_well_or_can_be_reached_from_it(past in pasts()) {
            let key = |at: usize| format!("s{at}");
            let needs = |at: usize| past[at].0.iter().copied().filter(move |up| *up < at);
            let specs = (0..past.len()).map(|at| StepSpec {
                key: key(at), needs: needs(at).map(key).collect(), ..StepSpec::default()
            });
            let events: Vec<_> = (0..past.len()).filter(|at| past[*at].1).map(|at| ended(&key(at))).collect();
            // The model walks from each step up to everything before it.
            let mut expected = Vec::new();
            for at in 0..past.len() {
                let mut todo = vec![at];
                let mut found = false;
                while let Some(here) = todo.pop() {
                    found |= !past[here].1;
                    todo.extend(needs(here));
                }
                if found { expected.push(key(at)); }
            }
            let again = from_failure(&job(specs.collect()), &everything(), &events).unwrap_or_default();
            prop_assert_eq!(again, expected);
        }
    }
}
