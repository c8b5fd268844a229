//! Random histories: what is projected is what a simple model in memory says.

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::state::Command;
use catchment_core::{EventKind, RunId};
use catchment_instance::{Lease, PartitionStatus, SharedInstance};
use catchment_model::{Code, Problem};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Backend, about, at, failed, materialized, planned, working_run};

const RUNS: usize = 3;
const PARTITIONS: [Option<&str>; 3] = [None, Some("x"), Some("y")];

/// What may happen to one of two assets.
#[derive(Debug, Clone, Copy)]
enum Step {
    Planned { asset: usize, partition: usize, run: usize },
    Materialized { asset: usize, partition: usize, run: usize },
    Failed { asset: usize, partition: usize, run: usize },
    Observed { asset: usize },
    Wiped { asset: usize },
    WipedPartition { asset: usize, partition: usize },
    Succeeds { run: usize },
    Fails { run: usize },
    Canceled { run: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..2_usize, 0..PARTITIONS.len(), 0..RUNS);
    prop_oneof![
        4 => place.clone().prop_map(|(asset, partition, run)| Step::Planned { asset, partition, run }),
        4 => place.clone().prop_map(|(asset, partition, run)| Step::Materialized { asset, partition, run }),
        2 => place.prop_map(|(asset, partition, run)| Step::Failed { asset, partition, run }),
        1 => (0..2_usize).prop_map(|asset| Step::Observed { asset }),
        1 => (0..2_usize).prop_map(|asset| Step::Wiped { asset }),
        1 => (0..2_usize, 1..PARTITIONS.len()).prop_map(|(asset, partition)| Step::WipedPartition { asset, partition }),
        1 => (0..RUNS).prop_map(|run| Step::Succeeds { run }),
        1 => (0..RUNS).prop_map(|run| Step::Fails { run }),
        1 => (0..RUNS).prop_map(|run| Step::Canceled { run }),
    ]
}

/// One partition of one asset, as a person would keep the books of it. Times are places in the history.
#[derive(Debug, Default)]
struct Book {
    materialized: Option<i64>,
    failed: Option<i64>,
    planned: BTreeSet<usize>,
}

