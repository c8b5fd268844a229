//! What `check`, run config and `materialize` find before and while assets are made.

use std::sync::Arc;

use catchment::io_manager::MemoryIoManager;
use catchment::{
    CheckResult, Code, Config, Definitions, DynamicOutput, Graph, Input, Inputs, Partition, PartitionMapping,
    PartitionsDefinition, Problem, Res, ResourceContext, ResourceDefinition, Selection, asset, asset_check, asset_job,
    job, op, resource, sensor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

trait Engine: Send + Sync {
    fn double(&self, value: u32) -> u32;
}

struct Real;

impl Engine for Real {
    fn double(&self, value: u32) -> u32 {
        value * 2
    }
}

struct Fake;

impl Engine for Fake {
    fn double(&self, _: u32) -> u32 {
        42
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    first: u32,
    inner: Inner,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Inner {
    names: Vec<String>,
}

#[asset]
async fn configured(Config(config): Config<Settings>) -> Result<u32, Problem> {
    Ok(config.first + u32::try_from(config.inner.names.len()).unwrap_or(0))
}

#[asset]
async fn doubled(#[from("configured")] value: Input<u32>, engine: Res<dyn Engine>) -> Result<u32, Problem> {
    Ok(engine.double(*value))
}

#[asset]
async fn mistaken(
    configured: Input<String>,
    nowhere: Input<u32>,
    engine: Res<u8>,
    gone: Res<u8>,
) -> Result<(), Problem> {
    let _ = (configured, nowhere, engine, gone);
    Ok(())
}

/// Its value is not stored: no serde.
#[derive(Debug, PartialEq)]
struct Opaque(u32);

#[asset]
async fn opaque() -> Result<Opaque, Problem> {
    Ok(Opaque(7))
}

#[asset]
async fn by_hand(opaque: Input<Opaque>) -> Result<u32, Problem> {
    Ok(opaque.0.0)
}

#[asset(partitions = cities)]
async fn city(partition: Partition) -> Result<String, Problem> {
    Ok(partition.to_uppercase())
}

fn cities() -> PartitionsDefinition {
    PartitionsDefinition::fixed("city", ["bern", "basel"])
}

async fn engine(_: ResourceContext) -> Result<Arc<dyn Engine>, Problem> {
    Ok(Arc::new(Real))
}

fn definitions() -> Definitions {
    Definitions::new("test")
        .partitions(cities())
        .assets([configured(), doubled(), city()])
        .job(asset_job("double", ["doubled", "configured"]))
        .resource("engine", engine)
}

fn good() -> serde_json::Value {
    json!({"ops": {"configured": {"config": {"first": 3, "inner": {"names": ["a"]}}}}})
}

#[test]
fn definitions_in_order_have_no_faults_and_steps_in_topological_order() {
    assert_eq!(definitions().check(), []);
    let snapshot = definitions().snapshot();
    let steps: Vec<_> = snapshot.jobs[0].steps.iter().map(|step| step.key.as_str()).collect();
    assert_eq!(steps, ["configured", "doubled"]);
    assert_eq!(snapshot.jobs[0].steps[1].needs, ["configured"]);
    assert_eq!(snapshot.jobs[1].name, catchment_core::definitions::ASSET_JOB);
    assert_eq!(snapshot.jobs[1].steps.len(), 3);
    assert_eq!(snapshot.assets[1].deps, ["configured"]);
}

#[test]
fn check_finds_every_missing_or_mistyped_thing_at_once() {
    let wrong = definitions()
        .assets([mistaken(), opaque(), by_hand()])
        .job(asset_job("half", ["doubled", "by_hand"]))
        .job(asset_job("none", ["nothing"]));
    let found: Vec<_> =
        wrong.check().into_iter().map(|p| format!("{}: {}", p.place.unwrap_or_default(), p.what)).collect();
    let expected = [
        "asset mistaken: it needs the asset `nowhere`, which is not defined",
        "asset mistaken: the asset `configured` gives a u32, not a alloc::string::String",
        "asset mistaken: the resource `engine` is a dyn definitions::Engine, not a u8",
        "asset mistaken: there is no resource `gone` of the type u8",
        "job half: `by_hand` takes the value of `opaque`, which is not made beside it",
        "job none: there is no asset `nothing` in the code location `test`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_fault_of_a_run_config_is_reported_with_its_path() {
    let definitions = definitions();
    let paths = |config: serde_json::Value| -> Vec<String> {
        definitions
            .validate_run_config("double", &Selection::default(), &config)
            .unwrap()
            .into_iter()
            .map(|fault| fault.path)
            .collect()
    };
    assert_eq!(paths(good()), [] as [&str; 0]);
    assert_eq!(paths(json!({})), ["$.ops.configured.config"]);
    let bad = json!({
        "op": {},
        "ops": {"configured": {"config": {"first": "x", "inner": {"names": ["a", 2]}}}, "other": {}, "doubled": {"config": {"a": 1}}},
    });
    let expected = [
        "$.op",
        "$.ops.configured.config.first",
        "$.ops.configured.config.inner.names[1]",
        "$.ops.doubled.config",
        "$.ops.other",
    ];
    assert_eq!(paths(bad), expected);
}

#[test]
fn the_schema_of_a_job_accepts_what_validation_accepts() {
    let snapshot = definitions().snapshot();
    let schema = jsonschema::validator_for(&snapshot.jobs[0].config_schema).unwrap();
    assert!(schema.is_valid(&good()));
    assert!(!schema.is_valid(&json!({})));
    assert!(!schema.is_valid(&json!({"ops": {"configured": {"config": {"first": 3}}}})));
}

#[tokio::test]
async fn assets_are_made_in_memory_with_real_or_fake_resources() {
    let made = catchment::materialize(&definitions(), ["configured", "doubled"]).config(good()).await.unwrap();
    assert!(made.success());
    assert_eq!(made.value("doubled").as_deref(), Some(&8_u32));
    let fake: Arc<dyn Engine> = Arc::new(Fake);
    let made =
        catchment::materialize(&definitions(), ["configured", "doubled"]).config(good()).resource("engine", fake);
    assert_eq!(made.await.unwrap().value("doubled").as_deref(), Some(&42_u32));
}

#[tokio::test]
async fn a_wrong_config_and_a_missing_upstream_are_refused_before_anything_runs() {
    let refused = catchment::materialize(&definitions(), ["configured"]).await.err().unwrap();
    assert_eq!(refused.code, Code::InvalidConfig);
    let hand = Definitions::new("test").assets([opaque(), by_hand()]);
    let refused = catchment::materialize(&hand, ["by_hand"]).await.err().unwrap();
    assert!(refused.what.contains("which is not made beside it"));
}

#[tokio::test]
async fn a_partition_reaches_its_asset_and_its_lack_is_an_error() {
    let made = catchment::materialize(&definitions(), ["city"]).partition("bern").await.unwrap();
    assert_eq!(made.value::<String>("city").unwrap().as_str(), "BERN");
    let made = catchment::materialize(&definitions(), ["city"]).await.unwrap();
    assert_eq!(made.failures[0].1.what, "this run has no partition");
}

#[tokio::test]
async fn resources_that_need_each_other_in_a_circle_are_an_error_not_a_deadlock() {
    let circle = Definitions::new("test")
        .assets([doubled(), configured()])
        .resource("engine", |context: ResourceContext| async move { context.resource::<dyn Engine>("other").await })
        .resource("other", |context: ResourceContext| async move { context.resource::<dyn Engine>("engine").await });
    let made = catchment::materialize(&circle, ["configured", "doubled"]).config(good()).await.unwrap();
    assert_eq!(made.failures[0].1.place.as_deref(), Some("engine → other → engine"));
}

#[tokio::test]
async fn an_asset_is_called_with_fakes_like_any_function() {
    let fake: Arc<dyn Engine> = Arc::new(Fake);
    assert_eq!(doubled::call(Input::of(1), Res::from(fake)).await.unwrap(), 42);
}

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01")
}

/// Adds to what it was the day before.
#[asset(partitions = days, mappings = [("running", PartitionMapping::TimeWindow {
    start_offset: -1, end_offset: -1, allow_nonexistent_upstream_partitions: true })])]
