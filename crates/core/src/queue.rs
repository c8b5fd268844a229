//! Which runs may start next. Pure.

use crate::run::{Run, RunId, RunStatus};
use crate::tags;

/// What bounds the runs that work at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Runs that are being started, work, or are being cancelled.
    pub max_concurrent_runs: usize,
}

/// The queued runs to launch now, in this order: the highest priority first (tag `dagster/priority`, an integer, 0
/// where it is missing or is none), and among equals the one that has waited longest.
///
/// `runs` are all that are not final, oldest first.
pub fn next(runs: &[Run], limits: Limits) -> Vec<RunId> {
    let active = runs.iter().filter(|run| run.status.is_active()).count();
    let free = limits.max_concurrent_runs.saturating_sub(active);
    let mut queued: Vec<_> = runs.iter().filter(|run| run.status == RunStatus::Queued).collect();
    queued.sort_by_key(|run| std::cmp::Reverse(priority(run)));
    queued.into_iter().take(free).map(|run| run.run_id).collect()
}

fn priority(run: &Run) -> i64 {
    run.tags.get(tags::PRIORITY).and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{Limits, next, priority};
    use crate::run::{Run, RunId, RunStatus};
    use crate::tags;

    fn run(status: RunStatus, priority: Option<&str>) -> Run {
        Run {
            run_id: RunId::random(),
            job_name: "j".into(),
            location: "l".into(),
            status,
            run_config: serde_json::Value::Null,
            tags: priority.map(|p| (tags::PRIORITY.to_owned(), p.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
            partition_key: None,
            created_at: Timestamp::UNIX_EPOCH,
            launched_at: None,
            started_at: None,
            ended_at: None,
            lease_epoch: 0,
            lease_until: None,
            pid: None,
            problem: None,
        }
    }

    fn runs() -> impl Strategy<Value = Vec<Run>> {
        let status = prop::sample::select(RunStatus::ALL.to_vec());
        let priority = prop::option::of(prop::sample::select(vec!["-1", "0", "1", "7", "high"]));
        prop::collection::vec((status, priority).prop_map(|(s, p)| run(s, p)), 0..30)
    }

    proptest! {
        #[test]
        fn no_slot_is_left_free_and_none_is_used_twice(runs in runs(), max in 0usize..12) {
            let chosen = next(&runs, Limits { max_concurrent_runs: max });
            let active = runs.iter().filter(|r| r.status.is_active()).count();
            let queued = runs.iter().filter(|r| r.status == RunStatus::Queued).count();
            prop_assert_eq!(chosen.len(), queued.min(max.saturating_sub(active)));
            let mut unique = chosen.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(unique.len(), chosen.len());
        }

        #[test]
        fn nobody_is_overtaken_but_by_a_higher_priority(runs in runs(), max in 0usize..12) {
            let chosen = next(&runs, Limits { max_concurrent_runs: max });
            let place = |run: &Run| chosen.iter().position(|id| *id == run.run_id).unwrap_or(usize::MAX);
            let queued: Vec<_> = runs.iter().filter(|r| r.status == RunStatus::Queued).collect();
            for (older, first) in queued.iter().enumerate() {
                for second in &queued[older + 1..] {
                    if priority(first) >= priority(second) {
                        prop_assert!(place(first) <= place(second));
                    } else {
                        prop_assert!(place(second) <= place(first));
                    }
                }
            }
        }

        #[test]
        fn only_queued_runs_are_chosen(runs in runs()) {
            for id in next(&runs, Limits { max_concurrent_runs: 100 }) {
                let run = runs.iter().find(|r| r.run_id == id);
                prop_assert_eq!(run.map(|r| r.status), Some(RunStatus::Queued));
            }
        }
    }
}
