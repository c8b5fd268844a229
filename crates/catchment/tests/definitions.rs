//! What `check`, run config and `materialize` find before and while assets are made.

use std::sync::Arc;

use catchment::{
    Code, Config, Definitions, Input, Partition, PartitionsDefinition, Problem, Res, ResourceContext, Selection, asset,
    asset_job,
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
