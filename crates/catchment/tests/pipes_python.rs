//! The official Python package, unmodified, in processes that the SDK launches. `tests/pipes/run` provides it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use catchment::{
    AssetContext, Code, Config, Definitions, FolderMessages, InlineContext, Level, Materialized, PartitionsDefinition,
    PipesResult, PipesSubprocess, Problem, StdioMessages, Stream, TempFileMessages, asset, materialize,
};
use catchment_core::EventKind;
use catchment_settings::clock;
use serde::Deserialize;
use serde_json::{Value, json};

const CHANNELS: [&str; 7] = ["file", "file and stdio", "inline", "stdout", "stderr", "buffered stdout", "folder"];

#[derive(Deserialize, schemars::JsonSchema)]
struct Case {
    channel: String,
    extras: Value,
}

fn days() -> PartitionsDefinition {
    PartitionsDefinition::fixed("day", ["2026-11-20", "2026-11-21"])
}

/// Runs `tests/pipes/program.py`.
#[asset(partitions = days)]
async fn scored(context: AssetContext, case: Config<Case>) -> Result<PipesResult, Problem> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/pipes/program.py");
    let process = PipesSubprocess::new(python()).arg(program).extras(case.0.extras);
    let process = match case.0.channel.as_str() {
        "file" => process,
        "file and stdio" => process.message_reader(TempFileMessages::default().include_stdio()).forward_stdio(false),
        "inline" => process.context_injector(InlineContext),
        "stdout" => process.message_reader(StdioMessages::new(Stream::Stdout)),
        "stderr" => process.message_reader(StdioMessages::new(Stream::Stderr)),
        "buffered stdout" => process.message_reader(StdioMessages::buffered(Stream::Stdout)),
        "folder" => process.message_reader(FolderMessages::new()).env("CHUNKS", "yes"),
        other => panic!("no channel `{other}`"),
    };
    process.run(&context).await
}

/// As in `examples/pipes/README.md`.
#[asset]
async fn example(context: AssetContext) -> Result<PipesResult, Problem> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pipes/score.py");
    PipesSubprocess::new(python()).arg(program).extras(json!({"threshold": 400.0})).run(&context).await
}

fn python() -> OsString {
    std::env::var_os("CATCHMENT_PIPES_PYTHON").expect("tests/pipes/run sets it")
}

async fn run(channel: &str, extras: Value) -> Materialized {
    let config = json!({"ops": {"scored": {"config": {"channel": channel, "extras": extras}}}});
    let definitions = Definitions::new("pipes").assets([scored()]);
    materialize(&definitions, ["scored"]).config(config).partition("2026-11-21").await.unwrap()
}

