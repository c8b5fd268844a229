//! Conditions as expressions.

use std::collections::BTreeSet;
use std::fmt;

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
