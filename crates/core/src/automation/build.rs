//! Conditions put together: Dagster's ready-made ones, operators, and changes of a condition.

use std::collections::BTreeSet;
use std::time::Duration;

use catchment_model::Problem;

use crate::cron::CronSchedule;

use super::{AutomationCondition, DepSelection};

impl AutomationCondition {
    /// Materialise when a dependency was updated, or when it became missing after the condition was set: not while
    /// it or a dependency is in progress or a dependency is missing, and only the newest time window.
    pub fn eager() -> Self {
        Self::in_latest_time_window(None)
            .and(Self::newly_missing().or(Self::any_deps_updated()).since_last_handled())
            .and(Self::any_deps_missing().not())
            .and(Self::any_deps_in_progress().not())
            .and(Self::InProgress.not())
            .labeled("eager")
    }

    /// Materialise at each tick of a schedule, once all dependencies were updated after it; only the newest time
    /// window.
    ///
    /// # Errors
    /// `invalid_config` for a wrong expression or time zone.
    pub fn on_cron(cron: &str, timezone: &str) -> Result<Self, Problem> {
        Ok(Self::in_latest_time_window(None)
            .and(Self::cron_tick_passed(cron, timezone)?.since_last_handled())
            .and(Self::all_deps_updated_since_cron(cron, timezone)?)
            .labeled(format!("on_cron({cron}, {timezone})")))
    }

    /// Materialise what became missing after the condition was set, once no dependency is missing; only the newest
    /// time window.
    pub fn on_missing() -> Self {
        Self::in_latest_time_window(None)
            .and(Self::Missing.newly_true().since_last_handled().labeled("missing_since_last_handled"))
            .and(Self::any_deps_missing().not())
            .labeled("on_missing")
    }

    /// One of the conditions of what depends on it is true of it.
    pub fn any_downstream() -> Self {
        Self::AnyDownstreamConditions
    }

    /// It became missing.
    pub fn newly_missing() -> Self {
        Self::Missing.newly_true().labeled("newly_missing")
    }

    /// The schedule ticked since the last tick of the automation.
    ///
    /// # Errors
    /// `invalid_config` for a wrong expression or time zone.
    pub fn cron_tick_passed(cron: &str, timezone: &str) -> Result<Self, Problem> {
        Ok(Self::CronTickPassed { schedule: CronSchedule::parse(&[cron], timezone)? })
    }

    /// It is the newest time window, or overlaps `lookback` before the end of the newest.
    pub fn in_latest_time_window(lookback: Option<Duration>) -> Self {
        Self::InLatestTimeWindow { lookback_s: lookback.map(|lookback| lookback.as_secs()) }
    }

    /// Some partition of some dependency meets the condition.
    pub fn any_deps_match(condition: Self) -> Self {
        Self::AnyDepsMatch { condition: Box::new(condition), deps: DepSelection::default() }
    }

    /// Of every dependency, some partition meets the condition.
    pub fn all_deps_match(condition: Self) -> Self {
        Self::AllDepsMatch { condition: Box::new(condition), deps: DepSelection::default() }
    }

    /// One of the asset's checks meets the condition.
    pub fn any_checks_match(condition: Self, blocking_only: bool) -> Self {
        Self::AnyChecksMatch { condition: Box::new(condition), blocking_only }
    }

    /// All of the asset's checks meet the condition.
    pub fn all_checks_match(condition: Self, blocking_only: bool) -> Self {
        Self::AllChecksMatch { condition: Box::new(condition), blocking_only }
    }

    /// All blocking checks of all dependencies passed, or will be asked for in this tick.
    pub fn all_deps_blocking_checks_passed() -> Self {
        let passed = Self::all_checks_match(Self::CheckPassed.or(Self::WillBeRequested), true);
        Self::all_deps_match(passed.labeled("all_blocking_checks_passed")).labeled("all_deps_blocking_checks_passed")
    }

    /// A dependency was updated since the last tick, not by a run that also had this asset as its target, or will
    /// be asked for in this tick.
    pub fn any_deps_updated() -> Self {
        let updated = Self::NewlyUpdated.and(Self::ExecutedWithRootTarget.not()).labeled("newly_updated_without_root");
        Self::any_deps_match(updated.or(Self::WillBeRequested)).labeled("any_deps_updated")
    }

    /// A dependency is missing and will not be asked for in this tick.
    pub fn any_deps_missing() -> Self {
        Self::any_deps_match(Self::Missing.and(Self::WillBeRequested.not())).labeled("any_deps_missing")
    }

    /// A dependency is in progress.
    pub fn any_deps_in_progress() -> Self {
        Self::any_deps_match(Self::InProgress).labeled("any_deps_in_progress")
    }

