//! Conditions as expressions.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use catchment_model::Problem;
use serde::{Deserialize, Serialize};

use crate::cron::CronSchedule;

/// A condition of an asset, true for some of its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AutomationCondition {
    /// It was never materialised.
    Missing,
    /// A run or backfill that is to materialise it is not over.
    InProgress,
    /// The last run that was to materialise it failed.
    ExecutionFailed,
    /// It was materialised (or observed) since the last tick.
    NewlyUpdated,
    /// It was asked for by the last tick.
    NewlyRequested,
    /// Its code version is another than in the last tick.
    CodeVersionChanged,
    /// Its data version is another than in the last tick.
    DataVersionChanged,
    /// This condition is evaluated for the first time, or in place of another.
    InitialEvaluation,
    /// This tick asks for it, and the asset that the whole condition belongs to can go into the same run.
    WillBeRequested,
    /// The last run that updated it also had the asset that the whole condition belongs to as its target.
    ExecutedWithRootTarget,
    /// Of a check: it passed for the last materialisation.
    CheckPassed,
    /// Of a check: it failed for the last materialisation.
    CheckFailed,
    /// The schedule ticked since the last tick of the automation.
    CronTickPassed {
        /// The schedule.
        schedule: CronSchedule,
    },
    /// It is the newest time window. Always true of what has no time windows.
    InLatestTimeWindow {
        /// Or it is one of those that overlap this time before the end of the newest, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lookback_s: Option<u64>,
    },
    /// Some partition of some dependency that it needs meets the condition.
    AnyDepsMatch {
        /// The condition, of the dependency.
        condition: Box<AutomationCondition>,
        /// Which dependencies count.
        #[serde(default, flatten)]
        deps: DepSelection,
    },
    /// Of every dependency, some partition that it needs meets the condition.
    AllDepsMatch {
        /// The condition, of the dependency.
        condition: Box<AutomationCondition>,
        /// Which dependencies count.
        #[serde(default, flatten)]
        deps: DepSelection,
    },
    /// One of its checks meets the condition.
    AnyChecksMatch {
        /// The condition, of the check.
        condition: Box<AutomationCondition>,
        /// Whether only checks count that hold downstream assets back.
        #[serde(default)]
        blocking_only: bool,
    },
    /// All of its checks meet the condition.
    AllChecksMatch {
        /// The condition, of the check.
        condition: Box<AutomationCondition>,
        /// Whether only checks count that hold downstream assets back.
        #[serde(default)]
        blocking_only: bool,
    },
    /// One of the conditions of what depends on it, directly or not, is true of it.
    AnyDownstreamConditions,
    /// All of them are true.
    And {
        /// The conditions.
        operands: Vec<AutomationCondition>,
    },
    /// One of them is true.
    Or {
        /// The conditions.
        operands: Vec<AutomationCondition>,
    },
    /// It is not true.
    Not {
        /// The condition.
        operand: Box<AutomationCondition>,
    },
    /// `trigger` has been true after `reset` was last true. Where both are true at once, `reset` wins.
    Since {
        /// What makes it true.
        trigger: Box<AutomationCondition>,
        /// What makes it false.
        reset: Box<AutomationCondition>,
    },
    /// It is true and was not in the last tick.
    NewlyTrue {
        /// The condition.
        operand: Box<AutomationCondition>,
    },
    /// A condition with a name for people.
    Labeled {
        /// The name.
        label: String,
        /// The condition.
        condition: Box<AutomationCondition>,
    },
}

/// Which dependencies a condition looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepSelection {
    /// Only these, by asset key. All where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<BTreeSet<String>>,
    /// All but these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignore: BTreeSet<String>,
}

impl DepSelection {
    /// Whether this dependency counts.
    pub fn takes(&self, asset: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(asset)) && !self.ignore.contains(asset)
    }
}

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

    /// The label, where it has one.
    pub fn label(&self) -> Option<&str> {
        match self {
            Self::Labeled { label, .. } => Some(label),
            _ => None,
        }
    }

    /// What the condition is called, without its label: Dagster's name.
    pub fn name(&self) -> String {
        match self {
            Self::Missing => "missing".to_owned(),
            Self::InProgress => "in_progress".to_owned(),
            Self::ExecutionFailed => "execution_failed".to_owned(),
            Self::NewlyUpdated => "newly_updated".to_owned(),
            Self::NewlyRequested => "newly_requested".to_owned(),
            Self::CodeVersionChanged => "code_version_changed".to_owned(),
            Self::DataVersionChanged => "data_version_changed".to_owned(),
            Self::InitialEvaluation => "initial_evaluation".to_owned(),
            Self::WillBeRequested => "will_be_requested".to_owned(),
            Self::ExecutedWithRootTarget => "executed_with_root_target".to_owned(),
            Self::CheckPassed => "check_passed".to_owned(),
            Self::CheckFailed => "check_failed".to_owned(),
            Self::CronTickPassed { schedule } => format!(
                "cron_tick_passed(cron_schedule={}, cron_timezone={})",
                schedule.expressions().join(" or "),
                schedule.timezone()
            ),
            Self::InLatestTimeWindow { lookback_s: None } => "in_latest_time_window".to_owned(),
            Self::InLatestTimeWindow { lookback_s: Some(seconds) } => {
                format!("in_latest_time_window(lookback_timedelta={seconds} s)")
            }
            Self::AnyDepsMatch { .. } => "ANY_DEPS_MATCH".to_owned(),
            Self::AllDepsMatch { .. } => "ALL_DEPS_MATCH".to_owned(),
            Self::AnyChecksMatch { .. } => "ANY_CHECKS_MATCH".to_owned(),
            Self::AllChecksMatch { .. } => "ALL_CHECKS_MATCH".to_owned(),
            Self::AnyDownstreamConditions => "ANY_DOWNSTREAM_CONDITIONS".to_owned(),
            Self::And { .. } => "AND".to_owned(),
            Self::Or { .. } => "OR".to_owned(),
            Self::Not { .. } => "NOT".to_owned(),
            Self::Since { .. } => "SINCE".to_owned(),
            Self::NewlyTrue { .. } => "NEWLY_TRUE".to_owned(),
            Self::Labeled { condition, .. } => condition.name(),
        }
    }
}

impl fmt::Display for AutomationCondition {
    /// The label, or else the expression.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |operands: &[Self], word: &str| {
            let parts: Vec<_> = operands.iter().map(ToString::to_string).collect();
            format!("({})", parts.join(word))
        };
        match self {
            Self::Labeled { label, .. } => f.write_str(label),
            Self::And { operands } => f.write_str(&list(operands, " and ")),
            Self::Or { operands } => f.write_str(&list(operands, " or ")),
            Self::Not { operand } => write!(f, "not {operand}"),
            Self::Since { trigger, reset } => write!(f, "({trigger} since {reset})"),
            Self::NewlyTrue { operand } => write!(f, "newly_true({operand})"),
            Self::AnyDepsMatch { condition, .. } => write!(f, "any_deps_match({condition})"),
            Self::AllDepsMatch { condition, .. } => write!(f, "all_deps_match({condition})"),
            Self::AnyChecksMatch { condition, .. } => write!(f, "any_checks_match({condition})"),
            Self::AllChecksMatch { condition, .. } => write!(f, "all_checks_match({condition})"),
            leaf => f.write_str(&leaf.name()),
        }
    }
}
