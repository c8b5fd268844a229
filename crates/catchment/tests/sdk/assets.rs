//! Assets of one and of several, checks, observations.

use catchment::metadata::{ColumnDep, ColumnLineage};
use catchment::{
    AssetContext, AssetSpec, AutomationCondition, CheckResult, Code, Definitions, EventKind, FreshnessPolicy, Input,
    Materialization, MetadataValue, Observation, Optional, Partition, PartitionRange, PartitionsDefinition, Problem,
    Severity, TimeWindow, asset, asset_check, asset_job, materialize, multi_asset, observable_source_asset,
};

/// Rows, with what is said of them.
#[asset(
    group = "town", owners = ["team:maps"], tags = [("tier", "1")], code_version = "2", metadata = [("unit", "m")],
    automation = AutomationCondition::eager(), deps = ["outside"], kinds = ["rust"],
    freshness = FreshnessPolicy::cron("0 9 * * *", std::time::Duration::from_secs(3600), "Europe/Zurich"),
)]
async fn rows() -> Result<(Vec<u32>, Materialization), Problem> {
    let deps_by_column = [("n".to_owned(), vec![ColumnDep { asset_key: "outside".into(), column_name: "m".into() }])];
    let lineage = ColumnLineage { deps_by_column: deps_by_column.into_iter().collect() };
    let said = Materialization::new().with("rows", 3).data_version("v7").column_lineage(lineage);
    Ok((vec![1, 2, 3], said))
}

/// Two of one function.
#[multi_asset(assets = ["low", "high"], can_subset, group = "town")]
async fn bounds(ctx: AssetContext, rows: Input<Vec<u32>>) -> Result<(Optional<u32>, Optional<u32>), Problem> {
    let wanted = |key: &str, value: Option<&u32>| Optional(value.copied().filter(|_| ctx.is_selected(key)));
    Ok((wanted("low", rows.iter().min()), wanted("high", rows.iter().max())))
}

/// Nothing to hand on: only said.
#[asset(deps = ["rows"])]
async fn report() -> Result<Materialization, Problem> {
    Ok(Materialization::new().with("pages", 1))
}

#[observable_source_asset]
async fn outside() -> Result<Observation, Problem> {
    Ok(Observation::new().with("rows", 3).data_version("7"))
}

#[asset_check(asset = "rows", blocking)]
async fn enough(rows: Input<Vec<u32>>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(rows.len() > 2).with("rows", rows.len()))
}

#[asset_check(asset = "rows")]
async fn many(rows: Input<Vec<u32>>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(rows.len() > 200).severity(Severity::Warn).description("few rows"))
}

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01").timezone("Europe/Zurich")
}

#[asset(partitions = days)]
async fn of_day(day: Partition, range: PartitionRange, window: TimeWindow) -> Result<String, Problem> {
    Ok(format!("{} {}..{} {}", &*day, range.start, range.end, window.end.duration_since(window.start).as_hours()))
}

fn definitions() -> Definitions {
    Definitions::new("assets")
        .assets([rows(), bounds(), report(), outside(), of_day()])
        .asset_checks([enough(), many()])
        .external_asset(AssetSpec { key: "elsewhere".into(), ..Default::default() })
        .job(asset_job("town", ["group:town"]))
        .job(asset_job("around_rows", ["+rows+"]))
}

#[test]
fn what_is_said_of_an_asset_is_in_the_snapshot() {
    assert_eq!(definitions().check(), []);
    let snapshot = definitions().snapshot();
    let rows = snapshot.asset("rows").unwrap();
    assert_eq!((rows.group.as_str(), rows.code_version.as_deref(), rows.owners.len()), ("town", Some("2"), 1));
    assert_eq!((rows.tags["tier"].as_str(), &rows.metadata["unit"]), ("1", &MetadataValue::Text("m".into())));
    assert!(rows.automation.is_some() && rows.freshness.is_some());
    assert_eq!(rows.description, "Rows, with what is said of them.");
    let (low, high) = (snapshot.asset("low").unwrap(), snapshot.asset("high").unwrap());
    assert_eq!((low.step.as_str(), high.step.as_str()), ("bounds", "bounds"));
    assert_eq!(low.deps, ["rows"]);
    assert_eq!(snapshot.asset("elsewhere").unwrap().step, "");
    assert_eq!(snapshot.partitions[0].name, "day");
    let check = snapshot.checks.iter().find(|check| check.name == "enough").unwrap();
    assert_eq!((check.asset_key.as_str(), check.blocking, check.step.as_str()), ("rows", true, "rows_enough"));
    let needs: Vec<_> = snapshot.jobs[0].steps.iter().map(|step| (step.key.clone(), step.needs.len())).collect();
    // What is downstream of the rows waits for their blocking check too.
    assert_eq!(needs.iter().find(|(key, _)| key == "bounds").unwrap().1, 2);
}

