//! Evaluation of a condition in one tick.

use std::cell::RefCell;
use std::collections::BTreeMap;

use catchment_model::Problem;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cron::CronSchedule;
use crate::mapping::{PartitionMapping, Sides};
use crate::partitions::{PartitionContext, PartitionRanges, PartitionSubset, PartitionsDefinition, TimeWindow};

use super::condition::DepSelection;
use super::{AutomationCondition, AutomationView};

/// What a condition keeps from tick to tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutomationState {
    /// The condition that was evaluated.
    pub condition: Option<AutomationCondition>,
    /// When.
    pub evaluated_at: Option<Timestamp>,
    /// The newest event that it knew of.
    pub event: i64,
    /// What it asked for.
    pub requested: PartitionSubset,
    /// What its `since` and `newly_true` were true of, by asset and expression.
    pub subsets: BTreeMap<String, PartitionRanges>,
    /// The code versions that it saw, by asset.
    pub code_versions: BTreeMap<String, Option<String>>,
}

/// What came out of a tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The partitions to ask for.
    pub true_subset: PartitionSubset,
    /// To be kept for the next tick, in one transaction with what is asked for.
    pub state: AutomationState,
    /// Why, for people.
    pub result: ConditionResult,
}

/// What a condition, or a part of it, came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionResult {
    /// The asset that was looked at.
    pub asset: String,
    /// What the condition is called.
    pub name: String,
    /// Its label, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How many partitions were candidates.
    pub candidates: usize,
    /// The partitions that it is true of.
    pub true_subset: PartitionSubset,
    /// The parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ConditionResult>,
}

/// Evaluates the condition of an asset.
///
/// # Errors
/// `invalid_config` where a partition mapping does not fit its assets.
pub fn evaluate(
    condition: &AutomationCondition,
    asset: &str,
    view: &dyn AutomationView,
    previous: &AutomationState,
    now: Timestamp,
) -> Result<Evaluation, Problem> {
    let tick = Tick { root: asset, condition, view, previous, now, next: RefCell::default(), all: RefCell::default() };
    let candidates = tick.all(asset);
    let result = tick.evaluate(condition, asset, &candidates, Within::Own)?;
    let (subsets, code_versions) = tick.next.take();
    let subsets = subsets.into_iter().map(|((asset, expression), subset)| {
        (memory_key(&asset, &expression), PartitionRanges::of(&subset, view.partitions(&asset), tick.cx()))
    });
    let subsets = subsets.collect();
    let true_subset = result.true_subset.clone();
    let state = AutomationState {
        condition: Some(condition.clone()),
        evaluated_at: Some(now),
        event: view.newest_event(),
        requested: true_subset.clone(),
        subsets,
        code_versions,
    };
    Ok(Evaluation { true_subset, state, result })
}

/// What is to be kept: subsets by asset and expression, code versions by asset.
type Memory = (BTreeMap<(String, String), PartitionSubset>, BTreeMap<String, Option<String>>);

struct Tick<'a> {
    root: &'a str,
    condition: &'a AutomationCondition,
    view: &'a dyn AutomationView,
    previous: &'a AutomationState,
    now: Timestamp,
    next: RefCell<Memory>,
    all: RefCell<BTreeMap<String, PartitionSubset>>,
}

/// Whose condition is evaluated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// The asset's own.
    Own,
    /// One of a downstream asset.
    Downstream,
}