fn said(made: &Materialized, level: Level, text: &str) -> bool {
    made.events.iter().any(|event| event.level == level && event.message == text)
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn everything_that_is_reported_arrives_by_every_channel() {
    for channel in CHANNELS {
        let made = run(channel, json!({"do": "everything", "model": "m"})).await;
        assert!(made.success(), "{channel}: {:?}", made.failures);
        let result = made.value::<PipesResult>("scored").unwrap();
        let told = &result.custom_messages[0];
        let run_id = made.events[0].run_id.to_string();
        let expected = json!({
            "asset": "scored", "code_version": null, "provenance": null, "partition": "2026-11-21",
            "range": {"start": "2026-11-21", "end": "2026-11-21"}, "window": null, "run": run_id, "job": told["job"],
            "retry": 0, "extra": "m",
        });
        assert_eq!(told, &expected, "{channel}");
        assert!(told["job"].is_string());
        let reported = &result.materializations[0];
        assert_eq!((reported.asset_key.as_str(), reported.data_version.as_deref()), ("scored", Some("v7")));
        assert_eq!(json!(reported.metadata), metadata(&run_id), "{channel}");
        let checks: Vec<_> = result.checks.iter().map(|check| (check.name.as_str(), check.passed)).collect();
        assert_eq!(checks, [("holds", true), ("odd", false), ("bad", false)], "{channel}");
        events_hold_it(&made, channel);
    }
}

fn events_hold_it(made: &Materialized, channel: &str) {
    for (level, text) in [
        (Level::Debug, "a detail"),
        (Level::Info, "größer"),
        (Level::Warning, "beware"),
        (Level::Error, "wrong"),
        (Level::Error, "very wrong"),
        (Level::Info, "to standard output"),
        (Level::Info, "to standard error"),
    ] {
        assert!(said(made, level, text), "{channel}: {text}: {:?}", made.events);
    }
    let warnings: Vec<_> = made.events.iter().filter(|event| event.message.starts_with("[pipes]")).collect();
    assert!(warnings.len() == 1 && warnings[0].level == Level::Info, "{channel}: {warnings:?}");
    let checks: Vec<_> = made.events.iter().filter(|event| event.kind == EventKind::AssetCheckEvaluation).collect();
    let severity = |place: usize| checks[place].data["severity"].clone();
    assert_eq!((checks.len(), severity(1), severity(2)), (3, json!("WARN"), json!("ERROR")), "{channel}");
    let made: Vec<_> = made.events.iter().filter(|event| event.kind == EventKind::AssetMaterialization).collect();
    assert_eq!(made.len(), 1, "{channel}");
    assert_eq!(made[0].data["metadata"]["url"], json!({"type": "url", "value": "https://example.org"}), "{channel}");
    assert_eq!(made[0].data["partition"], json!("2026-11-21"), "{channel}");
    assert_eq!(made[0].data["data_version"], json!("v7"), "{channel}");
}

fn metadata(run_id: &str) -> Value {
    let columns = json!([{"name": "id", "type": "int", "description": "a key", "nullable": false}]);
    json!({
        "inferred_int": {"type": "int", "value": 1},
        "inferred_float": {"type": "float", "value": 1.5},
        "inferred_text": {"type": "text", "value": "a"},
        "inferred_bool": {"type": "bool", "value": true},
        "inferred_list": {"type": "json", "value": [1, "a"]},
        "inferred_null": {"type": "null"},
        "text": {"type": "text", "value": "t"},
        "url": {"type": "url", "value": "https://example.org"},
        "path": {"type": "path", "value": "/data"},
        "notebook": {"type": "notebook", "value": "/n.ipynb"},
        "json": {"type": "json", "value": {"a": [1]}},
        "md": {"type": "md", "value": "*m*"},
        "float": {"type": "float", "value": 2.0},
        "int": {"type": "int", "value": 2},
        "bool": {"type": "bool", "value": false},
        "dagster_run": {"type": "dagster_run", "value": run_id},
        "asset": {"type": "asset", "value": "other/one"},
        "null": {"type": "null"},
        "table": {"type": "table", "value": {"records": [{"id": 1}], "schema": {"columns": columns}}},
        "table_schema": {"type": "table_schema", "value": {"columns": columns}},
        "table_column_lineage": {"type": "table_column_lineage", "value":
            {"deps_by_column": {"id": [{"asset_key": "other/one", "column_name": "key"}]}}},
        "timestamp": {"type": "timestamp", "value": "1970-01-01T00:00:01.5Z"},
    })
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn an_exception_is_told_with_its_cause_and_fails_the_step() {
    for channel in CHANNELS {
        let made = run(channel, json!({"do": "raise"})).await;
        let problem = &made.failures[0].1;
        assert_eq!(problem.code, Code::WorkerCrashed, "{channel}");
        assert_eq!(problem.what, "External execution process failed with code 1", "{channel}");
        assert_eq!(problem.cause.as_deref(), Some("ValueError: this went wrong"), "{channel}");
        let event = made.events.iter().find(|event| event.kind == EventKind::EngineEvent).unwrap();
        let exception = &event.data["exception"];
        assert_eq!(exception["name"], json!("ValueError"), "{channel}");
        assert!(exception["cause"]["message"].as_str().unwrap().contains("the cause"), "{channel}");
        assert!(exception["stack"].as_array().is_some_and(|stack| !stack.is_empty()), "{channel}");
        assert!(!made.events.iter().any(|event| event.kind == EventKind::AssetMaterialization), "{channel}");
    }
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn another_exit_code_fails_the_step() {
    let made = run("file", json!({"do": "exit"})).await;
    assert_eq!(made.failures[0].1.what, "External execution process failed with code 7");
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn a_lot_of_output_beside_messages_is_all_there() {
    for channel in ["file", "stdout"] {
        let made = run(channel, json!({"do": "print"})).await;
        assert!(made.success(), "{channel}: {:?}", made.failures);
        let lines = made.events.iter().filter(|event| event.message.starts_with("line ")).count();
        assert_eq!(lines, 20_000, "{channel}");
        assert!(made.value::<PipesResult>("scored").unwrap().opened.is_some(), "{channel}");
    }
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn a_step_that_is_given_up_interrupts_python() {
    let folder = tempfile::tempdir().unwrap();
    let (up, ended) = (folder.path().join("up"), folder.path().join("ended"));
    tokio::select! {
        _ = run("file", json!({"do": "wait", "up": up, "ended": ended})) => panic!("it does not end by itself"),
        () = appears(&up) => {}
    }
    appears(&ended).await;
}

#[tokio::test]
#[ignore = "tests/pipes/run provides dagster-pipes"]
async fn the_example_works() {
    let made = materialize(&Definitions::new("pipes").assets([example()]), ["example"]).await.unwrap();
    assert!(made.success(), "{:?}", made.failures);
    assert_eq!(json!(made.metadata("example").unwrap()["large"]), json!({"type": "int", "value": 2}));
}

async fn appears(path: &Path) {
    let until = clock::monotonic() + Duration::from_secs(30);
    while !std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')) {
        assert!(clock::monotonic() < until, "{} did not appear", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
