//! What a backfill does next. Pure.
//!
//! The target is divided into *groups* of assets that can be made by one run (same partitions and policy, each
//! partition of one needing only the same partition of another), and each group into *units*, one for each partition.
//! A unit may be made once all units of other groups that it needs are done; it is skipped once one of them failed or
//! was skipped. Units are put into runs (*chunks*) as the group's policy says.
//!
//! A chunk gets its run's id before the run is made, and the progress is kept before that too: whatever is cut off, the
//! same chunks are asked for again with the same ids, and no plan that was made meanwhile can differ.

mod groups;

use std::collections::{BTreeSet, HashMap};

use catchment_model::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::backfill::{BackfillPolicy, BackfillTarget, NewBackfill};
use crate::definitions::{AssetSpec, LocationSnapshot};
use crate::mapping::{PartitionMapping, Sides};
use crate::partitions::{PartitionContext, PartitionSubset, PartitionsDefinition};
use crate::run::RunId;

use groups::{asset_groups, job_group, mapping, sides};

/// How far a backfill has come: what it keeps between two looks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// In topological order.
    pub groups: Vec<Group>,
    /// Runs that were asked for and are not known to have ended, oldest first.
    pub chunks: Vec<Chunk>,
}

/// Assets (or a job) that a run makes together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The assets; none of a job.
    pub assets: Vec<String>,
    /// The partitions, in their order; one `None` where there are none.
    pub keys: Vec<Option<String>>,
    /// The places of keys that do not follow the one before them in the partitions definition: no range of keys that a
    /// run is given reaches over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<usize>,
    /// How each stands, as lengths of stretches.
    pub states: Vec<(UnitState, usize)>,
    /// How they are put into runs.
    pub policy: BackfillPolicy,
}

/// How a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitState {
    /// Not yet asked for.
    Pending,
    /// In a chunk.
    Requested,
    /// Made.
    Done,
    /// Its run did not end well.
    Failed,
    /// What it needs was not made.
    Skipped,
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Its run.
    pub run_id: RunId,
    /// Its group, by place.
    pub group: usize,
    /// Its first unit, by place.
    pub first: usize,
    /// Its last unit, by place.
    pub last: usize,
}

/// How many units stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub total: usize,
    /// Not yet asked for.
    pub pending: usize,
    /// In a run that has not ended.
    pub requested: usize,
    /// Made.
    pub done: usize,
    /// Their run did not end well.
    pub failed: usize,
    /// What they need was not made.
    pub skipped: usize,
}

impl Progress {
    /// The plan of a backfill that was just asked for.
    ///
    /// # Errors
    /// Where the location does not define the target, or it has none of the partitions.
    pub fn start(
        request: &NewBackfill,
        snapshot: &LocationSnapshot,
        cx: PartitionContext<'_>,
    ) -> Result<Self, Problem> {
        let place = format!("backfill {}", request.id);
        let groups = match &request.target {
            BackfillTarget::Job { job, partitions } => vec![job_group(request, snapshot, cx, job, partitions)],
            BackfillTarget::Assets { assets, partitions } => asset_groups(request, snapshot, cx, assets, partitions)
                .map(|groups| groups.into_iter().map(Ok).collect())?,
        };
        let groups = groups.into_iter().collect::<Result<Vec<_>, _>>().map_err(|problem| problem.place(&place))?;
        if groups.iter().all(|group| group.keys.is_empty()) {
            return Err(Problem::new(Code::InvalidInput, "there is nothing to fill")
                .place(place)
                .cause("none of the target's partitions has one of the keys")
                .remedy("name keys that are there; `catchment partitions` lists them"));
        }
        Ok(Self { groups, chunks: Vec::new() })
    }

    /// Notes the end of a chunk's run; one that is not in flight is passed over.
    pub fn ended(&mut self, run_id: RunId, well: bool) {
        let Some(place) = self.chunks.iter().position(|chunk| chunk.run_id == run_id) else { return };
        let chunk = self.chunks.remove(place);
        let state = if well { UnitState::Done } else { UnitState::Failed };
        if let Some(group) = self.groups.get_mut(chunk.group) {
            group.set(chunk.first, chunk.last, state);
        }
    }

