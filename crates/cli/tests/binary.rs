//! The built binary, driven as its users do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const CATCHMENT: &str = env!("CARGO_BIN_EXE_catchment");

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(CATCHMENT);
    command.args(arguments).current_dir(home).env_clear().env("CATCHMENT_HOME", home).env("USER", "tester");
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// A process of the control plane; stopped with the test.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut child = command(home, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert_eq!(ready["ready"], true);
        Self { child, address: ready["address"].as_str().unwrap().to_owned() }
    }

    /// SIGTERM; answers the exit code.
    fn stop(mut self) -> Option<i32> {
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), libc::SIGTERM) };
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn help_texts_are_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let mut all = String::new();
    for arguments in [
        &["--help"][..],
        &["ingest", "--help"],
        &["manifest", "--help"],
        &["run", "--help"],
        &["run", "list", "--help"],
        &["run", "logs", "--help"],
        &["dataset", "--help"],
        &["dataset", "download", "--help"],
        &["lake", "verify", "--help"],
        &["lake", "gc", "--help"],
        &["s3", "--help"],
        &["s3", "key", "add", "--help"],
        &["webserver", "--help"],
        &["daemon", "--help"],
    ] {
        let output = run(home.path(), arguments);
        assert_eq!(output.status.code(), Some(0));
        all += &format!("$ catchment {}\n{}\n", arguments.join(" "), text(&output.stdout));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn wrong_usage_is_2_and_a_service_out_of_reach_is_3_with_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(run(home.path(), &["frobnicate"]).status.code(), Some(2));
    assert_eq!(run(home.path(), &["ingest", "nowhere.gpkg"]).status.code(), Some(2));
    let output = run(home.path(), &["run", "list"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("catchment dev"), "{output:?}");
    let output = run(home.path(), &["--url", "http://127.0.0.1:9", "--json", "dataset", "list"]);
    assert_eq!(output.status.code(), Some(3));
    let problem: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(problem["problem"]["code"], "unavailable");
    assert!(output.stdout.is_empty());
    assert_eq!(run(home.path(), &["--url", "nonsense", "dataset", "list"]).status.code(), Some(2));
}

#[test]
fn a_manifest_is_checked_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("m.json");
    std::fs::write(
        &path,
        r#"{"batch_id": "b", "uploader": "u", "intent": "ingest_vector", "metadata": {},
            "files": [{"path": "s3://landing-zone/b/a.gpkg", "type": "vector", "format": "GPKG"}]}"#,
    )
    .unwrap();
    let good = run(home.path(), &["--json", "manifest", "validate", "m.json"]);
    assert_eq!(good.status.code(), Some(0));
    assert_eq!((json(&good)["valid"].as_bool(), json(&good)["batch_id"].as_str()), (Some(true), Some("b")));
    std::fs::write(&path, r#"{"batch_id": "", "oops": 1, "files": []}"#).unwrap();
    let bad = run(home.path(), &["--json", "manifest", "validate", "m.json"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(json(&bad)["problem"]["faults"].as_array().unwrap().len() >= 3);
    let bad = run(home.path(), &["manifest", "validate", "m.json"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(text(&bad.stderr).starts_with("error[invalid_manifest]"), "{bad:?}");
    let schema = run(home.path(), &["manifest", "schema"]);
    assert!(json(&schema)["properties"]["batch_id"].is_object());
}

#[test]
fn processes_say_when_they_are_ready_and_stop_when_asked() {
    let home = tempfile::tempdir().unwrap();
    let s3 = Process::start(home.path(), &["s3", "--listen", "127.0.0.1:0"]);
    assert!(s3.address.starts_with("127.0.0.1:") && !s3.address.ends_with(":0"));
    let second = run(home.path(), &["s3", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains(&s3.child.id().to_string()), "{second:?}");
    let web = Process::start(home.path(), &["webserver", "--listen", "127.0.0.1:0"]);
    let daemon = Process::start(home.path(), &["daemon", "--location", "/no/such/binary"]);
    assert_eq!([web.stop(), daemon.stop(), s3.stop()], [Some(0); 3]);
}

#[test]
fn commands_find_the_server_of_the_home_and_its_token() {
    let home = tempfile::tempdir().unwrap();
    let s3 = Process::start(home.path(), &["s3", "--listen", "127.0.0.1:0"]);
    let web = Process::start(home.path(), &["webserver", "--listen", "127.0.0.1:0"]);
    let endpoints = serde_json::json!({
        "web": format!("http://{}", web.address), "s3": format!("http://{}", s3.address),
    });
    std::fs::write(home.path().join("endpoints.json"), endpoints.to_string()).unwrap();

    let runs = run(home.path(), &["run", "list", "--json"]);
    assert_eq!((runs.status.code(), json(&runs)["runs"].as_array().map(Vec::len)), (Some(0), Some(0)));
    assert!(text(&run(home.path(), &["dataset", "list"]).stdout).contains("No datasets yet"));
    let missing = run(home.path(), &["dataset", "show", "none"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).starts_with("error[not_found]"));

    let key = run(home.path(), &["--json", "s3", "key", "add", "anna", "--role", "reader"]);
    assert!(json(&key)["secret_key"].as_str().is_some_and(|secret| secret.len() > 20));
    let list = run(home.path(), &["--json", "s3", "key", "list"]);
    assert_eq!(json(&list)["keys"][0]["name"], "anna");
    assert_eq!(run(home.path(), &["s3", "key", "revoke", "anna"]).status.code(), Some(0));
    assert_eq!(run(home.path(), &["s3", "key", "revoke", "anna"]).status.code(), Some(2));

    let verified = run(home.path(), &["--json", "lake", "verify"]);
    assert_eq!((verified.status.code(), json(&verified)["clean"].as_bool()), (Some(0), Some(true)), "{verified:?}");
    let collected = run(home.path(), &["--json", "lake", "gc", "--grace", "0s", "--dry-run"]);
    assert_eq!(json(&collected)["garbage"], serde_json::json!([]));

    std::fs::write(home.path().join("a.geojson"), "{}").unwrap();
    let announced = run(home.path(), &["--json", "ingest", "a.geojson", "--dataset", "d", "--no-wait"]);
    assert_eq!(announced.status.code(), Some(0), "{announced:?}");
    let batch = &json(&announced)["batches"][0];
    assert_eq!((batch["status"].as_str(), batch["dataset_id"].as_str()), (Some("announced"), Some("d")));

    let doctor = run(home.path(), &["--json", "doctor"]);
    let checks = json(&doctor)["checks"].as_array().unwrap().clone();
    let outcome = |claim: &str| checks.iter().find(|c| c["claim"] == claim).map(|c| c["outcome"].clone());
    assert_eq!(outcome("the web server answers"), Some("passed".into()), "{checks:?}");
    assert_eq!(outcome("the daemon lives"), Some("failed".into()));
    assert_ne!(doctor.status.code(), Some(0));
}

#[test]
fn names_with_signs_of_an_address_reach_the_server_whole() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (name, escaped) = ("a#b?c/../d", "a%23b%3Fc%2F..%2Fd");
    for (arguments, path) in [
        (vec!["asset", "show", name], "assets/{}"),
        (vec!["job", "launch", name], "jobs/{}/launch"),
        (vec!["location", "reload", name], "locations/{}/reload"),
        (vec!["sensor", "start", name], "instigators/sensor/{}/status"),
        (vec!["sensor", "ticks", name], "instigators/sensor/{}/ticks"),
        (vec!["schedule", "tick", name, "--dry-run"], "instigators/schedule/{}/dry-run"),
        (vec!["sensor", "cursor", "set", name, "x"], "instigators/sensor/{}/cursor"),
        (vec!["backfill", "show", name], "backfills/{}"),
        (vec!["backfill", "pause", name], "backfills/{}/pause"),
        (vec!["partition", "list", name], "partitions/{}"),
        (vec!["partition", "delete", name, "k"], "partitions/{}"),
        (vec!["pool", "set", name, "1"], "pools/{}"),
        (vec!["pool", "set", "..", "1"], "pools/%252E%252E"),
    ] {
        let mut child = command(folder.path(), &["--url", &url])
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        drop(stream);
        child.wait().unwrap();
        let asked = line.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
        assert_eq!(asked, format!("/api/v1/{}", path.replace("{}", escaped)), "{arguments:?}");
    }
}
