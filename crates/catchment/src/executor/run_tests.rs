//! Runs on a real state (SQLite in a temporary home) and a lake that is a list.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use catchment_core::state::Command;
use catchment_core::{Event, EventKind, RunStatus};
use catchment_instance::Lease;
use catchment_model::documents::{AssetFormat, AssetKind, Provenance};
use catchment_model::{Code, Problem};
use catchment_settings::clock;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Halt;
use super::run::{End, execute};
use super::test_world::World;
use crate::{
    AssetContext, CheckResult, Config, Definitions, Input, Level, Materialization, Observation, Optional,
    PartitionsDefinition, Staged, StepLogs, asset, asset_job, multi_asset,
};

fn datasets() -> PartitionsDefinition {
    PartitionsDefinition::dynamic("dataset_id")
}

#[asset]
async fn numbers(config: Config<Vec<u32>>) -> Result<Vec<u32>, Problem> {
    tracing::info!(how_many = config.0.len(), "numbers are made");
    Ok(config.0)
}

#[asset]
async fn total(ctx: AssetContext, numbers: Input<Vec<u32>>) -> Result<u32, Problem> {
    ctx.add_metadata("count", numbers.len());
    ctx.log(Level::Info, "adding");
    Ok(numbers.iter().sum())
}

#[asset]
async fn panics() -> Result<u32, Problem> {
    panic!("the {} fell over", "cow")
}

#[asset]
async fn after_panic(panics: Input<u32>) -> Result<u32, Problem> {
    Ok(*panics)
}

#[asset(deps = ["after_panic"])]
async fn far_after_panic() -> Result<(), Problem> {
    Ok(())
}

#[asset]
async fn alone() -> Result<u32, Problem> {
    Ok(1)
}

#[asset]
async fn endless() -> Result<(), Problem> {
    std::future::pending::<()>().await;
    Ok(())
}

/// A file that is staged, with a check that the partition decides.
#[asset(partitions = datasets)]
async fn file(ctx: AssetContext) -> Result<Staged, Problem> {
    let good = ctx.partition_key() == Some("good");
    ctx.observe("source", Observation::new().with("rows", 3));
    ctx.report_check(CheckResult::new("rows", good, "rows were counted").blocking().with("rows", 3));
    staged(&ctx)
}

/// A file that is staged once the run has been told to stop.
#[asset(partitions = datasets)]
async fn late_file(ctx: AssetContext) -> Result<Staged, Problem> {
    ctx.cancellation().cancelled().await;
    staged(&ctx)
}

pub(super) fn staged(ctx: &AssetContext) -> Result<Staged, Problem> {
    let path = ctx.scratch()?.join("data.parquet");
    std::fs::write(&path, b"x").map_err(|e| Problem::new(Code::Io, e.to_string()))?;
    Ok(Staged {
        path,
        sha256: "0".repeat(64),
        bytes: 1,
        kind: AssetKind::Spatial,
        format: AssetFormat::Geoparquet,
        crs: None,
        bounds: None,
        metadata: Default::default(),
        provenance: Provenance { batch_id: None, sources: Vec::new(), recipe: None, engine: None, crs_operation: None },
    })
}

/// Two files of one step, each of which may be left out.
#[multi_asset(assets = ["left_file", "right_file"], partitions = datasets, can_subset)]
async fn files(ctx: AssetContext) -> Result<(Optional<Staged>, Optional<(Staged, Materialization)>), Problem> {
    let wanted = |key: &str| ctx.is_selected(key).then(|| staged(&ctx)).transpose();
    let right = wanted("right_file")?.map(|file| (file, Materialization::new().with("side", "right")));
    Ok((Optional(wanted("left_file")?), Optional(right)))
}

/// What is committed as the left file, of any run.
#[asset(partitions = datasets)]
async fn version_of_left(left_file: Input<crate::Committed>) -> Result<u64, Problem> {
    Ok(left_file.asset.version)
}