impl Book {
    fn status(&self) -> Option<PartitionStatus> {
        match (self.materialized, self.failed) {
            _ if !self.planned.is_empty() => Some(PartitionStatus::Materializing),
            (made, Some(failed)) if made.is_none_or(|made| made < failed) => Some(PartitionStatus::Failed),
            (Some(_), _) => Some(PartitionStatus::Materialized),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Model {
    books: BTreeMap<(usize, usize), Book>,
    /// When each run planned an asset last, as far as that is open.
    plans: BTreeMap<(usize, usize, usize), i64>,
    ended: BTreeSet<usize>,
}

impl Model {
    fn book(&mut self, asset: usize, partition: usize) -> &mut Book {
        self.books.entry((asset, partition)).or_default()
    }

    fn apply(&mut self, step: Step, now: i64) {
        match step {
            Step::Planned { asset, partition, run } if !self.ended.contains(&run) => {
                self.book(asset, partition).planned.insert(run);
                self.plans.insert((asset, partition, run), now);
            }
            Step::Materialized { asset, partition, run } => {
                self.settle(asset, partition, run);
                self.book(asset, partition).materialized = Some(now);
            }
            Step::Failed { asset, partition, run } => {
                self.settle(asset, partition, run);
                self.book(asset, partition).failed = Some(now);
            }
            Step::Wiped { asset } => (0..PARTITIONS.len()).for_each(|partition| self.wipe(asset, partition)),
            Step::WipedPartition { asset, partition } => self.wipe(asset, partition),
            Step::Succeeds { run } | Step::Canceled { run } => self.end(run, None),
            Step::Fails { run } => self.end(run, Some(now)),
            Step::Planned { .. } | Step::Observed { .. } => {}
        }
    }

    fn settle(&mut self, asset: usize, partition: usize, run: usize) {
        self.book(asset, partition).planned.remove(&run);
        self.plans.remove(&(asset, partition, run));
    }

    fn wipe(&mut self, asset: usize, partition: usize) {
        let book = self.book(asset, partition);
        (book.materialized, book.failed) = (None, None);
    }

    fn end(&mut self, run: usize, failed: Option<i64>) {
        if !self.ended.insert(run) {
            return;
        }
        for book in self.books.values_mut() {
            if book.planned.remove(&run) {
                book.failed = failed.or(book.failed);
            }
        }
        self.plans.retain(|(_, _, planner), _| *planner != run);
    }
}

/// Carries a history out on the state and in the model, and compares them after each step.
async fn play(instance: &SharedInstance, history: &[Step]) -> Result<(), TestCaseError> {
    // Names of their own: so all histories share a database.
    let names: Vec<String> = (0..2).map(|n| format!("{}/{n}", RunId::random())).collect();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(working_run(instance).await);
    }
    let mut model = Model::default();
    for (now, step) in history.iter().enumerate() {
        let now = now as i64 + 1;
        carry_out(instance, &names, &runs, *step, now).await;
        model.apply(*step, now);
        compare(instance, &names, &runs, &model).await?;
    }
    Ok(())
}

async fn carry_out(instance: &SharedInstance, names: &[String], runs: &[Lease], step: Step, now: i64) {
    let event = match step {
        Step::Planned { asset, partition, run } => planned(runs[run].run_id, &names[asset], PARTITIONS[partition], now),
        Step::Materialized { asset, partition, run } => {
            materialized(runs[run].run_id, &names[asset], PARTITIONS[partition], now)
        }
        Step::Failed { asset, partition, run } => failed(runs[run].run_id, &names[asset], PARTITIONS[partition], now),
        Step::Observed { asset } => {
            about(EventKind::AssetObservation, RunId::NONE, &names[asset], None, now, serde_json::Value::Null)
        }
        Step::Wiped { asset } => return instance.wipe_asset(&names[asset], None, at(now)).await.unwrap(),
        Step::WipedPartition { asset, partition } => {
            let keys: Vec<String> = PARTITIONS[partition].iter().map(|key| (*key).to_owned()).collect();
            return instance.wipe_asset(&names[asset], Some(&keys), at(now)).await.unwrap();
        }
        // A run that has ended takes no command: then nothing happens.
        Step::Succeeds { run } => return end(instance, runs[run], Command::Succeed, now).await,
        Step::Fails { run } => {
            return end(instance, runs[run], Command::Fail(Problem::new(Code::Bug, "broken")), now).await;
        }
        Step::Canceled { run } => return end(instance, runs[run], Command::ForceCancel, now).await,
    };
    instance.append(&[event], None).await.unwrap();
}

async fn end(instance: &SharedInstance, lease: Lease, command: Command, now: i64) {
    let _ = instance.command(lease.run_id, command, None, None, at(now)).await;
}

async fn compare(
    instance: &SharedInstance,
    names: &[String],
    runs: &[Lease],
    model: &Model,
) -> Result<(), TestCaseError> {
    for (asset, name) in names.iter().enumerate() {
        let stored = instance.asset_partitions(name, &[]).await.unwrap();
        let found: Vec<_> =
            stored.iter().map(|p| (p.partition.as_str(), p.status, p.materialized.map(|m| m.1))).collect();
        let expected: Vec<_> = (0..PARTITIONS.len())
            .filter_map(|partition| {
                let book = model.books.get(&(asset, partition))?;
                Some((PARTITIONS[partition].unwrap_or(""), book.status()?, book.materialized.map(at)))
            })
            .collect();
        prop_assert_eq!(&found, &expected);
        let counts = instance.count_partitions(name).await.unwrap();
        let count = |status| expected.iter().filter(|(_, s, _)| *s == status).count() as u64;
        prop_assert_eq!(counts.materialized, count(PartitionStatus::Materialized));
        prop_assert_eq!(counts.failed, count(PartitionStatus::Failed));
        prop_assert_eq!(counts.materializing, count(PartitionStatus::Materializing));
        let record = instance.assets(std::slice::from_ref(name), None, 1).await.unwrap().pop().unwrap_or_default();
        let newest = (0..PARTITIONS.len()).filter_map(|p| model.books.get(&(asset, p))?.materialized).max();
        prop_assert_eq!(record.materialized.map(|m| m.1), newest.map(at));
        prop_assert_eq!(record.data_version, newest.map(|now| format!("d{now}")));
        let planner = model.plans.iter().filter(|((of, _, _), _)| *of == asset).max_by_key(|(_, now)| **now);
        prop_assert_eq!(record.in_progress, planner.map(|((_, _, run), _)| runs[*run].run_id));
    }
    Ok(())
}

pub(crate) async fn what_is_projected_of_any_history_is_what_a_model_says(backend: &dyn Backend) {
    let instance = backend.open().await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        TestRunner::new(config)
            .run(&prop::collection::vec(step(), 1..25), |history| runtime.block_on(play(&instance, &history)))
            .unwrap();
    });
}
