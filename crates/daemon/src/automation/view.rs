//! What conditions ask about assets, read from the state in one go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use catchment_core::automation::{AutomationCondition, AutomationState, AutomationView};
use catchment_core::backfill::{BackfillStatus, BackfillTarget};
use catchment_core::definitions::{AssetSpec, LocationSnapshot};
use catchment_core::mapping::PartitionMapping;
use catchment_core::partitions::{DynamicKeys, PartitionContext, PartitionSubset, PartitionsDefinition};
use catchment_core::{EventKind, Run, RunId, tags};
use catchment_instance::{BackfillFilter, CheckStatus, EventFilter, PartitionStatus, RunFilter};
use catchment_model::Problem;
use jiff::Timestamp;

use super::Subject;
use crate::context::Context;
use crate::dynamic_keys;

/// Backfills that are looked at.
const BACKFILLS: u32 = 1000;
/// Runs that are asked for at once: a statement takes only so many values.
const RUNS: usize = 500;

/// How one partition, or an asset without partitions (`None`), stands.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// The newest event that made it, or, of a source, that observed it.
    updated: Option<i64>,
    failed: bool,
    in_progress: bool,
    /// The run of its newest update.
    run_id: Option<RunId>,
    data_version: Option<String>,
    /// What a check found.
    passed: Option<bool>,
}

type Cells = BTreeMap<Option<String>, Cell>;

/// What is known of the assets of a location and of what they need.
pub(super) struct View<'a> {
    snapshot: &'a LocationSnapshot,
    dynamic: BTreeMap<String, Vec<String>>,
    /// The head of the log before anything was read: what is newer is news for the next tick.
    newest: i64,
    cells: HashMap<String, Cells>,
    /// What the runs of the newest updates were to make.
    targets: HashMap<RunId, BTreeSet<String>>,
    /// The partitions whose data version is another than in the last tick.
    other_data: HashMap<String, PartitionSubset>,
    last_tick: HashMap<String, PartitionSubset>,
    this_tick: HashMap<String, PartitionSubset>,
}

impl<'a> View<'a> {
    pub(super) async fn load(
        context: &Context,
        snapshot: &'a LocationSnapshot,
        subjects: &[Subject],
        previous: &BTreeMap<String, AutomationState>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let instance = &context.instance;
        let newest = instance.last_event_id().await?;
        let definitions = snapshot.partitions.iter().map(|spec| &spec.definition);
        let mut view = Self {
            snapshot,
            dynamic: dynamic_keys::load(instance, definitions).await?,
            newest,
            cells: HashMap::new(),
            targets: HashMap::new(),
            other_data: HashMap::new(),
            last_tick: previous.iter().map(|(key, state)| (key.clone(), state.requested.clone())).collect(),
            this_tick: HashMap::new(),
        };
        let since = previous.values().filter(|state| state.evaluated_at.is_some()).map(|state| state.event).max();
        view.load_assets(context).await?;
        view.load_checks(context).await?;
        view.load_in_progress(context, now).await?;
        view.load_targets(context, since.unwrap_or(newest)).await?;
        if let Some(since) = since
            && subjects.iter().any(|subject| looks_at_data_versions(&subject.condition))
        {
            view.load_other_data(context, since).await?;
        }
        Ok(view)
    }

    /// The newest event that it stands for.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Notes what this tick asks for.
    pub(super) fn ask_for(&mut self, key: &str, subset: PartitionSubset) {
        self.this_tick.insert(key.to_owned(), subset);
    }

    async fn load_assets(&mut self, context: &Context) -> Result<(), Problem> {
        let mut keys: BTreeSet<String> = self.snapshot.assets.iter().map(|asset| asset.key.clone()).collect();
        keys.extend(self.snapshot.assets.iter().flat_map(|asset| asset.deps.iter().cloned()));
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        for record in context.instance.assets(&keys, None, limit).await? {
            let spec = self.snapshot.asset(&record.asset_key);
            let mut cells = Cells::new();
            if spec.is_some_and(|spec| spec.partitions.is_some()) {
                for state in context.instance.asset_partitions(&record.asset_key, &[]).await? {
                    let cell = Cell {
                        updated: state.materialized.map(|(id, _)| id),
                        failed: state.status == PartitionStatus::Failed,
                        in_progress: state.status == PartitionStatus::Materializing,
                        run_id: Some(state.run_id),
                        data_version: state.data_version,
                        passed: None,
                    };
                    cells.insert(Some(state.partition), cell);
                }
            } else {
                let made = record.materialized.map(|(id, _)| id);
                // What nothing here makes is as new as it was seen to be.
                let is_source = spec.is_none_or(|spec| spec.step.is_empty());
                let seen = record.observed.map(|(id, _)| id).filter(|_| is_source);
                let cell = Cell {
                    updated: made.max(seen),
                    failed: record.failed > made,
                    in_progress: record.in_progress.is_some(),
                    run_id: record.materialized_by,
                    data_version: record.data_version,
                    passed: None,
                };
                cells.insert(None, cell);
            }
            self.cells.insert(record.asset_key, cells);
        }
        Ok(())
    }

