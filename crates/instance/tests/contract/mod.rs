//! What every backend of the state keeps: written against the traits alone.

pub(crate) mod assets;
pub(crate) mod checks;
pub(crate) mod daemons;
pub(crate) mod events;
pub(crate) mod kept;
pub(crate) mod model;
pub(crate) mod pools;
pub(crate) mod purge;
pub(crate) mod runs;
pub(crate) mod sensors;
pub(crate) mod ticks;

use std::collections::BTreeMap;

use catchment_core::backfill::{BackfillId, BackfillTarget, NewBackfill};
use catchment_core::sensor::{ClaimKey, RunRequest, SensorResult};
use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, NewRun, RunId, Selection};
use catchment_instance::{Lease, SharedInstance};
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
            the_process_of_a_run_is_noted_until_another_may_hold_its_lease,
            a_queued_run_is_cancelled_at_once_and_a_live_one_shows_it_to_its_holder,
            a_run_that_has_ended_takes_nothing_more,
            an_unknown_run_is_not_found_and_a_known_id_is_refused,
            runs_are_listed_newest_first_by_filter_and_page,
            runs_are_counted_and_listed_by_location_time_and_id,
            a_run_keeps_its_selection_and_its_parents,
            tags_are_added_changed_and_completed,
            a_forced_cancel_ends_a_run_at_once_and_shuts_its_process_out,
        );
        contract::tests!($backend; events:
            events_of_a_run_keep_their_order_and_content,
            a_follower_of_one_kind_skips_the_others,
            a_follower_misses_no_event_of_many_writers,
            a_follower_misses_nothing_where_writers_give_up_half_way,
            events_are_found_by_each_filter_newest_first_in_pages,
            a_zero_byte_in_a_line_is_replaced,
        );
        contract::tests!($backend; purge:
            a_run_key_outlives_the_deletion_of_its_run,
            a_run_key_makes_one_run_however_many_ask_at_once,
            a_run_is_deleted_with_its_events_and_tags_once_it_has_ended,
            runs_are_purged_by_their_end_oldest_first,
            a_purge_of_events_takes_lines_and_leaves_what_changed_a_run,
            ids_of_events_that_were_removed_are_not_given_again,
        );
        contract::tests!($backend; daemons:
            one_daemon_leads_until_its_time_runs_out_or_it_resigns,
            of_many_daemons_that_begin_at_once_one_leads,
            an_old_leader_can_write_nothing_more,
            heartbeats_show_the_last_of_each_daemon,
            a_follow_cursor_never_moves_back,
        );
    };
}

