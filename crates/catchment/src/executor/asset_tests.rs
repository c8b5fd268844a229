//! What happens to assets: checks, lineage, partitions, several of one step.

use std::collections::BTreeMap;

use catchment_core::definitions::ASSET_JOB;
use catchment_core::run::Selection;
use catchment_core::{EventKind, NewRun, tags};
use catchment_model::{Code, Problem};
use serde_json::{Value, json};

use super::run::End;
use super::test_world::{World, failure, new_run, strings};
use crate::{
    AssetContext, CheckResult, Definitions, Input, Inputs, Materialization, Optional, PartitionMapping,
    PartitionsDefinition, Severity, asset, asset_check, asset_job, multi_asset,
};

#[asset(code_version = "1")]
async fn raw() -> Result<u32, Problem> {
    Ok(5)
}

#[asset(code_version = "1", deps = ["raw"])]
async fn cooked() -> Result<(), Problem> {
    Ok(())
}

#[asset_check(asset = "raw", blocking)]
async fn is_big(raw: Input<u32>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(*raw > 10).with("value", *raw))
}

#[asset_check(asset = "raw", blocking)]
async fn is_huge(raw: Input<u32>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(*raw > 100).severity(Severity::Warn))
}

#[tokio::test]
async fn a_blocking_check_that_fails_stops_what_is_downstream_of_its_asset() {
    let definitions = Definitions::new("test").assets([raw(), cooked()]).asset_checks([is_big()]);
    let world = World::of(definitions.job(asset_job("meal", ["raw", "cooked"]))).await;
    let (lease, end) = world.run("meal").await;
    let problem = failure(end);
    assert_eq!(problem.code, Code::CheckFailed);
    assert_eq!(world.steps(lease, EventKind::AssetMaterialization).await, ["raw"]);
    assert_eq!(world.steps(lease, EventKind::StepSkipped).await, ["cooked"]);
    assert_eq!(world.steps(lease, EventKind::AssetFailedToMaterialize).await, ["cooked"]);
    let planned = world.told(lease, EventKind::AssetCheckEvaluationPlanned).await;
    assert_eq!((planned[0].0.as_str(), planned[0].1["check_name"].as_str()), ("raw_is_big", Some("is_big")));
    let evaluated = world.told(lease, EventKind::AssetCheckEvaluation).await;
    assert_eq!((&evaluated[0].1["passed"], &evaluated[0].1["severity"]), (&json!(false), &json!("ERROR")));
}

#[tokio::test]
async fn a_check_that_fails_as_a_warning_stops_nothing() {
    let definitions = Definitions::new("test").assets([raw(), cooked()]).asset_checks([is_huge()]);
    let world = World::of(definitions.job(asset_job("meal", ["raw", "cooked"]))).await;
    let (lease, end) = world.run("meal").await;
    assert_eq!(end, End::Success);
    assert_eq!(world.steps(lease, EventKind::AssetMaterialization).await, ["cooked", "raw"]);
}

#[tokio::test]
async fn a_check_runs_alone_on_the_value_that_was_kept() {
    let world = World::of(Definitions::new("test").assets([raw()]).asset_checks([is_big(), is_huge()])).await;
    let selection = Selection { assets: strings(&["raw"]), ..Selection::default() };
    let lease = world.launch(NewRun { selection, ..new_run(ASSET_JOB) }).await;
    world.execute(lease).await.unwrap();
    let selection = Selection { checks: strings(&["raw:is_huge"]), ..Selection::default() };
    let lease = world.launch(NewRun { selection, ..new_run(ASSET_JOB) }).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(world.steps(lease, EventKind::StepStart).await, ["raw_is_huge"]);
    assert_eq!(world.steps(lease, EventKind::LoadedInput).await, ["raw_is_huge"]);
    assert_eq!(world.told(lease, EventKind::AssetCheckEvaluation).await.len(), 1);
}

#[asset]
async fn versioned() -> Result<(u32, Materialization), Problem> {
    Ok((1, Materialization::new().with("rows", 3).data_version("seven")))
}

#[asset(code_version = "2", deps = ["raw"])]
async fn derived(versioned: Input<u32>) -> Result<u32, Problem> {
    Ok(*versioned)
}

fn made<'a>(told: &'a [(String, Value)], asset: &str) -> &'a Value {
    &told.iter().find(|(_, data)| data["asset_key"] == asset).unwrap().1
}