#[test]
fn a_job_selects_assets_by_group_and_neighbourhood() {
    let snapshot = definitions().snapshot();
    let assets = |job: &str| {
        let steps = &snapshot.job(job).unwrap().steps;
        let mut keys: Vec<_> = steps.iter().flat_map(|step| step.assets.clone()).collect();
        keys.sort();
        keys
    };
    assert_eq!(assets("town"), ["high", "low", "rows"]);
    assert_eq!(assets("around_rows"), ["high", "low", "outside", "report", "rows"]);
}

#[tokio::test]
async fn several_assets_of_one_step_are_made_with_their_checks_and_metadata() {
    let made = materialize(&definitions(), ["rows", "low", "high", "report"]).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!((made.value("low").as_deref(), made.value("high").as_deref()), (Some(&1_u32), Some(&3_u32)));
    assert_eq!(made.metadata("rows").unwrap()["rows"], MetadataValue::Int(3));
    assert!(matches!(made.metadata("rows").unwrap()["dagster/column_lineage"], MetadataValue::TableColumnLineage(_)));
    assert_eq!(made.metadata("report").unwrap()["pages"], MetadataValue::Int(1));
    assert_eq!((made.check("rows", "enough"), made.check("rows", "many")), (Some(true), Some(false)));
    let event = made.events.iter().find(|event| event.kind == EventKind::AssetMaterialization).unwrap();
    assert_eq!((event.asset_key(), event.data["data_version"].as_str()), (Some("rows"), Some("v7")));
}

#[tokio::test]
async fn a_subset_of_the_assets_of_a_step_is_made_alone() {
    let made = materialize(&definitions(), ["rows", "low"]).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!((made.value("low").as_deref(), made.value::<u32>("high")), (Some(&1_u32), None));
}

#[tokio::test]
async fn an_asset_that_is_made_elsewhere_is_observed_and_not_materialised() {
    let made = materialize(&definitions(), ["outside"]).await.unwrap();
    let kinds: Vec<_> = made.events.iter().filter(|event| event.asset_key() == Some("outside")).collect();
    assert!(kinds.iter().any(|event| event.kind == EventKind::AssetObservation), "{kinds:?}");
    assert!(!kinds.iter().any(|event| event.kind == EventKind::AssetMaterialization), "{kinds:?}");
}

#[tokio::test]
async fn partition_range_and_window_of_a_day_reach_its_asset() {
    let made = materialize(&definitions(), ["of_day"]).partition("2026-03-29").await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    let said = made.value::<String>("of_day").unwrap();
    // The day on which summer time begins has 23 hours.
    assert_eq!(*said, "2026-03-29 2026-03-29..2026-03-29 23");
}

#[asset(retry = 1)]
async fn tries(context: AssetContext) -> Result<usize, Problem> {
    let folder = context.scratch()?;
    let there = std::fs::read_dir(&folder).unwrap().count();
    std::fs::write(folder.join("left"), b"x").unwrap();
    assert_eq!(context.scratch()?, folder);
    if context.retry_number() == 0 {
        return Err(Problem::new(Code::Io, "not yet"));
    }
    Ok(there)
}

#[tokio::test]
async fn each_try_begins_with_an_empty_scratch_folder() {
    let made = materialize(&Definitions::new("tries").assets([tries()]), ["tries"]).await.unwrap();
    assert_eq!(made.value("tries").as_deref(), Some(&0_usize), "{:?}", made.failures);
}
