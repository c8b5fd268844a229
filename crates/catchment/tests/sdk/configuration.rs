//! Config of steps and resources, with what comes from the environment.

use std::sync::Arc;

use catchment::io_manager::MemoryIoManager;
use catchment::{
    Config, Definitions, FromContext, Input, IoManager, Problem, Res, ResourceContext, ResourceDefinition, Secret,
    Selection, asset, asset_job, execute_job, materialize, resource, success_hook,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, JsonSchema)]
struct Access {
    user: String,
    password: Secret,
    #[serde(default)]
    port: u16,
}

/// What user code sees of its config.
#[asset]
async fn seen(config: Config<Access>, greeting: Res<String>) -> Result<String, Problem> {
    Ok(format!("{}, {} {} {}", *greeting, config.user, config.password.reveal().len(), config.port))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Greeting {
    word: String,
}

impl Default for Greeting {
    fn default() -> Self {
        Self { word: "hello".into() }
    }
}

#[resource]
async fn greeting(config: Config<Greeting>) -> Result<String, Problem> {
    Ok(config.0.word)
}

fn definitions() -> Definitions {
    Definitions::new("config")
        .assets([seen()])
        .job(asset_job("see", ["seen"]))
        .job(asset_job("see_by_default", ["seen"]).config(run_config(json!("default"))))
        .add_resource(greeting())
}

fn run_config(password: Value) -> Value {
    json!({"ops": {"seen": {"config": {"user": "anna", "password": password}}}})
}

/// A variable that Cargo sets for every test.
const NAME: &str = "CARGO_PKG_NAME";

#[tokio::test]
async fn an_environment_variable_is_put_in_when_the_config_is_read() {
    let made = materialize(&definitions(), ["seen"]).config(run_config(json!({"env": NAME}))).await.unwrap();
    let expected = format!("hello, anna {} 0", env!("CARGO_PKG_NAME").len());
    assert_eq!(made.value("seen").as_deref(), Some(&expected));
    let logged = serde_json::to_string(&made.events).unwrap();
    assert!(!logged.contains(&format!("\"{}\"", env!("CARGO_PKG_NAME"))), "{logged}");
}

#[tokio::test]
async fn a_field_that_the_config_does_not_have_is_refused_with_its_path() {
    let mut config = run_config(json!("x"));
    config["ops"]["seen"]["config"]["prot"] = json!(5432);
    let refused = materialize(&definitions(), ["seen"]).config(config).await.err().unwrap();
    let faults: Vec<_> = refused.faults.iter().map(|fault| (fault.path.as_str(), fault.allowed.as_str())).collect();
    assert_eq!(faults, [("$.ops.seen.config.prot", "user, password, port")]);
}

#[tokio::test]
async fn a_variable_that_is_not_set_or_does_not_fit_is_a_fault_that_shows_no_value() {
    let refused = materialize(&definitions(), ["seen"]).config(run_config(json!({"env": "NOT_SET_ANYWHERE"})));
    let refused = refused.await.err().unwrap();
    assert_eq!(refused.faults[0].path, "$.ops.seen.config.password");
    assert!(refused.faults[0].what.contains("NOT_SET_ANYWHERE is not set"));
    let mut config = run_config(json!("x"));
    config["ops"]["seen"]["config"]["port"] = json!({"env": NAME});
    let refused = materialize(&definitions(), ["seen"]).config(config).await.err().unwrap();
    assert_eq!(refused.faults[0].path, "$.ops.seen.config.port");
    assert!(!refused.to_string().contains(env!("CARGO_PKG_NAME")), "{refused}");
}

#[tokio::test]
async fn a_run_may_configure_a_resource_and_a_job_has_config_of_its_own() {
    let mut config = run_config(json!("x"));
    config["resources"] = json!({"greeting": {"config": {"word": "salve"}}});
    config["execution"] = json!({"config": {"max_concurrent": 2}});
    let made = execute_job(&definitions(), "see").config(config.clone()).await.unwrap();
    assert_eq!(made.value("seen").as_deref(), Some(&"salve, anna 1 0".to_owned()));
    config["resources"] = json!({"greeting": {"config": {"wort": "salve"}}, "nobody": {}});
    config["execution"] = json!({"config": {"max_concurrent": 0}});
    let refused = execute_job(&definitions(), "see").config(config).await.err().unwrap();
    let paths: Vec<_> = refused.faults.iter().map(|fault| fault.path.as_str()).collect();
    let expected = ["$.execution.config.max_concurrent", "$.resources.greeting.config.wort", "$.resources.nobody"];
    assert_eq!(paths, expected);
    let made = execute_job(&definitions(), "see_by_default").await.unwrap();
    assert_eq!(made.value("seen").as_deref(), Some(&"hello, anna 7 0".to_owned()));
}

#[tokio::test]
async fn an_asset_is_called_with_config_and_a_fake_resource() {
    let config = Config(Access { user: "b".into(), password: Secret::new("pw"), port: 1 });
    assert!(!format!("{config:?}").contains("pw"), "a secret is never printed");
    let made = seen::call(config, Res::from(Arc::new("hi".to_owned()))).await.unwrap();
    assert_eq!(made, "hi, b 2 1");
}

#[test]
fn the_schema_of_resources_and_steps_is_in_the_snapshot() {
    let snapshot = definitions().snapshot();
    let schema = jsonschema::validator_for(&snapshot.job("see").unwrap().config_schema).unwrap();
    assert!(schema.is_valid(&run_config(json!("x"))));
    assert!(!schema.is_valid(&json!({"ops": {}})));
    let own = jsonschema::validator_for(&snapshot.job("see_by_default").unwrap().config_schema).unwrap();
    assert!(own.is_valid(&json!({})));
    let greeting = &snapshot.resources[0];
    assert_eq!((greeting.name.as_str(), greeting.is_io_manager), ("greeting", false));
    assert!(greeting.config_schema.as_ref().unwrap()["properties"]["word"].is_object());
}

/// What a place is reached by: without config it is of no use.
#[resource]
async fn address(config: Config<Access>) -> Result<String, Problem> {
    Ok(config.0.user)
}

#[resource]
async fn place(address: Res<String>) -> Result<u32, Problem> {
    Ok(u32::try_from(address.len()).unwrap_or(0))
}

#[success_hook]
async fn tells(place: Res<u32>) -> Result<(), Problem> {
    let _ = place;
    Ok(())
}

#[asset]
async fn plain() -> Result<u32, Problem> {
    Ok(1)
}

#[asset(hooks = [tells])]
async fn told() -> Result<u32, Problem> {
    Ok(1)
}

#[asset]
async fn shelved(plain: Input<u32>) -> Result<u32, Problem> {
    Ok(*plain)
}

#[test]
fn config_is_required_of_what_a_job_uses_however_far_away_and_of_nothing_else() {
    let shelf =
        ResourceDefinition::new("shelf", |_| async { Ok(Arc::new(MemoryIoManager::default()) as Arc<dyn IoManager>) })
            .needs(<Res<u32> as FromContext<ResourceContext>>::needs("place"));
    let definitions = Definitions::new("config")
        .assets([plain(), told(), shelved().io_manager("shelf")])
        .add_resource(address())
        .add_resource(place())
        .add_resource(shelf)
        .job(asset_job("plain", ["plain"]))
        .job(asset_job("told", ["told"]))
        .job(asset_job("shelved", ["shelved"]));
    assert_eq!(definitions.check(), []);
    let snapshot = definitions.snapshot();
    let given = json!({"resources": {"address": {"config": {"user": "anna", "password": "x"}}}});
    for (job, needs) in [("plain", false), ("told", true), ("shelved", true)] {
        let faults = definitions.validate_run_config(job, &Selection::default(), &json!({})).unwrap();
        assert_eq!(faults.iter().any(|fault| fault.path == "$.resources.address.config"), needs, "{job}");
        let schema = jsonschema::validator_for(&snapshot.job(job).unwrap().config_schema).unwrap();
        assert_eq!(schema.is_valid(&json!({})), !needs, "{job}");
        assert!(schema.is_valid(&given), "{job}");
        assert_eq!(definitions.validate_run_config(job, &Selection::default(), &given).unwrap(), [], "{job}");
    }
}