async fn running(running: Inputs<u32>) -> Result<u32, Problem> {
    Ok(running.iter().sum::<u32>() + 1)
}

#[asset(deps = ["hen"])]
async fn egg() -> Result<(), Problem> {
    Ok(())
}

#[asset(deps = ["egg"])]
async fn hen() -> Result<(), Problem> {
    Ok(())
}

#[test]
fn an_asset_may_take_its_own_earlier_value_and_all_assets_can_still_be_launched() {
    let definitions = Definitions::new("test").assets([running(), city()]);
    assert_eq!(definitions.check(), []);
    let snapshot = definitions.snapshot();
    let job = snapshot.job(catchment_core::definitions::ASSET_JOB).unwrap();
    assert_eq!(job.steps.len(), 2);
    assert!(job.steps.iter().all(|step| step.needs.is_empty()));
}

#[tokio::test]
async fn an_asset_takes_what_it_was_in_earlier_partitions_through_its_io_manager() {
    let definitions = Definitions::new("test").assets([running()]).io_manager("io_manager", MemoryIoManager::default());
    for (day, expected) in [("2026-01-01", 1_u32), ("2026-01-02", 2), ("2026-01-03", 3), ("2026-01-02", 2)] {
        let made = catchment::materialize(&definitions, ["running"]).partition(day).await.unwrap();
        assert!(made.success(), "{day}: {:?}", made.failures);
        assert_eq!(made.value("running").as_deref(), Some(&expected), "{day}");
    }
}

/// What `check` finds, each as `place: what`.
fn found(definitions: &Definitions) -> Vec<String> {
    let problems = definitions.check().into_iter();
    problems.map(|problem| format!("{}: {}", problem.place.unwrap_or_default(), problem.what)).collect()
}

#[test]
fn assets_in_a_circle_are_told_though_no_job_names_them() {
    let definitions = Definitions::new("test").assets([egg(), hen(), city()]);
    assert_eq!(found(&definitions), ["assets egg, hen: steps need each other in a circle"]);
}

