use std::path::PathBuf;

use catchment_model::problem::{Code, Problem};

use super::*;
use crate::Home;

fn nothing(_: &str) -> Option<String> {
    None
}

fn faults(yaml: &str) -> Vec<String> {
    let problem = OperatorConfig::from_yaml(yaml, nothing).unwrap_err();
    listed(&problem)
}

fn listed(problem: &Problem) -> Vec<String> {
    assert_eq!(problem.code, Code::InvalidConfig);
    assert!(problem.remedy.is_some() && problem.place.is_some());
    problem.faults.iter().map(|f| format!("{}: {}; allowed: {}", f.path, f.what, f.allowed)).collect()
}

fn workspace(yaml: &str) -> Result<Workspace, Problem> {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    std::fs::write(home.workspace_file(), yaml).unwrap();
    let mut workspace = Workspace::load(&home, None)?.unwrap();
    for location in &mut workspace.locations {
        // The temporary folder has another name each time.
        if let LocationSource::Binary { path, .. } | LocationSource::Grpc(GrpcAddress::Socket(path)) =
            &mut location.source
            && let Ok(inside) = path.strip_prefix(home.root())
        {
            *path = inside.to_owned();
        }
    }
    Ok(workspace)
}

#[test]
fn without_a_file_and_with_an_empty_one_everything_is_at_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    let config = OperatorConfig::load(&home).unwrap();
    assert_eq!(config.run_queue.max_concurrent_runs, 10);
    assert_eq!(config.retention.sensor.purge_after_days.skipped.days(), Some(7));
    assert_eq!(config.retention.schedule.purge_after_days.skipped.days(), None);
    assert!(!config.run_retries.enabled && config.run_retries.retry_on_asset_or_op_failure);
    std::fs::write(home.config_file(), "# nothing yet\n").unwrap();
    assert_eq!(OperatorConfig::load(&home).unwrap(), config);
}

#[test]
fn a_whole_file_is_understood() {
    let yaml = r#"
run_queue:
  max_concurrent_runs: -1
  tag_concurrency_limits:
    - {key: team, limit: 4}
    - {key: team, value: gis, limit: 2}
    - {key: dataset, value: {applyLimitPerUniqueValue: true}, limit: 1}
concurrency: {pools: {default_limit: 3, granularity: run}}
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
run_monitoring: {max_runtime_seconds: 7200}
retention:
  sensor: {purge_after_days: {skipped: 1, success: 30}}
  schedule: {purge_after_days: 90}
  runs: {purge_after_days: 365}
schedules: {max_catchup_runs: 2}
freshness: {enabled: false}
alerts:
  channels:
    journal: log
    ops: {webhook: "https://example.org/hook", headers: {Authorization: {env: TOKEN}}}
  rules:
    - {on: run_failure, channels: [ops, journal], job: nightly}
    - {on: run_too_long, longer_than_seconds: 3600, channels: [ops]}
"#;
    let get = |name: &str| (name == "TOKEN").then(|| "Bearer 123".to_owned());
    let config = OperatorConfig::from_yaml(yaml, get).unwrap();
    let limits: Vec<_> = config.run_queue.tag_concurrency_limits.iter().map(|l| (&l.value, l.limit)).collect();
    let expected =
        [(&TagLimitValue::Any, 4), (&TagLimitValue::Is("gis".into()), 2), (&TagLimitValue::PerUniqueValue, 1)];
    assert_eq!(limits, expected);
    assert_eq!(config.concurrency.pools.granularity, PoolGranularity::Run);
    let sensor = config.retention.sensor.purge_after_days;
    assert_eq!((sensor.skipped.days(), sensor.success.days(), sensor.failure.days()), (Some(1), Some(30), None));
    assert_eq!(config.retention.schedule.purge_after_days.failure.days(), Some(90));
    let Some(Channel::Webhook(hook)) = config.alerts.channels.get("ops") else { panic!("no webhook") };
    assert_eq!(hook.headers["Authorization"].reveal(), "Bearer 123");
    assert!(!format!("{config:?}").contains("Bearer"));
    assert_eq!(config.alerts.rules[1].label(1), "run_too_long-2");
}