/// The same for sensors, schedules, assets, pools and what else is kept.
macro_rules! ledger_suite {
    ($backend:expr) => {
        contract::tests!($backend; sensors:
            one_admission_writes_run_key_partition_cursor_and_tick,
            the_same_claim_again_before_it_is_finished_keeps_its_outcome,
            the_same_claim_again_after_it_was_finished_is_a_duplicate,
            another_object_with_the_same_run_key_is_a_duplicate,
            two_objects_with_one_run_key_in_one_answer_make_one_run,
            a_refusal_does_not_use_its_run_key_up,
            a_request_without_a_claim_is_launched_once_for_its_run_key,
            admission_by_many_at_once_makes_each_run_once,
            what_a_sensor_reports_of_assets_and_partitions_is_admitted_with_its_cursor,
            a_request_of_assets_alone_goes_to_the_hidden_job,
            a_schedule_asks_once_for_each_time_and_run_key,
            run_keys_of_one_sensor_are_not_those_of_another,
            a_tick_that_another_daemon_has_ended_admits_nothing,
            very_many_requests_are_admitted_and_asked_for_again_without_a_second_run,
            a_text_that_no_column_takes_is_refused_and_leaves_nothing,
        );
        contract::tests!($backend; ticks:
            a_tick_that_was_cut_off_is_ended_by_the_next,
            a_failed_tick_keeps_the_cursor_unless_it_gives_another,
            what_user_code_logged_stays_with_its_tick,
            ticks_are_listed_by_status_time_and_page,
            old_ticks_are_removed_by_kind_and_status_within_a_limit,
            an_instigator_runs_since_it_was_switched_on,
            a_cursor_is_set_and_forgotten_by_hand,
            a_tick_that_someone_interrupts_admits_nothing,
        );
        contract::tests!($backend; assets:
            the_newest_materialisation_of_an_asset_and_its_partition_is_kept,
            a_partition_is_materialising_while_a_live_run_has_planned_it,
            a_partition_whose_later_run_failed_has_failed,
            what_a_failed_run_left_undone_has_failed_and_the_log_says_so,
            what_a_cancelled_run_left_undone_is_as_it_was_before,
            two_runs_of_one_partition_are_told_apart,
            a_run_that_has_ended_plans_nothing,
            a_wiped_partition_is_gone_and_the_asset_is_as_new_as_what_is_left,
            a_wiped_asset_is_gone_with_its_partitions,
            an_observation_is_not_a_materialisation,
            assets_are_listed_by_key_and_page,
            many_partitions_are_found_by_their_keys,
            writers_of_the_same_assets_do_not_stop_each_other,
        );
        contract::tests!($backend; checks:
            a_check_is_in_progress_until_it_is_evaluated,
            a_check_that_its_run_did_not_reach_was_skipped,
            a_check_whose_step_failed_could_not_be_evaluated,
            a_step_that_is_tried_again_evaluates_its_check_again,
            checks_of_partitions_and_from_outside_are_evaluations_of_their_own,
            the_newest_evaluation_of_each_check_is_found,
            the_newest_evaluation_of_each_partition_is_found,
        );
        contract::tests!($backend; pools:
            slots_never_exceed_the_limit_under_many_claims,
            the_highest_priority_then_the_longest_wait_comes_first,
            a_free_slot_goes_to_whoever_is_first_in_the_line,
            a_lower_limit_keeps_the_holders,
            a_run_that_ends_frees_its_slots_and_places,
            only_the_newest_lease_of_a_live_run_claims,
            pools_show_holders_and_those_who_wait,
        );
        contract::tests!($backend; kept:
            partitions_keep_their_order_and_are_added_once,
            many_partitions_are_added_and_taken_out_at_once,
            a_backfill_is_asked_for_once_and_changed_on_its_version,
            backfills_are_listed_by_status_location_and_page,
            an_alert_is_raised_once_for_its_key_even_after_its_removal,
            an_alert_is_due_until_it_is_delivered_or_given_up,
            an_alert_and_its_cursor_are_written_together,
            automation_keeps_its_states_and_evaluations,
            a_location_is_remembered_until_it_is_forgotten,
        );
        contract::tests!($backend; model:
            what_is_projected_of_any_history_is_what_a_model_says,
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

pub(crate) use {ledger_suite, suite, tests};

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

/// A request with a run key and a claim.
pub(crate) fn claimed(run_key: &str, key: &str, etag: &str) -> RunRequest {
    RunRequest {
        run_key: Some(run_key.into()),
        job_name: "spatial_asset_job".into(),
        run_config: serde_json::json!({ "batch": run_key }),
        tags: BTreeMap::from([("colour".into(), "blue".into())]),
        partition_key: Some("parcels".into()),
        claim: Some(ClaimKey { key: key.into(), etag: etag.into() }),
        selection: Selection::default(),
    }
}

/// A sensor's answer that asks for these runs.
pub(crate) fn requests(run_requests: impl IntoIterator<Item = RunRequest>) -> SensorResult {
    SensorResult { run_requests: run_requests.into_iter().collect(), ..SensorResult::default() }
}

/// An event about an asset.
pub(crate) fn about(
    kind: EventKind,
    run_id: RunId,
    asset: &str,
    partition: Option<&str>,
    second: i64,
    more: serde_json::Value,
) -> NewEvent {
    let mut data = serde_json::json!({ "asset_key": asset });
    let fields = data.as_object_mut().unwrap();
    fields.extend(partition.map(|key| ("partition".to_owned(), key.into())));
    if let serde_json::Value::Object(more) = more {
        fields.extend(more);
    }
    NewEvent {
        run_id,
        timestamp: at(second),
        kind,
        step_key: Some(asset.to_owned()),
        level: Level::Info,
        message: String::new(),
        data,
    }
}

/// A materialisation with the versions `d<second>` and `c1`.
pub(crate) fn materialized(run_id: RunId, asset: &str, partition: Option<&str>, second: i64) -> NewEvent {
    let versions = serde_json::json!({ "data_version": format!("d{second}"), "code_version": "c1" });
    about(EventKind::AssetMaterialization, run_id, asset, partition, second, versions)
}

/// A run's intention to materialise.
pub(crate) fn planned(run_id: RunId, asset: &str, partition: Option<&str>, second: i64) -> NewEvent {
    about(EventKind::AssetMaterializationPlanned, run_id, asset, partition, second, serde_json::Value::Null)
}

/// What a run says of an asset that it did not materialise.
pub(crate) fn failed(run_id: RunId, asset: &str, partition: Option<&str>, second: i64) -> NewEvent {
    about(EventKind::AssetFailedToMaterialize, run_id, asset, partition, second, serde_json::Value::Null)
}

/// A run that works, with its lease.
pub(crate) async fn working_run(instance: &SharedInstance) -> Lease {
    let run_id = instance.enqueue(new_run("p"), at(0)).await.unwrap().run_id;
    let run = instance.command(run_id, Command::Launch, None, None, at(0)).await.unwrap();
    let lease = Lease { run_id, epoch: run.lease_epoch };
    instance.command(run_id, Command::Start, Some(lease), None, at(0)).await.unwrap();
    lease
}

/// A line of a run's log.
pub(crate) fn line(run_id: RunId, n: i64) -> NewEvent {
    NewEvent {
        run_id,
        timestamp: at(n),
        kind: EventKind::Log,
        step_key: Some("raw_spatial_asset".into()),
        level: Level::Info,
        message: format!("line {n} — für alle"),
        data: serde_json::json!({ "n": n }),
    }
}

/// A backfill of a job.
pub(crate) fn backfill(id: &str) -> NewBackfill {
    NewBackfill {
        id: BackfillId(id.into()),
        location: "etl_pipelines".into(),
        target: BackfillTarget::Job { job: "spatial_asset_job".into(), partitions: vec!["parcels".into()] },
        policy: None,
        run_config: serde_json::Value::Null,
        tags: BTreeMap::new(),
        title: None,
        description: None,
    }
}