    /// A chunk's run is run again by another.
    pub fn replaced(&mut self, run_id: RunId, by: RunId) {
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.run_id == run_id) {
            chunk.run_id = by;
        }
    }

    /// Asks for further chunks, `room` at most, and notes what has to be skipped. Answers those that are new.
    ///
    /// # Errors
    /// Where a mapping does not fit its two sides.
    pub fn plan(
        &mut self,
        room: usize,
        snapshot: &LocationSnapshot,
        cx: PartitionContext<'_>,
        mut new_id: impl FnMut() -> RunId,
    ) -> Result<Vec<Chunk>, Problem> {
        let mut new = Vec::new();
        if room == 0 {
            return Ok(new);
        }
        for place in 0..self.groups.len() {
            let readiness = self.readiness(place, snapshot, cx)?;
            let group = &mut self.groups[place];
            for (unit, ready) in &readiness {
                if *ready == Ready::Never {
                    group.set(*unit, *unit, UnitState::Skipped);
                }
            }
            let waits = readiness.iter().any(|(_, ready)| *ready == Ready::NotYet);
            if group.policy == BackfillPolicy::SingleRun && waits {
                continue;
            }
            let ready: Vec<_> = readiness.into_iter().filter(|(_, r)| *r == Ready::Now).map(|(unit, _)| unit).collect();
            let longest = match group.policy {
                BackfillPolicy::SingleRun => usize::MAX,
                BackfillPolicy::MultiRun { max_partitions_per_run } => {
                    usize::try_from(max_partitions_per_run.max(1)).unwrap_or(usize::MAX)
                }
            };
            for (first, last) in stretches(&ready, &group.breaks.clone(), longest) {
                if new.len() >= room {
                    return Ok(new);
                }
                group.set(first, last, UnitState::Requested);
                let chunk = Chunk { run_id: new_id(), group: place, first, last };
                self.chunks.push(chunk.clone());
                new.push(chunk);
            }
        }
        Ok(new)
    }

    /// How many units stand how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (state, length) in self.groups.iter().flat_map(|group| &group.states) {
            counts.total += length;
            *match state {
                UnitState::Pending => &mut counts.pending,
                UnitState::Requested => &mut counts.requested,
                UnitState::Done => &mut counts.done,
                UnitState::Failed => &mut counts.failed,
                UnitState::Skipped => &mut counts.skipped,
            } += length;
        }
        counts
    }

    /// Whether nothing is left to ask for or to wait for.
    pub fn is_over(&self) -> bool {
        let counts = self.counts();
        counts.pending == 0 && counts.requested == 0
    }

    /// The keys of a chunk, in their order.
    pub fn keys(&self, chunk: &Chunk) -> Vec<&str> {
        let keys = self.groups.get(chunk.group).and_then(|group| group.keys.get(chunk.first..=chunk.last));
        keys.unwrap_or_default().iter().filter_map(Option::as_deref).collect()
    }

    /// Whether the pending units of a group can be made now.
    fn readiness(
        &self,
        place: usize,
        snapshot: &LocationSnapshot,
        cx: PartitionContext<'_>,
    ) -> Result<Vec<(usize, Ready)>, Problem> {
        let group = &self.groups[place];
        let pending: Vec<usize> =
            group.units().filter(|(_, s)| *s == UnitState::Pending).map(|(unit, _)| unit).collect();
        let mut needs = Vec::new();
        if !pending.is_empty() {
            for asset in group.assets.iter().filter_map(|key| snapshot.asset(key)) {
                // Within a run the executor keeps the order. An asset that needs its own earlier partitions is made one
                // after the other, unless all are made by one run.
                let elsewhere = |dep: &&String| match **dep == asset.key {
                    true => group.policy != BackfillPolicy::SingleRun,
                    false => !group.assets.contains(*dep),
                };
                for dep in asset.deps.iter().filter(elsewhere) {
                    if let Some(upstream) = self.groups.iter().find(|group| group.assets.contains(dep)) {
                        needs.push(Need::new(snapshot, asset, dep, upstream));
                    }
                }
            }
        }
        pending
            .into_iter()
            .map(|unit| {
                let mut ready = Ready::Now;
                for need in &needs {
                    ready = ready.min(need.readiness(group.keys[unit].as_deref(), cx)?);
                }
                Ok((unit, ready))
            })
            .collect()
    }
}