#[test]
fn a_fault_has_its_path_and_what_is_allowed() {
    insta::assert_debug_snapshot!([
        faults("run_queue: {max_concurent_runs: 3}"),
        faults("run_queue: {max_concurrent_runs: many}"),
        faults("run_queue: {max_concurrent_runs: -2}\nconcurrency: {pools: {default_limit: 1001}}"),
        faults("run_queue: {tag_concurrency_limits: [{key: a}]}"),
        faults("concurrency: {pools: {granularity: asset}}"),
        faults("retention: {sensor: {purge_after_days: {skiped: 1}}}"),
        faults("alerts: {channels: {a: mail}}"),
        faults(
            "alerts: {channels: {a: {webhook: 'example.org'}}, rules: [{on: run_failure, channels: [b]}, {on: run_too_long, channels: [a]}]}"
        ),
        faults("alerts: {channels: {a: {webhook: {env: NOT_SET}}}}"),
        faults("storage: {sqlite: {}}"),
    ]);
}

#[test]
fn a_number_and_a_flag_may_come_from_a_variable_and_a_wrong_value_is_not_printed() {
    let yaml = "run_queue: {max_concurrent_runs: {env: N}}\nrun_retries: {enabled: {env: ON}}";
    let get = |name: &str| Some(if name == "N" { "25" } else { "true" }.to_owned());
    let config = OperatorConfig::from_yaml(yaml, get).unwrap();
    assert!(config.run_queue.max_concurrent_runs == 25 && config.run_retries.enabled);
    let problem = OperatorConfig::from_yaml(yaml, |_| Some("hunter2".into())).unwrap_err();
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
    assert!(problem.to_string().contains("variable N"), "{problem}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let problem = OperatorConfig::from_yaml("run_queue:\n  a: 1\n b: 2\n", nothing).unwrap_err();
    assert!(problem.cause.unwrap().contains("line 3"));
}

#[test]
fn a_workspace_lists_servers_sockets_and_binaries() {
    let yaml = "
load_from:
  - grpc_server: {host: analytics, port: 4001}
  - grpc_server: {socket: run/other.sock, location_name: other}
  - binary: {path: bin/catchment-hello, environment: {GREETING: hi}}
  - binary: {path: /opt/etl, location_name: etl_pipelines}
";
    let entries = workspace(yaml).unwrap().locations;
    let names: Vec<_> = entries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["grpc:analytics:4001", "other", "catchment-hello", "etl_pipelines"]);
    assert_eq!(entries[0].source, LocationSource::Grpc(GrpcAddress::Tcp { host: "analytics".into(), port: 4001 }));
    assert_eq!(entries[1].source, LocationSource::Grpc(GrpcAddress::Socket("run/other.sock".into())));
    let LocationSource::Binary { path, environment } = &entries[2].source else { panic!("no binary") };
    assert_eq!((path, environment["GREETING"].as_str()), (&PathBuf::from("bin/catchment-hello"), "hi"));
}

#[test]
fn a_wrong_workspace_is_told_with_every_fault() {
    let of = |yaml: &str| listed(&workspace(yaml).unwrap_err());
    insta::assert_debug_snapshot!([
        of(
            "load_from:\n- python_module: {module_name: a}\n- python_file: a.py\n- grpc_server: {host: a}\n- grpc_server: {host: a, socket: b}"
        ),
        of("load_from:\n- binary: {path: a/b}\n- binary: {path: c/b}\n- binary: {path: b, location_name: x/y}"),
        of("load_from:\n- grpc_server: {host: a, port: 70000}"),
        of("load_from:\n- rust_module: a"),
        of("load_from:\n- binary: {path: a}\n  grpc_server: {port: 1}"),
        of("load_from:\n- binary: {}"),
    ]);
}

#[test]
fn a_workspace_file_that_is_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    assert_eq!(Workspace::load(&home, None).unwrap(), None);
    assert_eq!(Workspace::load(&home, Some(&folder.path().join("w.yaml"))).unwrap_err().code, Code::InvalidConfig);
}

#[test]
fn the_examples_of_the_documentation_are_read_and_its_defaults_are_the_defaults() {
    let text = include_str!("../../../../docs/configuration.md");
    let examples: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [defaults, lively, locations] = examples.try_into().unwrap();
    assert_eq!(OperatorConfig::from_yaml(defaults, nothing).unwrap(), OperatorConfig::default());
    let token = |name: &str| (name == "DESK_TOKEN").then(|| "secret".to_owned());
    let config = OperatorConfig::from_yaml(lively, token).unwrap();
    assert_eq!((config.alerts.rules.len(), config.run_retries.max_retries), (4, 2));
    let locations = locations.replace("{env: SURVEY_DB_PASSWORD}", "secret");
    assert_eq!(workspace(&locations).unwrap().locations.len(), 3);
}