#[tokio::test]
async fn what_an_earlier_run_committed_is_taken_from_the_lake_in_its_newest_version() {
    let definitions = Definitions::new("test").assets([files(), version_of_left()]);
    let jobs = definitions.job(asset_job("files", ["left_file"])).job(asset_job("after", ["version_of_left"]));
    let world = World::of(jobs).await;
    let run = async |job: &str, dataset: &str| {
        let lease = world.launched(job, json!({}), Some(dataset)).await;
        (lease, world.execute(lease).await.unwrap())
    };
    for dataset in ["d", "d", "other"] {
        assert_eq!(run("files", dataset).await.1, End::Success);
    }
    let (lease, end) = run("after", "d").await;
    assert_eq!(end, End::Success);
    let loaded = world.told(lease, EventKind::LoadedInput).await;
    assert_eq!(loaded[0].1["manager_key"], "catchment/lake");
    let kept = std::fs::read_to_string(world.home.root().join("storage/version_of_left/@d.json")).unwrap();
    assert_eq!(kept, "2", "the newest version of its dataset, not of another");
    assert!(!world.home.root().join("storage/left_file").exists(), "there is no copy beside the lake");
    let (_, end) = run("after", "never").await;
    let End::Failure(problem) = end else { panic!("{end:?}") };
    assert!(problem.to_string().contains("left_file"), "{problem}");
}

/// A number that may be left out, with what is said of it.
#[multi_asset(assets = ["some", "none"], can_subset)]
async fn numbers_or_not() -> Result<(Optional<(u32, Materialization)>, Optional<(u32, Materialization)>), Problem> {
    Ok((Optional(Some((7, Materialization::new().with("unit", "m")))), Optional(None)))
}

#[tokio::test]
async fn a_staged_file_that_may_be_left_out_is_committed_where_it_is_not() {
    let world = World::of(Definitions::new("test").assets([files()]).job(asset_job("files", ["*"]))).await;
    let lease = world.launched("files", json!({}), Some("d")).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(world.list.asked.load(Ordering::SeqCst), 2);
    let made = world.told(lease, EventKind::AssetMaterialization).await;
    assert!(made.iter().all(|(_, data)| data["metadata"]["version"].is_object()), "{made:?}");
    assert_eq!(made[1].1["metadata"]["side"]["value"], "right");
    let selection = crate::Selection { assets: vec!["right_file".into()], ..Default::default() };
    let run =
        catchment_core::NewRun { selection, partition_key: Some("d".into()), ..super::test_world::new_run("files") };
    let lease = world.launch(run).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(world.list.asked.load(Ordering::SeqCst), 3, "what is not selected is not committed");
}

#[tokio::test]
async fn what_is_said_of_a_value_that_may_be_left_out_is_kept() {
    let definitions = Definitions::new("test").assets([numbers_or_not()]);
    let made = crate::materialize(&definitions, ["some", "none"]).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!(made.value("some").as_deref(), Some(&7_u32));
    assert_eq!(made.metadata("some").unwrap()["unit"], crate::MetadataValue::Text("m".into()));
    assert_eq!(made.value::<u32>("none"), None);
}

#[asset(checks = ["a"], blocking_checks = ["b"])]
async fn checked(ctx: AssetContext, config: Config<String>) -> Result<u32, Problem> {
    for name in ["a", "b"] {
        ctx.report_check(CheckResult::new(name, config.0 != name, "as was asked"));
    }
    Ok(1)
}

#[tokio::test]
async fn a_check_blocks_only_where_it_says_so() {
    let definitions = Definitions::new("test").assets([checked()]);
    assert!(definitions.snapshot().checks[1].blocking);
    for (fails, blocks) in [("none", false), ("a", false), ("b", true)] {
        let config = json!({"ops": {"checked": {"config": fails}}});
        let made = crate::materialize(&definitions, ["checked"]).config(config).await.unwrap();
        assert_eq!(made.success(), !blocks, "{fails}: {:?}", made.failures);
    }
}

fn definitions() -> Definitions {
    Definitions::new("test")
        .partitions(datasets())
        .assets([
            numbers(),
            total(),
            panics(),
            after_panic(),
            far_after_panic(),
            alone(),
            endless(),
            file(),
            late_file(),
        ])
        .job(asset_job("sum", ["numbers", "total"]))
        .job(asset_job("broken", ["panics", "after_panic", "far_after_panic", "alone"]))
        .job(asset_job("endless", ["endless"]))
        .job(asset_job("file", ["file"]))
        .job(asset_job("late_file", ["late_file"]))
}