    /// A check counts as an asset that is made when it is evaluated, for the partition that it was evaluated for.
    async fn load_checks(&mut self, context: &Context) -> Result<(), Problem> {
        let (divided, whole): (Vec<_>, Vec<_>) =
            self.snapshot.checks.iter().partition(|check| self.partitions(&check.asset_key).is_some());
        let assets: BTreeSet<_> = whole.into_iter().map(|check| check.asset_key.clone()).collect();
        let mut found = Vec::new();
        if !assets.is_empty() {
            found = context.instance.latest_checks(&assets.into_iter().collect::<Vec<_>>()).await?;
        }
        for check in divided {
            found.extend(context.instance.latest_of_partitions(&check.asset_key, &check.name).await?);
        }
        for found in found {
            let cell = Cell {
                updated: found.evaluation.as_ref().map(|event| event.id),
                failed: found.status == CheckStatus::ExecutionFailed,
                in_progress: found.status == CheckStatus::InProgress,
                run_id: Some(found.run_id),
                data_version: None,
                passed: match found.status {
                    CheckStatus::Succeeded => Some(true),
                    CheckStatus::Failed => Some(false),
                    CheckStatus::InProgress | CheckStatus::ExecutionFailed | CheckStatus::Skipped => None,
                },
            };
            let key = format!("{}:{}", found.asset_key, found.check_name);
            self.cells.entry(key).or_default().insert(found.partition, cell);
        }
        Ok(())
    }

    /// What runs that wait or work, and backfills that are not over, are to make.
    async fn load_in_progress(&mut self, context: &Context, now: Timestamp) -> Result<(), Problem> {
        for run in context.instance.live_runs().await? {
            let Some(location) = context.locations.get(&run.location) else { continue };
            let Some(snapshot) = &location.snapshot else { continue };
            for target in targets_of(&run, snapshot) {
                for partition in self.partitions_of(&run, &target, now) {
                    self.cells.entry(target.clone()).or_default().entry(partition).or_default().in_progress = true;
                }
            }
        }
        let filter = BackfillFilter {
            statuses: BackfillStatus::ALL.into_iter().filter(|status| !status.is_final()).collect(),
            location: None,
        };
        for backfill in context.instance.backfills(&filter, None, BACKFILLS).await? {
            let BackfillTarget::Assets { assets, partitions } = &backfill.request.target else { continue };
            for asset in assets {
                let cells = self.cells.entry(asset.clone()).or_default();
                let is_partitioned = self.snapshot.asset(asset).is_some_and(|spec| spec.partitions.is_some());
                if is_partitioned {
                    for partition in partitions {
                        cells.entry(Some(partition.clone())).or_default().in_progress = true;
                    }
                } else {
                    cells.entry(None).or_default().in_progress = true;
                }
            }
        }
        Ok(())
    }

    /// The partitions of an asset that a run is about.
    fn partitions_of(&self, run: &Run, asset: &str, now: Timestamp) -> Vec<Option<String>> {
        let Some(definition) = self.partitions(asset) else { return vec![None] };
        let cx = PartitionContext { now, dynamic: &self.dynamic };
        match (run.tags.get(tags::PARTITION_RANGE_START), run.tags.get(tags::PARTITION_RANGE_END)) {
            (Some(start), Some(end)) => {
                definition.range(start, end, cx).unwrap_or_default().into_iter().map(Some).collect()
            }
            _ => run.partition_key.clone().into_iter().map(Some).collect(),
        }
    }