/// Whether a unit can be made; the lowest of what it needs counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ready {
    Never,
    NotYet,
    Now,
}

/// What an asset of one group needs of another group.
struct Need<'a> {
    mapping: PartitionMapping,
    sides: Sides<'a>,
    states: HashMap<Option<&'a str>, UnitState>,
}

impl<'a> Need<'a> {
    fn new(snapshot: &'a LocationSnapshot, asset: &AssetSpec, dep: &str, upstream: &'a Group) -> Self {
        let sides = sides(snapshot, asset, dep);
        let mapping = mapping(asset, dep, sides);
        let states = upstream.units().map(|(unit, state)| (upstream.keys[unit].as_deref(), state)).collect();
        Self { mapping, sides, states }
    }

    fn readiness(&self, key: Option<&str>, cx: PartitionContext<'_>) -> Result<Ready, Problem> {
        let of = |key: Option<&str>| match self.states.get(&key) {
            Some(UnitState::Failed | UnitState::Skipped) => Ready::Never,
            Some(UnitState::Pending | UnitState::Requested) => Ready::NotYet,
            // What is not filled is taken as it is.
            Some(UnitState::Done) | None => Ready::Now,
        };
        if self.mapping == PartitionMapping::Identity && key.is_some() {
            return Ok(of(key));
        }
        let downstream = match key {
            Some(key) => PartitionSubset::of([key]),
            None => PartitionSubset::unpartitioned(),
        };
        let needed = self.mapping.upstream_keys(&downstream, self.sides, cx)?;
        Ok(needed.subset.iter().map(of).min().unwrap_or(Ready::Now))
    }
}

impl Group {
    /// A group of these keys, in the order of their definition.
    fn partitioned(
        assets: Vec<String>,
        definition: &PartitionsDefinition,
        wanted: &BTreeSet<&str>,
        cx: PartitionContext<'_>,
        policy: BackfillPolicy,
    ) -> Self {
        let (mut keys, mut breaks, mut last) = (Vec::new(), Vec::new(), None);
        for (place, key) in definition.keys(cx).into_iter().enumerate().filter(|(_, key)| wanted.contains(key.as_str()))
        {
            if last.is_some_and(|last| last + 1 != place) {
                breaks.push(keys.len());
            }
            last = Some(place);
            keys.push(Some(key));
        }
        Self { assets, states: vec![(UnitState::Pending, keys.len())], keys, breaks, policy }
    }

    /// A group of the only unit of assets without partitions.
    fn whole(assets: Vec<String>, policy: BackfillPolicy) -> Self {
        Self { assets, keys: vec![None], breaks: Vec::new(), states: vec![(UnitState::Pending, 1)], policy }
    }

    /// Each unit with how it stands.
    pub fn units(&self) -> impl Iterator<Item = (usize, UnitState)> {
        self.states.iter().flat_map(|(state, length)| std::iter::repeat_n(*state, *length)).enumerate()
    }

    fn set(&mut self, first: usize, last: usize, to: UnitState) {
        let mut states: Vec<(UnitState, usize)> = Vec::with_capacity(self.states.len() + 2);
        let mut push = |state, length| match states.last_mut() {
            _ if length == 0 => {}
            Some((same, so_far)) if *same == state => *so_far += length,
            _ => states.push((state, length)),
        };
        let mut begin = 0;
        for (state, length) in std::mem::take(&mut self.states) {
            let end = begin + length;
            let (from, until) = (first.clamp(begin, end), (last + 1).clamp(begin, end));
            push(state, from - begin);
            push(to, until - from);
            push(state, end - until);
            begin = end;
        }
        self.states = states;
    }
}

/// Places that follow each other, as ranges of at most so many that reach over no break.
fn stretches(places: &[usize], breaks: &[usize], longest: usize) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for place in places {
        match found.last_mut() {
            Some((first, last))
                if *last + 1 == *place && place - *first < longest && breaks.binary_search(place).is_err() =>
            {
                *last = *place;
            }
            _ => found.push((*place, *place)),
        }
    }
    found
}

#[cfg(test)]
mod tests;