#[asset]
async fn parcels() -> Result<u32, Problem> {
    Ok(1)
}

#[asset]
async fn parcels_valid() -> Result<u32, Problem> {
    Ok(1)
}

#[asset_check(asset = "parcels", name = "valid")]
async fn valid(parcels: Input<u32>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(*parcels > 0))
}

#[asset]
async fn fans_out() -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok(Vec::new())
}

#[asset(deps = ["parcels"], mappings = [("parcel", PartitionMapping::All)])]
async fn mistyped() -> Result<(), Problem> {
    Ok(())
}

#[asset(partitions = days, deps = ["city"], mappings = [("city", PartitionMapping::OVERLAP)])]
async fn misfitting() -> Result<(), Problem> {
    Ok(())
}

#[sensor(jobs = ["no_job"], assets = ["no_asset"])]
async fn lost() -> Result<(), Problem> {
    Ok(())
}

#[op]
async fn twice() -> Result<(), Problem> {
    Ok(())
}

#[job]
fn repeated(g: &mut Graph) {
    twice::node(g.alias("same"));
    twice::node(g.alias("same"));
}

#[resource]
async fn tuned(config: Config<Inner>) -> Result<u32, Problem> {
    Ok(u32::try_from(config.0.names.len()).unwrap_or(0))
}

#[test]
fn check_finds_names_that_meet_and_settings_that_do_not_fit() {
    let definitions = Definitions::new("test")
        .assets([parcels(), parcels_valid(), fans_out(), mistyped(), city(), misfitting(), configured()])
        .asset_checks([valid()])
        .job(repeated())
        .job(asset_job("wrong", ["configured"]).config(json!({"ops": {"configured": {"config": {"first": "x"}}}})))
        .job(asset_job("later", ["configured"]).config(json!({"ops": {"configured": {
            "config": {"first": {"env": "SET_NOWHERE"}, "inner": {"names": []}}}}})))
        .sensor(lost())
        .add_resource(tuned().configured(json!({"names": 1})));
    let expected = [
        "asset fans_out: an asset is one value, and its function gives dynamic outputs",
        "asset mistyped: it has a mapping of `parcel`, which it does not need",
        "asset misfitting: its mapping of `city` does not fit",
        "job repeated: two steps have the key `same`",
        "job wrong: the config that it has of its own is wrong",
        "all assets: two steps have the key `parcels_valid`",
        "sensor lost: there is no job `no_job` in the code location `test`",
        "sensor lost: it needs the asset `no_asset`, which is not defined",
        "resource tuned: the config that it has of its own is wrong",
    ];
    let found = found(&definitions);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[resource]
async fn left(right: Res<u32>) -> Result<u32, Problem> {
    Ok(*right)
}

#[resource]
async fn right(left: Res<u32>) -> Result<u32, Problem> {
    Ok(*left)
}

#[test]
fn resources_that_need_each_other_are_found_before_anything_runs() {
    let definitions = Definitions::new("test").add_resource(left()).add_resource(right());
    assert_eq!(found(&definitions), ["left → right → left: resources need each other in a circle"]);
}

#[op]
async fn takes_left(left: Res<u32>) -> Result<(), Problem> {
    let _ = left;
    Ok(())
}

#[op]
async fn takes_right(right: Res<u32>) -> Result<(), Problem> {
    let _ = right;
    Ok(())
}

#[job(concurrency = 2)]
fn from_both_ends(g: &mut Graph) {
    takes_left::node(g);
    takes_right::node(g);
}

#[tokio::test]
async fn steps_that_make_resources_of_a_circle_from_both_ends_fail_and_do_not_hang() {
    // Both are being made before either asks for the other.
    let meet = Arc::new(tokio::sync::Barrier::new(2));
    let resource = |name: &str, other: &'static str| {
        let (meet, first) = (meet.clone(), Arc::new(std::sync::atomic::AtomicBool::new(true)));
        ResourceDefinition::new(name, move |context: ResourceContext| {
            let (meet, first) = (meet.clone(), first.swap(false, std::sync::atomic::Ordering::SeqCst));
            async move {
                if first {
                    meet.wait().await;
                }
                context.resource::<u32>(other).await
            }
        })
    };
    let definitions = Definitions::new("test")
        .job(from_both_ends())
        .add_resource(resource("left", "right"))
        .add_resource(resource("right", "left"));
    let run = std::future::IntoFuture::into_future(catchment::execute_job(&definitions, "from_both_ends"));
    let made = tokio::time::timeout(std::time::Duration::from_secs(20), run).await.expect("it ends").unwrap();
    assert_eq!(made.failures.len(), 2);
    for (_, problem) in &made.failures {
        assert!(problem.what.contains("in a circle"), "{problem}");
    }
}

#[job]
fn pooled(g: &mut Graph) {
    twice::node(g.tag("dagster/concurrency_key", "db"));
}

#[test]
fn the_older_tag_names_a_pool_that_the_control_plane_sees() {
    let snapshot = Definitions::new("test").job(pooled()).snapshot();
    assert_eq!(snapshot.job("pooled").unwrap().steps[0].pool.as_deref(), Some("db"));
}