    /// The runs of the updates since an event.
    async fn load_targets(&mut self, context: &Context, since: i64) -> Result<(), Problem> {
        let new = |cell: &&Cell| cell.updated.is_some_and(|id| id > since);
        let ids: BTreeSet<_> =
            self.cells.values().flat_map(BTreeMap::values).filter(new).filter_map(|c| c.run_id).collect();
        let ids: Vec<_> = ids.into_iter().filter(|id| *id != RunId::NONE).collect();
        for ids in ids.chunks(RUNS) {
            let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let filter = RunFilter { run_ids: ids.to_vec(), ..RunFilter::default() };
            for run in context.instance.runs(&filter, None, limit).await? {
                let snapshot = context.locations.get(&run.location).and_then(|location| location.snapshot.clone());
                let targets = snapshot.map(|snapshot| targets_of(&run, &snapshot)).unwrap_or_default();
                self.targets.insert(run.run_id, targets);
            }
        }
        Ok(())
    }

    /// Compares the data version of what was updated since an event with the one that it had before.
    async fn load_other_data(&mut self, context: &Context, since: i64) -> Result<(), Problem> {
        for (asset, cells) in &self.cells {
            let mut other = PartitionSubset::empty();
            for (partition, cell) in cells.iter().filter(|(_, cell)| cell.updated.is_some_and(|id| id > since)) {
                let filter = EventFilter {
                    kinds: vec![EventKind::AssetMaterialization, EventKind::AssetObservation],
                    asset_key: Some(asset.clone()),
                    partitions: partition.iter().cloned().collect(),
                    ..EventFilter::default()
                };
                let before = context.instance.events(&filter, Some(since + 1), 1).await?.pop();
                let version = before.and_then(|e| e.event.data.get("data_version")?.as_str().map(str::to_owned));
                if version != cell.data_version || version.is_none() {
                    other.insert(partition.clone());
                }
            }
            self.other_data.insert(asset.clone(), other);
        }
        Ok(())
    }

    fn those(&self, asset: &str, is: impl Fn(&Cell) -> bool) -> PartitionSubset {
        let cells = self.cells.get(asset).into_iter().flatten();
        cells.filter(|(_, cell)| is(cell)).map(|(partition, _)| partition.clone()).collect()
    }

    fn check_of(&self, key: &str) -> Option<&str> {
        self.snapshot.checks.iter().find(|check| check.key() == key).map(|check| check.asset_key.as_str())
    }
}

