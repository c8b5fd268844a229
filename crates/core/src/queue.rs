//! Which runs may start next. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::run::{Run, RunId, RunStatus};
use crate::tags;

/// What bounds the runs that work at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Runs that are being started, work, or are being cancelled; `None` does not bound, 0 starts none.
    pub max_concurrent_runs: Option<usize>,
    /// The same for runs with a tag. All of them hold.
    pub tags: Vec<TagLimit>,
    /// Free slots of the pools that have a limit, by pool. At [`Granularity::Step`], slots that no step holds; at
    /// [`Granularity::Run`], the limit: who holds them follows from the runs.
    pub pools: BTreeMap<String, usize>,
    /// What takes a slot of a pool.
    pub granularity: Granularity,
}

/// What takes a slot of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// A step, while it works. A run of which every first step would have to wait stays in the queue.
    #[default]
    #[serde(rename = "op")]
    Step,
    /// A run with any step of the pool, while it works.
    Run,
}

/// How many runs with a tag may work at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagLimit {
    /// The tag.
    pub key: String,
    /// Of which runs with it the limit speaks.
    pub value: TagValue,
    /// So many.
    pub limit: usize,
}

/// Of which runs with a tag a limit speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagValue {
    /// All together, whatever their value.
    Any,
    /// Those with the same value, for each value.
    PerUniqueValue,
    /// Those with this value.
    Is(String),
}

/// The pools of a run's steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunPools {
    /// The pool of each step that can begin at once; `None` for a step without one.
    pub first: Vec<Option<String>>,
    /// The pools of all steps.
    pub all: BTreeSet<String>,
}

/// Why a queued run has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "waits_for", rename_all = "snake_case")]
pub enum Waits {
    /// The limit of concurrent runs is reached.
    Runs {
        /// The limit.
        limit: usize,
    },
    /// A limit of runs with a tag is reached.
    Tag {
        /// The tag.
        key: String,
        /// The run's value of it.
        value: String,
        /// The limit.
        limit: usize,
    },
    /// A pool has no free slot.
    Pool {
        /// The pool.
        pool: String,
    },
}

/// What becomes of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Runs to launch now, in this order.
    pub launch: Vec<RunId>,
    /// The others, in the order of their turn.
    pub wait: Vec<(RunId, Waits)>,
}

/// The queued runs to launch now: the highest priority first (tag `dagster/priority`, an integer, 0 where it is
/// missing or is none), and among equals the one that has waited longest. A run that has to wait for a tag or a pool
/// is overtaken by those that need not.
///
/// `runs` are all that are not final, oldest first; `pools` tells those of a run.
pub fn next(runs: &[Run], limits: &Limits, pools: &dyn Fn(&Run) -> RunPools) -> Decision {
    let mut used = Used::default();
    for run in runs.iter().filter(|run| run.status.is_active()) {
        used.take(run, limits, pools);
    }
    let mut queued: Vec<_> = runs.iter().filter(|run| run.status == RunStatus::Queued).collect();
    queued.sort_by_key(|run| std::cmp::Reverse(priority(run)));
    let mut decision = Decision::default();
    for run in queued {
        match used.blocks(run, limits, pools) {
            Some(reason) => decision.wait.push((run.run_id, reason)),
            None => {
                used.take(run, limits, pools);
                if limits.granularity == Granularity::Step {
                    used.reserve(&pools(run));
                }
                decision.launch.push(run.run_id);
            }
        }
    }
    decision
}

/// What is in use, those that were just chosen included.
#[derive(Debug, Default)]
struct Used {
    runs: usize,
    tags: Vec<BTreeMap<String, usize>>,
    pools: BTreeMap<String, usize>,
}

impl Used {
    fn take(&mut self, run: &Run, limits: &Limits, pools: &dyn Fn(&Run) -> RunPools) {
        self.runs += 1;
        self.tags.resize_with(limits.tags.len(), BTreeMap::new);
        for (limit, used) in limits.tags.iter().zip(&mut self.tags) {
            if let Some(counted) = limit.counts(run) {
                *used.entry(counted).or_default() += 1;
            }
        }
        if limits.granularity == Granularity::Run && !limits.pools.is_empty() {
            for pool in pools(run).all {
                *self.pools.entry(pool).or_default() += 1;
            }
        }
    }

    /// The first steps of a run that is launched will take slots.
    fn reserve(&mut self, pools: &RunPools) {
        for pool in pools.first.iter().flatten() {
            *self.pools.entry(pool.clone()).or_default() += 1;
        }
    }

    fn blocks(&self, run: &Run, limits: &Limits, pools: &dyn Fn(&Run) -> RunPools) -> Option<Waits> {
        if let Some(limit) = limits.max_concurrent_runs.filter(|limit| self.runs >= *limit) {
            return Some(Waits::Runs { limit });
        }
        for (place, limit) in limits.tags.iter().enumerate() {
            let Some(counted) = limit.counts(run) else { continue };
            let used = self.tags.get(place).and_then(|used| used.get(&counted)).copied().unwrap_or(0);
            if used >= limit.limit {
                let value = run.tags.get(&limit.key).cloned().unwrap_or_default();
                return Some(Waits::Tag { key: limit.key.clone(), value, limit: limit.limit });
            }
        }
        if limits.pools.is_empty() {
            return None;
        }
        let full = |pool: &str| {
            let used = self.pools.get(pool).copied().unwrap_or(0);
            limits.pools.get(pool).is_some_and(|slots| used >= *slots)
        };
        let pools = pools(run);
        match limits.granularity {
            Granularity::Run => pools.all.into_iter().find(|pool| full(pool)).map(|pool| Waits::Pool { pool }),
            Granularity::Step => {
                let first = pools.first.first().cloned().flatten()?;
                let all = pools.first.iter().all(|pool| pool.as_deref().is_some_and(full));
                all.then_some(Waits::Pool { pool: first })
            }
        }
    }
}

impl TagLimit {
    /// Under which name a run counts against this limit, if it does.
    fn counts(&self, run: &Run) -> Option<String> {
        let value = run.tags.get(&self.key)?;
        match &self.value {
            TagValue::Any => Some(String::new()),
            TagValue::PerUniqueValue => Some(value.clone()),
            TagValue::Is(only) => (only == value).then(String::new),
        }
    }
}

/// The place of a run in the queue: higher first.
pub fn priority(run: &Run) -> i64 {
    run.tags.get(tags::PRIORITY).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
