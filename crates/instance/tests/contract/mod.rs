//! What every backend of the state keeps: written against the traits alone.

pub(crate) mod events;
pub(crate) mod runs;

use std::collections::BTreeMap;

use catchment_core::{NewRun, RunId, Selection};
use catchment_instance::SharedInstance;
use jiff::Timestamp;

/// Opens the same state again and again, as several processes do.
#[async_trait::async_trait]
pub(crate) trait Backend: Send + Sync {
    /// A new handle on it.
    async fn open(&self) -> SharedInstance;
}

/// Makes a test of each promise, for a backend.
macro_rules! suite {
    ($backend:expr) => {
        contract::tests!($backend; runs:
            a_run_goes_from_the_queue_to_its_end_with_an_event_for_each_step,
            what_was_written_is_there_after_a_new_start,
            a_run_is_launched_once_however_many_daemons_try,
            a_newer_epoch_shuts_the_old_process_out,
            a_run_that_never_started_is_put_back_and_the_late_process_is_refused,
            a_lease_is_prolonged_and_never_shortened,
            a_queued_run_is_cancelled_at_once_and_a_live_one_shows_it_to_its_holder,
            a_run_that_has_ended_takes_nothing_more,
            an_unknown_run_is_not_found_and_a_known_id_is_refused,
            runs_are_listed_newest_first_by_filter_and_page,
        );
        contract::tests!($backend; events:
            events_of_a_run_keep_their_order_and_content,
            a_follower_of_one_kind_skips_the_others,
            a_follower_misses_no_event_of_many_writers,
            a_follow_cursor_never_moves_back,
        );
    };
}

macro_rules! tests {
    ($backend:expr; $module:ident: $($name:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let backend = $backend;
                contract::$module::$name(&backend).await;
            }
        )*
    };
}

pub(crate) use {suite, tests};

/// A point of time, in seconds.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A run of `spatial_asset_job`.
pub(crate) fn new_run(partition: &str) -> NewRun {
    NewRun {
        run_id: RunId::random(),
        job_name: "spatial_asset_job".into(),
        location: "etl_pipelines".into(),
        run_config: serde_json::json!({ "ops": { "a": 1 } }),
        tags: BTreeMap::from([("dagster/partition".into(), partition.into()), ("team".into(), "maps".into())]),
        partition_key: Some(partition.into()),
        selection: Selection::default(),
        parent_run_id: None,
        root_run_id: None,
    }
}