#[tokio::test]
async fn a_run_tells_its_whole_story_in_order() {
    let _logs = tracing_subscriber::registry().with(StepLogs).set_default();
    let world = World::of(definitions()).await;
    let lease = world.launched("sum", json!({"ops": {"numbers": {"config": [1, 2, 4]}}}), None).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    let expected = [
        "PIPELINE_ENQUEUED",
        "PIPELINE_STARTING",
        "PIPELINE_START",
        "ASSET_MATERIALIZATION_PLANNED numbers",
        "ASSET_MATERIALIZATION_PLANNED total",
        "STEP_START numbers",
        "STEP_OUTPUT numbers",
        "HANDLED_OUTPUT numbers",
        "ASSET_MATERIALIZATION numbers",
        "STEP_SUCCESS numbers",
        "STEP_START total",
        "STEP_INPUT total",
        "STEP_OUTPUT total",
        "HANDLED_OUTPUT total",
        "ASSET_MATERIALIZATION total",
        "STEP_SUCCESS total",
        "PIPELINE_SUCCESS",
    ];
    assert_eq!(world.story(lease).await, expected);
    let events = world.events(lease).await;
    let lines = events.iter().filter(|event| event.event.kind == EventKind::Log);
    let lines: Vec<_> = lines.map(|event| (event.event.step_key.as_deref(), event.event.message.as_str())).collect();
    assert!(lines.contains(&(Some("numbers"), "numbers are made how_many=3")), "{lines:?}");
    assert!(lines.contains(&(Some("total"), "adding")), "{lines:?}");
    let made = |e: &&Event| e.event.kind == EventKind::AssetMaterialization && e.event.data["asset_key"] == "total";
    let made = events.iter().find(made).unwrap();
    assert_eq!(made.event.data["metadata"]["count"], json!({"type": "int", "value": 3}));
    assert!(world.list.opened.lock().unwrap().is_empty(), "a run without lake outputs is not opened in the ledger");
}

#[tokio::test]
async fn a_panic_fails_its_step_with_message_and_place_and_skips_what_needs_it() {
    let world = World::of(definitions()).await;
    let lease = world.launched("broken", json!({}), None).await;
    let End::Failure(problem) = world.execute(lease).await.unwrap() else { panic!("it has to fail") };
    assert_eq!(problem.code, Code::Bug);
    assert_eq!(problem.cause.as_deref(), Some("the cow fell over"));
    assert!(problem.place.unwrap().contains("run_tests.rs"));
    let story = world.story(lease).await;
    for told in
        ["STEP_FAILURE panics", "STEP_SKIPPED after_panic", "STEP_SKIPPED far_after_panic", "STEP_SUCCESS alone"]
    {
        assert!(story.contains(&told.to_owned()), "{told} is not in {story:?}");
    }
    assert_eq!(story.last().unwrap(), "PIPELINE_FAILURE");
    let run = world.instance.run(lease.run_id).await.unwrap().unwrap();
    assert_eq!(run.problem.unwrap().cause.as_deref(), Some("the cow fell over"));
}

#[tokio::test]
async fn a_staged_file_is_checked_then_committed_then_told() {
    let world = World::of(definitions()).await;
    let lease = world.launched("file", json!({}), Some("good")).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    let story = world.story(lease).await;
    let check = story.iter().position(|told| told == "ASSET_CHECK_EVALUATION file").unwrap();
    let made = story.iter().position(|told| told == "ASSET_MATERIALIZATION file").unwrap();
    assert!(check < made);
    assert_eq!(world.list.opened.lock().unwrap()[0].expected_outputs, ["file"]);
    assert!(!world.home.scratch_dir(&lease.run_id.to_string()).exists(), "scratch is removed");
    let events = world.events(lease).await;
    let made = events.iter().find(|event| event.event.kind == EventKind::AssetMaterialization).unwrap();
    assert_eq!(made.event.data["metadata"]["version"]["value"], 1);
    assert_eq!(made.event.data["partition"], "good");
}