#[tokio::test]
async fn a_materialisation_says_of_which_versions_of_what_it_was_made() {
    let world = World::of(Definitions::new("test").assets([raw(), versioned(), derived()])).await;
    let of = async |assets: &[&str]| {
        let selection = Selection { assets: strings(assets), ..Selection::default() };
        let lease = world.launch(NewRun { selection, ..new_run(ASSET_JOB) }).await;
        assert_eq!(world.execute(lease).await.unwrap(), End::Success);
        world.told(lease, EventKind::AssetMaterialization).await
    };
    let all = of(&["raw", "versioned", "derived"]).await;
    let raw_version = made(&all, "raw")["data_version"].clone();
    assert_eq!(made(&all, "versioned")["data_version"], "seven");
    let first = made(&all, "derived");
    assert_eq!(first["input_data_versions"], json!({"raw": raw_version, "versioned": "seven"}));
    assert_eq!(first["code_version"], "2");
    // Alone, it knows the versions from the state, and the same code and inputs give the same version.
    let alone = of(&["derived"]).await;
    let second = made(&alone, "derived");
    assert_eq!(second["input_data_versions"], first["input_data_versions"]);
    assert_eq!(second["data_version"], first["data_version"]);
}

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01")
}

#[asset(partitions = days)]
async fn daily(ctx: AssetContext) -> Result<String, Problem> {
    let range = ctx.partition_range().unwrap();
    Ok(format!("{}..{}", range.start, range.end))
}

#[asset(partitions = days)]
async fn daily_after(daily: Inputs<String>) -> Result<usize, Problem> {
    Ok(daily.len())
}

#[tokio::test]
async fn a_run_over_a_range_materialises_each_of_its_partitions() {
    let world = World::of(Definitions::new("test").assets([daily(), daily_after()])).await;
    let range = BTreeMap::from([
        (tags::PARTITION_RANGE_START.to_owned(), "2026-01-01".to_owned()),
        (tags::PARTITION_RANGE_END.to_owned(), "2026-01-03".to_owned()),
    ]);
    let selection = |asset| Selection { assets: strings(&[asset]), ..Selection::default() };
    let run = NewRun { tags: range.clone(), selection: selection("daily"), ..new_run(ASSET_JOB) };
    let lease = world.launch(run).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    let told = world.told(lease, EventKind::AssetMaterialization).await;
    let keys: Vec<_> = told.iter().map(|(_, data)| data["partition"].as_str().unwrap()).collect();
    assert_eq!(keys, ["2026-01-01", "2026-01-02", "2026-01-03"]);
    assert_eq!(world.instance.count_partitions("daily").await.unwrap().materialized, 3);
    // What is downstream in a run of its own loads each partition that it needs.
    let lease = world.launch(NewRun { tags: range, selection: selection("daily_after"), ..new_run(ASSET_JOB) }).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    assert_eq!(world.told(lease, EventKind::LoadedInput).await.len(), 3);
}

#[tokio::test]
async fn a_partition_upstream_that_is_needed_and_does_not_exist_fails_the_step() {
    for allow_nonexistent_upstream_partitions in [false, true] {
        let mapping =
            PartitionMapping::TimeWindow { start_offset: -1, end_offset: -1, allow_nonexistent_upstream_partitions };
        let after = daily_after().mapping("daily", mapping);
        let world = World::of(Definitions::new("test").assets([daily(), after])).await;
        let selection = Selection { assets: strings(&["daily_after"]), ..Selection::default() };
        let run = NewRun { selection, partition_key: Some("2026-01-01".into()), ..new_run(ASSET_JOB) };
        let lease = world.launch(run).await;
        let end = world.execute(lease).await.unwrap();
        if allow_nonexistent_upstream_partitions {
            assert_eq!(end, End::Success);
        } else {
            let problem = failure(end);
            assert_eq!(
                (problem.code, problem.cause.unwrap()),
                (Code::NotFound, "`day` has no `2025-12-31`".to_owned())
            );
        }
    }
}

#[multi_asset(assets = ["left", "right"], can_subset)]
async fn pair(ctx: AssetContext) -> Result<(Optional<u32>, Optional<u32>), Problem> {
    let wanted = |asset| Optional(ctx.is_selected(asset).then_some(1));
    Ok((wanted("left"), wanted("right")))
}

#[asset]
async fn of_left(left: Input<u32>) -> Result<u32, Problem> {
    Ok(*left)
}

#[tokio::test]
async fn a_run_makes_some_assets_of_a_step_without_the_others() {
    let world = World::of(Definitions::new("test").assets([pair(), of_left()])).await;
    let selection = Selection { assets: strings(&["left"]), ..Selection::default() };
    let lease = world.launch(NewRun { selection, ..new_run(ASSET_JOB) }).await;
    assert_eq!(world.execute(lease).await.unwrap(), End::Success);
    let made: Vec<_> = world.told(lease, EventKind::AssetMaterialization).await;
    assert_eq!(made.len(), 1);
    assert_eq!((made[0].0.as_str(), &made[0].1["asset_key"]), ("pair", &json!("left")));
    assert_eq!(world.told(lease, EventKind::AssetMaterializationPlanned).await.len(), 1);
}
