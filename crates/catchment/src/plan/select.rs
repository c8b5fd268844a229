//! Which steps of a job a run has. Pure.

use std::collections::BTreeSet;

use catchment_core::definitions::CheckSpec;
use catchment_core::reexecution::split_key;
use catchment_core::run::Selection;
use catchment_model::{Code, Problem};

use crate::definitions::Definitions;
use crate::job::{JobDefinition, JobOf};
use crate::lower::StepDefinition;

/// A step that a run has.
pub(crate) struct Chosen {
    pub(crate) definition: StepDefinition,
    /// The assets that the run wants of it.
    pub(crate) assets: Vec<String>,
    /// The checks that the run wants of it.
    pub(crate) checks: Vec<CheckSpec>,
    pub(crate) which: Which,
}

/// What of a step a run has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// All of it.
    Whole,
    /// The instances of these mapping keys.
    Keys(BTreeSet<String>),
    /// Nothing: only its values, from an earlier run.
    Given,
}

/// The steps of a run, in the order of their definition.
pub(crate) fn choose(
    definitions: &Definitions,
    job: &JobDefinition,
    selection: &Selection,
) -> Result<Vec<Chosen>, Problem> {
    let steps = definitions.steps_of(job);
    names_are_known(job, &steps, selection)?;
    let of_job = match &job.of {
        JobOf::Assets(assets) => Some(definitions.select(assets)),
        JobOf::Graph(_) => None,
    };
    let wanted = Wanted { selection, of_job };
    Ok(steps.into_iter().filter_map(|step| wanted.choose(step)).collect())
}

struct Wanted<'a> {
    selection: &'a Selection,
    /// The assets of the job; `None` for a job of ops.
    of_job: Option<BTreeSet<String>>,
}

impl Wanted<'_> {
    fn choose(&self, step: StepDefinition) -> Option<Chosen> {
        let all = || step.assets.iter().map(|asset| asset.key.clone());
        let of_job = |key: &String| self.of_job.as_ref().is_none_or(|assets| assets.contains(key));
        let is_named = |key: &String| self.selection.assets.contains(key);
        let names_any = all().any(|key| is_named(&key)) || step.checks.iter().any(|check| self.wants_check(check));
        // A step that is named as such makes what is named of it, and everything where nothing is.
        let by_name = if self.selection.steps.is_empty() { !self.selection.is_everything() } else { names_any };
        let assets: Vec<String> = all().filter(|key| of_job(key) && (!by_name || is_named(key))).collect();
        let checks: Vec<_> = step.checks.iter().filter(|check| !by_name || self.wants_check(check)).cloned().collect();
        let which = self.which(&step, !assets.is_empty() || !checks.is_empty())?;
        // A function that cannot leave some of its assets out makes all of them, and the run says so.
        let assets = if step.can_subset || step.assets.is_empty() { assets } else { all().collect() };
        Some(Chosen { assets, checks, which, definition: step })
    }

    fn which(&self, step: &StepDefinition, is_wanted: bool) -> Option<Which> {
        if self.selection.is_everything() {
            return Some(Which::Whole);
        }
        if self.selection.steps.is_empty() {
            return is_wanted.then_some(Which::Whole);
        }
        let named: Vec<_> = self.selection.steps.iter().map(|key| split_key(key)).collect();
        let mut mine = named.iter().filter(|(key, _)| *key == step.key).map(|(_, mapping_key)| *mapping_key).peekable();
        match mine.peek() {
            // The values of other ops come from an earlier run; those of other assets from their IO managers.
            None => self.of_job.is_none().then_some(Which::Given),
            Some(_) => Some(match mine.collect::<Option<BTreeSet<_>>>() {
                Some(keys) => Which::Keys(keys.into_iter().map(str::to_owned).collect()),
                None => Which::Whole,
            }),
        }
    }

    /// A check is wanted where it is named, and with its asset where none is named.
    fn wants_check(&self, check: &CheckSpec) -> bool {
        let Selection { assets, checks, .. } = self.selection;
        checks.contains(&check.key()) || (checks.is_empty() && assets.contains(&check.asset_key))
    }
}

fn names_are_known(job: &JobDefinition, steps: &[StepDefinition], selection: &Selection) -> Result<(), Problem> {
    let assets = || steps.iter().flat_map(|step| step.assets.iter().map(|asset| asset.key.clone()));
    let checks = || steps.iter().flat_map(|step| step.checks.iter().map(CheckSpec::key));
    let keys = || steps.iter().map(|step| step.key.clone());
    let find = |what: &str, wanted: &[String], there: &dyn Fn() -> Vec<String>| {
        if wanted.is_empty() {
            return Ok(());
        }
        let there = there();
        let known: BTreeSet<&str> = there.iter().map(String::as_str).collect();
        match wanted.iter().find(|name| !known.contains(split_key(name).0) && !known.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Problem::new(Code::NotFound, format!("the job `{}` has no {what} `{name}`", job.name()))
                .cause(format!("it has: {}", some_of(&there)))
                .remedy(format!("name one of these, or define the {what}"))),
        }
    };
    find("asset", &selection.assets, &|| assets().collect())?;
    find("check", &selection.checks, &|| checks().collect())?;
    find("step", &selection.steps, &|| keys().collect())
}

fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 20;
    match names.len() {
        0 => "none".to_owned(),
        count if count <= SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}