#[tokio::test]
async fn a_ledger_that_did_not_answer_when_the_run_was_opened_is_asked_again() {
    let world = World::of(definitions()).await;
    world.list.away.store(1, Ordering::SeqCst);
    let lease = world.launched("file", json!({}), Some("good")).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(world.list.opened.lock().unwrap().len(), 1);
    assert_eq!(world.list.away.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_run_config_that_is_wrong_fails_the_run_before_any_step_with_every_fault() {
    let world = World::of(definitions()).await;
    let wrong = json!({"ops": {"numbers": {"config": "one"}, "nothing": {}}});
    let lease = world.launched("sum", wrong, None).await;
    let End::Failure(problem) = world.execute(lease).await.unwrap() else { panic!("it has to fail") };
    assert_eq!(problem.code, Code::InvalidConfig);
    let paths: Vec<_> = problem.faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["$.ops.nothing", "$.ops.numbers.config"]);
    assert!(world.steps(lease, EventKind::StepStart).await.is_empty());
}

#[tokio::test]
async fn a_blocking_check_that_fails_keeps_the_file_out_and_says_its_numbers() {
    let world = World::of(definitions()).await;
    let lease = world.launched("file", json!({}), Some("bad")).await;
    let End::Failure(problem) = world.execute(lease).await.unwrap() else { panic!("it has to fail") };
    assert_eq!(problem.code, Code::CheckFailed);
    assert_eq!(problem.cause.as_deref(), Some("rows: rows were counted (rows = 3)"));
    assert_eq!(world.list.asked.load(Ordering::SeqCst), 0);
    let observed = world.told(lease, EventKind::AssetObservation).await;
    assert_eq!(observed[0].1["asset_key"], "source", "what was seen is true all the same");
    assert_eq!(observed.len(), 1);
}

#[tokio::test]
async fn a_cancel_ends_the_run_within_a_second() {
    let world = World::of(definitions()).await;
    let lease = world.launched("endless", json!({}), None).await;
    let cancel = async {
        world.started(lease).await;
        world.instance.command(lease.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
        clock::monotonic()
    };
    let (end, asked): (_, Instant) = tokio::join!(world.execute(lease), cancel);
    assert_eq!(end.unwrap(), End::Canceled);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(world.status(lease).await, RunStatus::Canceled);
}

#[tokio::test]
async fn a_signal_cancels_through_the_state() {
    let world = World::of(definitions()).await;
    let lease = world.launched("endless", json!({}), None).await;
    let halt = Halt::default();
    let definitions = definitions();
    let run = execute(&definitions, world.instance.clone(), world.resources.clone(), lease, halt.clone());
    let signal = async {
        world.started(lease).await;
        halt.stop(Problem::new(Code::Canceled, "SIGTERM"));
    };
    let (end, ()) = tokio::join!(run, signal);
    assert_eq!(end.unwrap(), End::Canceled);
    let story = world.story(lease).await;
    assert_eq!(story[story.len() - 2..], ["PIPELINE_CANCELING", "PIPELINE_CANCELED"]);
}

#[tokio::test]
async fn a_lost_lease_commits_nothing_and_writes_nothing() {
    let world = World::of(definitions()).await;
    let lease = world.launched("late_file", json!({}), Some("good")).await;
    let revoke = async {
        world.started(lease).await;
        world.instance.revoke(lease.run_id, clock::now()).await.unwrap();
        world.events(lease).await.len()
    };
    let (end, events) = tokio::join!(world.execute(lease), revoke);
    assert_eq!(end.unwrap_err().code, Code::LeaseLost);
    assert_eq!(world.list.asked.load(Ordering::SeqCst), 0);
    assert_eq!(world.events(lease).await.len(), events);
    assert_eq!(world.status(lease).await, RunStatus::Started, "the monitor decides about it");
}

#[tokio::test]
async fn a_process_with_an_old_epoch_does_not_even_start() {
    let world = World::of(definitions()).await;
    let lease = world.launched("sum", json!({}), None).await;
    let old = Lease { epoch: lease.epoch - 1, ..lease };
    assert_eq!(world.execute(old).await.unwrap_err().code, Code::LeaseLost);
    assert_eq!(world.status(lease).await, RunStatus::Starting);
}

#[tokio::test]
async fn a_run_that_was_cancelled_before_it_started_ends_at_once() {
    let world = World::of(definitions()).await;
    let lease = world.launched("sum", json!({}), None).await;
    world.instance.command(lease.run_id, Command::Cancel, None, None, clock::now()).await.unwrap();
    assert_eq!(world.execute(lease).await.unwrap(), End::Canceled);
    assert_eq!(world.status(lease).await, RunStatus::Canceled);
}

#[tokio::test]
async fn a_job_that_is_not_defined_fails_the_run_with_what_there_is() {
    let world = World::of(definitions()).await;
    let lease = world.launched("sums", json!({}), None).await;
    let End::Failure(problem) = world.execute(lease).await.unwrap() else { panic!("it has to fail") };
    assert_eq!(problem.code, Code::NotFound);
    assert!(problem.cause.unwrap().contains("sum, broken"));
}