impl AutomationView for View<'_> {
    fn partitions(&self, asset: &str) -> Option<&PartitionsDefinition> {
        let asset = self.check_of(asset).unwrap_or(asset);
        self.snapshot.partitions(self.snapshot.asset(asset)?.partitions.as_deref()?)
    }

    fn dynamic(&self) -> &dyn DynamicKeys {
        &self.dynamic
    }

    fn dependencies(&self, asset: &str) -> Vec<String> {
        match self.snapshot.asset(asset) {
            Some(spec) => spec.deps.clone(),
            None => self.check_of(asset).map(str::to_owned).into_iter().collect(),
        }
    }

    fn mapping(&self, asset: &str, dependency: &str) -> Option<PartitionMapping> {
        self.snapshot.asset(asset)?.mappings.get(dependency).cloned()
    }

    fn downstream_conditions(&self, asset: &str) -> Vec<(String, AutomationCondition)> {
        let mut reached = BTreeSet::from([asset.to_owned()]);
        let mut found = Vec::new();
        for spec in upstream_first(self.snapshot) {
            if spec.key != asset && spec.deps.iter().any(|dep| reached.contains(dep)) {
                reached.insert(spec.key.clone());
                found.extend(spec.automation.clone().map(|condition| (spec.key.clone(), condition)));
            }
        }
        found
    }

    fn executable_together(&self, asset: &str, dependency: &str) -> bool {
        let made_here = |key: &str| self.snapshot.asset(key).filter(|spec| !spec.step.is_empty());
        match (made_here(asset), made_here(dependency)) {
            (Some(asset), Some(dependency)) => asset.partitions == dependency.partitions,
            (None, Some(dependency)) => self.check_of(asset).is_some_and(|checked| checked == dependency.key),
            _ => false,
        }
    }

    fn code_version(&self, asset: &str) -> Option<String> {
        self.snapshot.asset(asset)?.code_version.clone()
    }

    fn newest_event(&self) -> i64 {
        self.newest
    }

    fn materialized(&self, asset: &str) -> PartitionSubset {
        self.those(asset, |cell| cell.updated.is_some())
    }

    fn in_progress(&self, asset: &str) -> PartitionSubset {
        self.those(asset, |cell| cell.in_progress)
    }

    fn failed(&self, asset: &str) -> PartitionSubset {
        self.those(asset, |cell| cell.failed)
    }

    fn updated_since(&self, asset: &str, event: i64, _: Timestamp) -> PartitionSubset {
        self.those(asset, |cell| cell.updated.is_some_and(|id| id > event && id <= self.newest))
    }

    fn data_version_changed_since(&self, asset: &str, event: i64, time: Timestamp) -> PartitionSubset {
        let other = self.other_data.get(asset).cloned().unwrap_or_default();
        other.intersection(&self.updated_since(asset, event, time))
    }

    fn executed_with(&self, asset: &str, target: &str) -> PartitionSubset {
        let had = |run: RunId| self.targets.get(&run).is_some_and(|targets| targets.contains(target));
        self.those(asset, |cell| cell.run_id.is_some_and(had))
    }

    fn checks(&self, asset: &str) -> Vec<(String, bool)> {
        let of_asset = self.snapshot.checks.iter().filter(|check| check.asset_key == asset);
        of_asset.map(|check| (check.key(), check.blocking)).collect()
    }

    fn check_result(&self, check: &str, passed: bool) -> PartitionSubset {
        let made = self.check_of(check).and_then(|asset| self.cells.get(asset));
        let cells = self.cells.get(check).into_iter().flatten();
        let is = |(partition, cell): &(&Option<String>, &Cell)| {
            let materialized = made.and_then(|made| made.get(*partition)).and_then(|made| made.updated);
            cell.passed == Some(passed) && cell.updated > materialized
        };
        cells.filter(is).map(|(partition, _)| partition.clone()).collect()
    }

    fn requested_last_tick(&self, asset: &str) -> PartitionSubset {
        self.last_tick.get(asset).cloned().unwrap_or_default()
    }

    fn requested_this_tick(&self, asset: &str) -> PartitionSubset {
        self.this_tick.get(asset).cloned().unwrap_or_default()
    }
}

/// The assets (and checks, by their keys) that a run is to make.
fn targets_of(run: &Run, snapshot: &LocationSnapshot) -> BTreeSet<String> {
    let selection = &run.selection;
    let named: BTreeSet<String> = selection.assets.iter().chain(&selection.checks).cloned().collect();
    if selection.steps.is_empty() && !named.is_empty() {
        return named;
    }
    let Some(job) = snapshot.job(&run.job_name) else { return named };
    let selected = |key: &str| selection.steps.is_empty() || selection.steps.iter().any(|step| step == key);
    let steps = job.steps.iter().filter(|step| selected(&step.key));
    let targets = steps.flat_map(|step| {
        // A step that runs again makes what is named of it, and everything where nothing is.
        let all: BTreeSet<String> = step.assets.iter().chain(&step.checks).cloned().collect();
        let of_step: BTreeSet<String> = all.intersection(&named).cloned().collect();
        if of_step.is_empty() { all } else { of_step }
    });
    targets.collect()
}

fn looks_at_data_versions(condition: &AutomationCondition) -> bool {
    serde_json::to_string(condition).is_ok_and(|json| json.contains("data_version_changed"))
}

/// The assets of a location, each after those that it needs; otherwise in the order of their definition.
pub(super) fn upstream_first(snapshot: &LocationSnapshot) -> Vec<&AssetSpec> {
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    let known: BTreeSet<_> = snapshot.assets.iter().map(|asset| asset.key.as_str()).collect();
    while order.len() < snapshot.assets.len() {
        let before = order.len();
        for asset in &snapshot.assets {
            let ready = asset
                .deps
                .iter()
                .all(|dep| dep == &asset.key || done.contains(dep.as_str()) || !known.contains(dep.as_str()));
            if ready && done.insert(asset.key.as_str()) {
                order.push(asset);
            }
        }
        if order.len() == before {
            // A circle, which the definitions' check refuses: its assets follow in their order.
            order.extend(snapshot.assets.iter().filter(|asset| !done.contains(asset.key.as_str())));
            break;
        }
    }
    order
}