    /// All dependencies were updated after the schedule's last tick, or will be asked for in this tick.
    ///
    /// # Errors
    /// `invalid_config` for a wrong expression or time zone.
    pub fn all_deps_updated_since_cron(cron: &str, timezone: &str) -> Result<Self, Problem> {
        let updated = Self::NewlyUpdated.since(Self::cron_tick_passed(cron, timezone)?);
        Ok(Self::all_deps_match(updated.or(Self::WillBeRequested))
            .labeled(format!("all_deps_updated_since_cron({cron}, {timezone})")))
    }

    /// Both are true. Operands of a nested `And` without a label become operands of this one.
    pub fn and(self, other: Self) -> Self {
        let flat = |condition| match condition {
            Self::And { operands } => operands,
            other => vec![other],
        };
        Self::And { operands: [flat(self), flat(other)].concat() }
    }

    /// One of both is true. Operands of a nested `Or` without a label become operands of this one.
    pub fn or(self, other: Self) -> Self {
        let flat = |condition| match condition {
            Self::Or { operands } => operands,
            other => vec![other],
        };
        Self::Or { operands: [flat(self), flat(other)].concat() }
    }

    /// It is not true.
    #[expect(clippy::should_implement_trait, reason = "it reads as the other operators do, which have no trait")]
    pub fn not(self) -> Self {
        Self::Not { operand: Box::new(self) }
    }

    /// It has been true after `reset` was.
    pub fn since(self, reset: Self) -> Self {
        Self::Since { trigger: Box::new(self), reset: Box::new(reset) }
    }

    /// It has been true after the asset was last asked for or updated, and after the condition was set.
    pub fn since_last_handled(self) -> Self {
        self.since(Self::NewlyRequested.or(Self::NewlyUpdated).or(Self::InitialEvaluation).labeled("handled"))
    }

    /// It is true and was not in the last tick.
    pub fn newly_true(self) -> Self {
        Self::NewlyTrue { operand: Box::new(self) }
    }

    /// With a name for people.
    pub fn labeled(self, label: impl Into<String>) -> Self {
        Self::Labeled { label: label.into(), condition: Box::new(self) }
    }

    /// With another condition in place of every part that is `old`.
    pub fn replace(self, old: &Self, new: &Self) -> Self {
        if self == *old {
            return new.clone();
        }
        self.map_parts(&|part| part.replace(old, new))
    }

    /// Without every operand of an `And` or `Or` that is `old`: `eager()` without `any_deps_missing().not()` runs
    /// though something is missing.
    pub fn without(self, old: &Self) -> Self {
        let keep = |operands: Vec<Self>| operands.into_iter().filter(|operand| operand != old).collect();
        let condition = match self {
            Self::And { operands } => Self::And { operands: keep(operands) },
            Self::Or { operands } => Self::Or { operands: keep(operands) },
            other => other,
        };
        condition.map_parts(&|part| part.without(old))
    }

    /// With only these dependencies looked at, in every part that looks at dependencies.
    pub fn allow(self, assets: &BTreeSet<String>) -> Self {
        self.with_deps(&|deps| deps.allow.get_or_insert_default().extend(assets.iter().cloned()))
    }

    /// With these dependencies left out, in every part that looks at dependencies.
    pub fn ignore(self, assets: &BTreeSet<String>) -> Self {
        self.with_deps(&|deps| deps.ignore.extend(assets.iter().cloned()))
    }

    fn with_deps(self, change: &dyn Fn(&mut DepSelection)) -> Self {
        match self {
            Self::AnyDepsMatch { condition, mut deps } => {
                change(&mut deps);
                Self::AnyDepsMatch { condition, deps }
            }
            Self::AllDepsMatch { condition, mut deps } => {
                change(&mut deps);
                Self::AllDepsMatch { condition, deps }
            }
            other => other.map_parts(&|part| part.with_deps(change)),
        }
    }

    fn map_parts(self, change: &dyn Fn(Self) -> Self) -> Self {
        let one = |part: Box<Self>| Box::new(change(*part));
        let all = |parts: Vec<Self>| parts.into_iter().map(change).collect();
        match self {
            Self::And { operands } => Self::And { operands: all(operands) },
            Self::Or { operands } => Self::Or { operands: all(operands) },
            Self::Not { operand } => Self::Not { operand: one(operand) },
            Self::NewlyTrue { operand } => Self::NewlyTrue { operand: one(operand) },
            Self::Since { trigger, reset } => Self::Since { trigger: one(trigger), reset: one(reset) },
            Self::AnyDepsMatch { condition, deps } => Self::AnyDepsMatch { condition: one(condition), deps },
            Self::AllDepsMatch { condition, deps } => Self::AllDepsMatch { condition: one(condition), deps },
            Self::AnyChecksMatch { condition, blocking_only } => {
                Self::AnyChecksMatch { condition: one(condition), blocking_only }
            }
            Self::AllChecksMatch { condition, blocking_only } => {
                Self::AllChecksMatch { condition: one(condition), blocking_only }
            }
            Self::Labeled { label, condition } => Self::Labeled { label, condition: one(condition) },
            leaf => leaf,
        }
    }
}