impl Tick<'_> {
    fn evaluate(
        &self,
        condition: &AutomationCondition,
        asset: &str,
        candidates: &PartitionSubset,
        within: Within,
    ) -> Result<ConditionResult, Problem> {
        let (true_subset, children) = match condition {
            AutomationCondition::Labeled { label, condition } => {
                let mut result = self.evaluate(condition, asset, candidates, within)?;
                result.label = Some(label.clone());
                return Ok(result);
            }
            AutomationCondition::And { operands } => {
                let mut left = candidates.clone();
                let mut children = Vec::new();
                for operand in operands {
                    let child = self.evaluate(operand, asset, &left, within)?;
                    left = left.intersection(&child.true_subset);
                    children.push(child);
                }
                (left, children)
            }
            AutomationCondition::Or { operands } => {
                let mut found = PartitionSubset::empty();
                let mut children = Vec::new();
                for operand in operands {
                    let child = self.evaluate(operand, asset, candidates, within)?;
                    found = found.union(&child.true_subset);
                    children.push(child);
                }
                (found.intersection(candidates), children)
            }
            AutomationCondition::Not { operand } => {
                let child = self.evaluate(operand, asset, candidates, within)?;
                (candidates.difference(&child.true_subset), vec![child])
            }
            AutomationCondition::Since { trigger, reset } => {
                // Over all partitions, not only candidates, so that no change is missed.
                let all = self.all(asset);
                let trigger = self.evaluate(trigger, asset, &all, within)?;
                let reset = self.evaluate(reset, asset, &all, within)?;
                let before = self.remembered(condition, asset);
                let found = before.union(&trigger.true_subset).difference(&reset.true_subset).intersection(&all);
                self.remember(condition, asset, &found);
                (found.intersection(candidates), vec![trigger, reset])
            }
            AutomationCondition::NewlyTrue { operand } => {
                let child = self.evaluate(operand, asset, &self.all(asset), within)?;
                let before = self.remembered(condition, asset);
                self.remember(condition, asset, &child.true_subset);
                (child.true_subset.difference(&before).intersection(candidates), vec![child])
            }
            AutomationCondition::AnyDepsMatch { condition, deps } => {
                any(self.deps(condition, deps, asset, candidates, within)?)
            }
            AutomationCondition::AllDepsMatch { condition, deps } => {
                all(self.deps(condition, deps, asset, candidates, within)?, candidates)
            }
            AutomationCondition::AnyChecksMatch { condition, blocking_only } => {
                any(self.checks(condition, *blocking_only, asset, candidates, within)?)
            }
            AutomationCondition::AllChecksMatch { condition, blocking_only } => {
                all(self.checks(condition, *blocking_only, asset, candidates, within)?, candidates)
            }
            AutomationCondition::AnyDownstreamConditions => self.downstream(asset, candidates, within)?,
            leaf => (self.leaf(leaf, asset, candidates).intersection(candidates), Vec::new()),
        };
        Ok(ConditionResult {
            asset: asset.to_owned(),
            name: condition.name(),
            label: None,
            candidates: candidates.len(),
            true_subset,
            children,
        })
    }

    /// The condition of each dependency, and the candidates that need a partition of which it is true.
    fn deps(
        &self,
        condition: &AutomationCondition,
        deps: &DepSelection,
        asset: &str,
        candidates: &PartitionSubset,
        within: Within,
    ) -> Result<Vec<(ConditionResult, PartitionSubset)>, Problem> {
        let mut dependencies = self.view.dependencies(asset);
        dependencies.retain(|dependency| deps.takes(dependency));
        dependencies.sort();
        dependencies.dedup();
        let related = dependencies.iter().map(|dependency| {
            self.related(condition, asset, dependency, candidates, within)
                .map_err(|problem| problem.place(format!("{asset}, which needs {dependency}")))
        });
        related.collect()
    }

    /// The condition of another asset or check, and the candidates that need a partition of which it is true.
    fn related(
        &self,
        condition: &AutomationCondition,
        asset: &str,
        other: &str,
        candidates: &PartitionSubset,
        within: Within,
    ) -> Result<(ConditionResult, PartitionSubset), Problem> {
        let sides = Sides { upstream: self.view.partitions(other), downstream: self.view.partitions(asset) };
        let named = self.view.mapping(asset, other);
        let mapping = named.unwrap_or_else(|| PartitionMapping::default_of(sides));
        let needed = mapping.upstream_keys(candidates, sides, self.cx())?.subset;
        let result = self.evaluate(condition, other, &needed, within)?;
        let down = mapping.downstream_keys(&result.true_subset, sides, self.cx())?;
        Ok((result, down.intersection(candidates)))
    }

    /// The condition of each check, and the candidates of which it is true: a check without partitions goes with all.
    fn checks(
        &self,
        condition: &AutomationCondition,
        blocking_only: bool,
        asset: &str,
        candidates: &PartitionSubset,
        within: Within,
    ) -> Result<Vec<(ConditionResult, PartitionSubset)>, Problem> {
        let checks = self.view.checks(asset).into_iter().filter(|(_, blocking)| *blocking || !blocking_only);
        checks.map(|(check, _)| self.related(condition, asset, &check, candidates, within)).collect()
    }

    /// The conditions of what depends on the asset, each different one once, evaluated on the asset itself.
    ///
    /// A downstream condition that is itself of this kind adds nothing: what depends on it depends on the asset too.
    fn downstream(
        &self,
        asset: &str,
        candidates: &PartitionSubset,
        within: Within,
    ) -> Result<(PartitionSubset, Vec<ConditionResult>), Problem> {
        let mut found = PartitionSubset::empty();
        let mut children: Vec<ConditionResult> = Vec::new();
        if within == Within::Downstream {
            return Ok((found, children));
        }
        let mut seen: Vec<AutomationCondition> = vec![self.condition.clone()];
        for (owner, condition) in self.view.downstream_conditions(asset) {
            if seen.contains(&condition) {
                continue;
            }
            let mut child = self.evaluate(&condition, asset, candidates, Within::Downstream)?;
            child.label = Some(child.label.map_or_else(|| owner.clone(), |label| format!("{label} of {owner}")));
            found = found.union(&child.true_subset);
            children.push(child);
            seen.push(condition);
        }
        Ok((found.intersection(candidates), children))
    }

    fn leaf(&self, leaf: &AutomationCondition, asset: &str, candidates: &PartitionSubset) -> PartitionSubset {
        let if_true = |is: bool| if is { candidates.clone() } else { PartitionSubset::empty() };
        match leaf {
            AutomationCondition::Missing => candidates.difference(&self.view.materialized(asset)),
            AutomationCondition::InProgress => self.view.in_progress(asset),
            AutomationCondition::ExecutionFailed => self.view.failed(asset),
            AutomationCondition::NewlyUpdated => self
                .previous
                .evaluated_at
                .map_or_else(PartitionSubset::empty, |at| self.view.updated_since(asset, self.previous.event, at)),
            AutomationCondition::DataVersionChanged => {
                self.previous.evaluated_at.map_or_else(PartitionSubset::empty, |at| {
                    self.view.data_version_changed_since(asset, self.previous.event, at)
                })
            }
            AutomationCondition::NewlyRequested if asset == self.root => self.previous.requested.clone(),
            AutomationCondition::NewlyRequested => self.view.requested_last_tick(asset),
            AutomationCondition::WillBeRequested if self.view.executable_together(self.root, asset) => {
                self.view.requested_this_tick(asset)
            }
            AutomationCondition::WillBeRequested => PartitionSubset::empty(),
            AutomationCondition::CheckPassed => self.view.check_result(asset, true),
            AutomationCondition::CheckFailed => self.view.check_result(asset, false),
            AutomationCondition::ExecutedWithRootTarget => self.view.executed_with(asset, self.root),
            AutomationCondition::InitialEvaluation => if_true(self.previous.condition.as_ref() != Some(self.condition)),
            AutomationCondition::CodeVersionChanged => {
                let version = self.view.code_version(asset);
                let changed = self.previous.code_versions.get(asset).is_some_and(|before| *before != version);
                self.next.borrow_mut().1.insert(asset.to_owned(), version);
                if_true(changed)
            }
            AutomationCondition::CronTickPassed { schedule } => if_true(self.ticked(schedule)),
            AutomationCondition::InLatestTimeWindow { lookback_s } => self.latest(asset, candidates, *lookback_s),
            AutomationCondition::And { .. }
            | AutomationCondition::Or { .. }
            | AutomationCondition::Not { .. }
            | AutomationCondition::Since { .. }
            | AutomationCondition::NewlyTrue { .. }
            | AutomationCondition::AnyDepsMatch { .. }
            | AutomationCondition::AllDepsMatch { .. }
            | AutomationCondition::AnyChecksMatch { .. }
            | AutomationCondition::AllChecksMatch { .. }
            | AutomationCondition::AnyDownstreamConditions
            | AutomationCondition::Labeled { .. } => PartitionSubset::empty(),
        }
    }

    /// A tick after the last evaluation, up to now. One at the very moment of an evaluation counts for that one.
    fn ticked(&self, schedule: &CronSchedule) -> bool {
        let Some(before) = self.previous.evaluated_at else { return false };
        schedule.last_at_or_before(self.now).is_some_and(|tick| tick > before)
    }

    fn latest(&self, asset: &str, candidates: &PartitionSubset, lookback_s: Option<u64>) -> PartitionSubset {
        let Some(definition) = self.view.partitions(asset) else { return candidates.clone() };
        let Some(windows) = definition.time_windows() else { return candidates.clone() };
        let Some(TimeWindow { start, end }) = windows.last_window(self.now) else { return PartitionSubset::empty() };
        let after = lookback_s.map_or(start, |seconds| {
            let lookback = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            end.saturating_sub(lookback).unwrap_or(Timestamp::MIN)
        });
        if matches!(definition, PartitionsDefinition::TimeWindow(_)) {
            return PartitionSubset::of(windows.keys_overlapping(TimeWindow { start: after, end }));
        }
        let latest = candidates.keys().filter(|key| definition.window_of(key).is_some_and(|window| window.end > after));
        PartitionSubset::of(latest)
    }

    /// All partitions of the asset.
    fn all(&self, asset: &str) -> PartitionSubset {
        if let Some(all) = self.all.borrow().get(asset) {
            return all.clone();
        }
        let all = match self.view.partitions(asset) {
            Some(definition) => PartitionsDefinition::all(definition, self.cx()),
            None => PartitionSubset::unpartitioned(),
        };
        self.all.borrow_mut().insert(asset.to_owned(), all.clone());
        all
    }

    fn cx(&self) -> PartitionContext<'_> {
        PartitionContext { now: self.now, dynamic: self.view.dynamic() }
    }

    /// What a `since` or `newly_true` was true of in the last tick.
    ///
    /// Both look at all partitions, so what they are true of depends on the asset and the expression, not on the
    /// place in the tree.
    fn remembered(&self, condition: &AutomationCondition, asset: &str) -> PartitionSubset {
        let ranges = self.previous.subsets.get(&memory_key(asset, &expression(condition)));
        ranges.map(|ranges| ranges.subset(self.view.partitions(asset))).unwrap_or_default()
    }

    fn remember(&self, condition: &AutomationCondition, asset: &str, subset: &PartitionSubset) {
        self.next.borrow_mut().0.insert((asset.to_owned(), expression(condition)), subset.clone());
    }
}

/// Candidates of which one part is true, with the parts.
fn any(parts: Vec<(ConditionResult, PartitionSubset)>) -> (PartitionSubset, Vec<ConditionResult>) {
    let found = parts.iter().fold(PartitionSubset::empty(), |found, (_, subset)| found.union(subset));
    (found, parts.into_iter().map(|(result, _)| result).collect())
}

/// Candidates of which all parts are true, with the parts.
fn all(
    parts: Vec<(ConditionResult, PartitionSubset)>,
    candidates: &PartitionSubset,
) -> (PartitionSubset, Vec<ConditionResult>) {
    let found = parts.iter().fold(candidates.clone(), |found, (_, subset)| found.intersection(subset));
    (found, parts.into_iter().map(|(result, _)| result).collect())
}

fn expression(condition: &AutomationCondition) -> String {
    serde_json::to_value(condition).unwrap_or_default().to_string()
}

fn memory_key(asset: &str, expression: &str) -> String {
    format!("{asset}: {expression}")
}
