//! Programs in the shell, so that the protocol is seen from its bytes; `tests/pipes/` has the official package.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, Home, clock};
use serde_json::json;

use super::{FolderMessages, InlineContext, PipesResult, PipesSubprocess, StdioMessages, Stream};
use crate::context::{AssetContext, RunScope, StepScope};
use crate::executor::Halt;
use crate::executor::journal::{Journal, Record};
use crate::resource::{Resources, Surroundings};

/// A step of the asset `wei\rd/key` that nothing runs.
pub(super) struct World {
    pub(super) context: AssetContext,
    scope: Arc<RunScope>,
    record: Arc<Memory>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Memory(Mutex<Vec<NewEvent>>);

#[async_trait]
impl Record for Memory {
    async fn append(&self, events: &[NewEvent]) -> Result<(), Problem> {
        self.0.lock().unwrap().extend_from_slice(events);
        Ok(())
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::of_partition("2026-11-21")
    }

    fn of_partition(key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (run_id, halt, record) = (RunId::random(), Halt::default(), Arc::new(Memory::default()));
        let surroundings = Surroundings {
            environment: Environment::from_lookup(|_| None).unwrap(),
            home: Home::at(folder.path().join("home")).unwrap(),
        };
        let scope = Arc::new(RunScope {
            run_id,
            epoch: 1,
            job_name: "nightly".into(),
            partition_key: Some(key.into()),
            tags: Default::default(),
            run_config: json!({}),
            scratch: folder.path().join("scratch"),
            halt: halt.clone(),
            children: Default::default(),
            journal: Journal::start(run_id, record.clone(), halt),
            resources: Resources::new([], surroundings),
            opening: Arc::default(),
        });
        let context = AssetContext::new(
            scope.clone(),
            StepScope {
                key: "step".into(),
                assets: vec![r"wei\rd/key".into()],
                code_versions: [(r"wei\rd/key".into(), "3".into())].into(),
                ..StepScope::default()
            },
        );
        Self { context, scope, record, folder }
    }

    async fn events(&self) -> Vec<NewEvent> {
        self.scope.journal.flush().await.unwrap();
        self.record.0.lock().unwrap().clone()
    }

    pub(super) async fn lines(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.message).collect()
    }

    async fn said(&self, level: Level, part: &str) -> bool {
        self.events().await.iter().any(|event| event.level == level && event.message.contains(part))
    }

    /// Waits until a process is gone.
    pub(super) async fn ends(&self, pid: i32) {
        let until = clock::monotonic() + Duration::from_secs(20);
        // SAFETY: the signal 0 only asks.
        while unsafe { libc::kill(pid, 0) } == 0 {
            assert!(clock::monotonic() < until, "the process {pid} did not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until a file is there.
    pub(super) async fn appears(&self, name: &str) -> String {
        let until = clock::monotonic() + Duration::from_secs(20);
        while clock::monotonic() < until {
            if let Ok(text) = std::fs::read_to_string(self.path(name))
                && text.ends_with('\n')
            {
                return text.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{name}` did not appear; {:?}", self.lines().await);
    }
}

/// What finds the path of the messages in the bootstrap variable, as any language could.
const PATH: &str = r#"messages() { python3 -c 'import os,json,zlib,base64
p = json.loads(zlib.decompress(base64.b64decode(os.environ["DAGSTER_PIPES_MESSAGES"])))
print(p["path"])'; }
m=$(messages)
say() { printf '{"__dagster_pipes_version":"0.1","method":"%s","params":%s}\n' "$1" "$2" >> "$m"; }
"#;

fn shell(script: &str) -> PipesSubprocess {
    PipesSubprocess::new("sh").arg("-c").arg(format!("{PATH}{script}"))
}

/// Messages on standard output.
fn plain(script: &str) -> PipesSubprocess {
    let say = r#"say() { printf '{"__dagster_pipes_version":"0.1","method":"%s","params":%s}\n' "$1" "$2"; }
"#;
    let process = PipesSubprocess::new("sh").arg("-c").arg(format!("{say}{script}"));
    process.message_reader(StdioMessages::new(Stream::Stdout))
}

async fn failure(world: &World, process: PipesSubprocess) -> Problem {
    process.run(&world.context).await.unwrap_err()
}

#[tokio::test]
async fn a_program_reports_through_a_file_what_becomes_the_result() {
    let world = World::new();
    let key = r"wei\\\\rd/key";
    let script = format!(
        r#"say opened '{{"extras":{{"host":"here"}}}}'
say report_asset_materialization '{{"asset_key":"{key}","data_version":"v1","metadata":{{"rows":{{"raw_value":3,"type":"int"}}}}}}'
say report_asset_check '{{"asset_key":"{key}","check_name":"some","passed":false,"severity":"WARN","metadata":null}}'
say report_custom_message '{{"payload":[1,2]}}'
say closed '{{}}'"#
    );
    let result = shell(&script).run(&world.context).await.unwrap();
    assert_eq!(result.opened, Some(json!({"host": "here"})));
    assert_eq!(result.custom_messages, [json!([1, 2])]);
    assert_eq!(result.materializations[0].asset_key, r"wei\rd/key");
    assert_eq!(result.materializations[0].data_version.as_deref(), Some("v1"));
    assert_eq!((result.checks[0].name.as_str(), result.checks[0].passed), ("some", false));
    assert_eq!(world.lines().await, ["[pipes] the process opened Pipes"]);
    assert_eq!(std::fs::read_dir(world.context.scratch().unwrap()).unwrap().count(), 0, "the session's folder is gone");
}

#[tokio::test]
async fn the_context_has_every_key_and_bootstrap_wins_over_the_users_environment() {
    let world = World::new();
    let decode = r#"import os,json,zlib,base64,sys
p = json.loads(zlib.decompress(base64.b64decode(os.environ["DAGSTER_PIPES_CONTEXT"])))
c = p["data"] if "data" in p else json.load(open(p["path"]))
print(json.dumps({"__dagster_pipes_version": "0.1", "method": "report_custom_message", "params": {"payload": c}}))
print(os.environ["OWN"], os.getcwd())"#;
    let process = PipesSubprocess::new("python3")
        .args(["-c", decode])
        .env("DAGSTER_PIPES_CONTEXT", "mine")
        .env("OWN", "also mine")
        .cwd("/")
        .extras(json!({"a": [1]}))
        .message_reader(StdioMessages::new(Stream::Stdout));
    let by_file = process.run(&world.context).await.unwrap().custom_messages.remove(0);
    let inline = process.context_injector(InlineContext).run(&world.context).await.unwrap().custom_messages.remove(0);
    assert_eq!(by_file, inline);
    let key = r"wei\\rd/key";
    let expected = json!({
        "asset_keys": [key],
        "code_version_by_asset_key": {key: "3"},
        "provenance_by_asset_key": {key: null},
        "partition_key": "2026-11-21",
        "partition_key_range": {"start": "2026-11-21", "end": "2026-11-21"},
        "partition_time_window": null,
        "run_id": world.context.run_id().to_string(),
        "job_name": "nightly",
        "retry_number": 0,
        "extras": {"a": [1]},
    });
    assert_eq!(by_file, expected);
    assert!(world.said(Level::Info, "also mine /").await);
}

#[tokio::test]
async fn output_beside_messages_is_captured_line_by_line_while_the_process_runs() {
    let world = World::new();
    let gate = world.path("gate");
    let script = format!(
        "say opened '{{}}'; echo out; echo err >&2; while [ ! -e {} ]; do sleep 0.02; done; say closed '{{}}'",
        gate.display()
    );
    let process = plain(&script);
    let run = process.run(&world.context);
    let look = async {
        let until = clock::monotonic() + Duration::from_secs(20);
        while !(world.said(Level::Info, "out").await && world.said(Level::Info, "err").await) {
            assert!(clock::monotonic() < until, "the lines did not come while it runs");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::fs::write(&gate, "").unwrap();
    };
    let (result, ()) = tokio::join!(run, look);
    assert_eq!(result.unwrap().opened, Some(json!(null)));
    let events = world.events().await;
    let stream = |text: &str| events.iter().find(|event| event.message == text).unwrap().data["stream"].clone();
    assert_eq!((stream("out"), stream("err")), (json!("stdout"), json!("stderr")));
}

#[tokio::test]
async fn chunks_in_a_folder_are_read_in_order() {
    let world = World::new();
    let message = r#"{"__dagster_pipes_version":"0.1","method":"%s","params":%s}"#;
    let script = format!(
        r#"m=$(messages); printf '{message}\n{message}' opened '{{}}' report_custom_message '{{"payload":1}}' > "$m/1.json"
printf '{message}\n{message}' report_custom_message '{{"payload":2}}' closed '{{}}' > "$m/2.json""#
    );
    let result = shell(&script).message_reader(FolderMessages::new()).run(&world.context).await.unwrap();
    assert_eq!(result.custom_messages, [json!(1), json!(2)]);
    assert_eq!(world.lines().await, ["[pipes] the process opened Pipes"]);
}

#[tokio::test]
async fn an_exit_code_other_than_0_fails_the_step_and_tells_the_end_of_standard_error() {
    let world = World::new();
    let problem = failure(&world, plain("say opened '{}'; echo first >&2; echo 'no such table' >&2; exit 3")).await;
    assert_eq!(problem.code, Code::WorkerCrashed);
    assert_eq!(problem.what, "External execution process failed with code 3");
    assert_eq!(problem.cause.unwrap(), "first\nno such table");
    assert!(world.said(Level::Warning, "did not close it").await);
    let problem = failure(&world, plain("kill -SEGV $$")).await;
    assert!(problem.what.contains("signal 11 (SIGSEGV)"), "{problem}");
    assert!(world.said(Level::Warning, "no message came").await);
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_what_to_do() {
    let world = World::new();
    let problem = failure(&world, PipesSubprocess::new("no-such-program").arg("x")).await;
    assert_eq!((problem.code, problem.place.as_deref()), (Code::FileNotFound, Some("no-such-program x")));
    assert!(problem.remedy.unwrap().contains("full path"));
    let problem = failure(&world, PipesSubprocess::new("sh").cwd("/no/such/folder")).await;
    assert_eq!((problem.code, problem.place.as_deref()), (Code::FileNotFound, Some("/no/such/folder")));
    std::fs::write(world.path("plain"), "").unwrap();
    assert_eq!(failure(&world, PipesSubprocess::new(world.path("plain"))).await.code, Code::Forbidden);
    assert_eq!(failure(&world, PipesSubprocess::new("sh").extras(json!(5))).await.code, Code::InvalidInput);
}

#[tokio::test]
async fn a_message_that_breaks_the_protocol_is_an_engine_event_and_fails_the_step() {
    let world = World::new();
    let problem = failure(
        &world,
        plain("say opened '{}'; say launch '{}'; say report_custom_message '{\"payload\":1}'; say closed '{}'"),
    )
    .await;
    assert_eq!(problem.code, Code::InvalidInput);
    assert!(problem.cause.unwrap().contains("`launch`"));
    let events = world.events().await;
    let told: Vec<_> = events.iter().filter(|event| event.kind == EventKind::EngineEvent).collect();
    assert!(told.len() == 1 && told[0].message.starts_with("[pipes] framework exception"), "{events:?}");
    for (method, params) in [
        ("report_asset_materialization", r#"{"asset_key":"other"}"#),
        (
            "report_asset_materialization",
            r#"{"asset_key":"wei\\\\\\\\rd/key","metadata":{"a":{"raw_value":"x","type":"int"}}}"#,
        ),
        ("report_asset_check", r#"{"asset_key":"other","check_name":"a","passed":true}"#),
    ] {
        assert_eq!(
            failure(&world, plain(&format!("say {method} '{params}'"))).await.code,
            Code::InvalidInput,
            "{params}"
        );
    }
}

#[tokio::test]
async fn what_is_merely_odd_is_told_and_left_out() {
    let world = World::new();
    let script = r#"say opened '{}'; echo '{"__dagster_pipes_version": broken' >> "$m"; printf 'a\377b\n' >> "$m"; echo >> "$m"
printf '{"__dagster_pipes_version":"0.1","method":"log","params":{"message":"' >> "$m"
head -c 9000000 /dev/zero | tr '\0' x >> "$m"; printf '","level":"INFO"}}\n' >> "$m"
say closed '{}'; say report_custom_message '{"payload":1}'; printf 'no\377 utf8\n'"#;
    let result = shell(script).run(&world.context).await.unwrap();
    assert_eq!(result.custom_messages, [json!(1)]);
    for part in [
        "no JSON object of Pipes: {\"__dagster",
        "it is not UTF-8",
        "a message of 9000",
        "after `closed`: report_custom_message",
    ] {
        assert!(world.said(Level::Warning, part).await, "{part}: {:?}", world.lines().await);
    }
    assert!(world.said(Level::Info, "no\u{fffd} utf8").await);
}

#[tokio::test]
async fn an_exception_is_an_engine_event_and_the_exit_code_decides() {
    let world = World::new();
    let closed = r#"say opened '{}'; say closed '{"exception":{"message":"ValueError: no\n","stack":["a"],"name":"ValueError","cause":null,"context":null}}'"#;
    assert!(plain(closed).run(&world.context).await.is_ok());
    let events = world.events().await;
    let event = events.iter().find(|event| event.kind == EventKind::EngineEvent).unwrap();
    assert!(event.message.ends_with("ValueError: no") && event.data["exception"]["stack"] == json!(["a"]), "{event:?}");
    let problem = failure(&world, plain(&format!("{closed}; exit 1"))).await;
    assert_eq!(problem.cause.as_deref(), Some("ValueError: no"));
}

#[tokio::test]
async fn a_program_that_knows_nothing_of_pipes_makes_the_asset_unless_that_is_turned_off() {
    let world = World::new();
    let process = PipesSubprocess::new("true");
    assert_eq!(process.run(&world.context).await.unwrap(), PipesResult::default());
    assert!(world.said(Level::Warning, "no message came").await);
    let problem = failure(&world, process.implicit_materializations(false)).await;
    assert!(problem.what.contains("did not report the asset"), "{problem}");
}

#[tokio::test]
async fn in_an_op_what_is_reported_of_any_asset_is_an_event_at_once() {
    let world = World::new();
    let op = AssetContext::new(world.scope.clone(), StepScope { key: "op".into(), ..StepScope::default() });
    let report = r#"say report_asset_materialization '{"asset_key":"a/b","data_version":"v1","metadata":null}'
say report_asset_check '{"asset_key":"a/b","check_name":"c","passed":false,"severity":"ERROR","metadata":null}'"#;
    plain(report).run(&op).await.unwrap();
    let events = world.events().await;
    let of = |kind| &events.iter().find(|event| event.kind == kind).unwrap().data;
    let made = of(EventKind::AssetMaterialization);
    assert_eq!((&made["asset_key"], &made["data_version"]), (&json!("a/b"), &json!("v1")));
    assert_eq!(made["partition"], json!("2026-11-21"));
    assert_eq!(of(EventKind::AssetCheckEvaluation)["check_name"], json!("c"));
}

#[tokio::test]
async fn a_lot_of_output_is_all_taken_in_and_none_is_lost_to_the_journals_limit() {
    let world = World::new();
    let result = PipesSubprocess::new("sh").args(["-c", "seq 120000"]).run(&world.context).await;
    result.unwrap();
    let lines = world.lines().await;
    assert!(lines.iter().any(|line| line == "100000") && lines.iter().any(|line| line == "120000"));
    assert!(lines.iter().any(|line| line.contains("19900 lines of stdout are not in the log")));
    assert!(!lines.iter().any(|line| line.contains("were dropped")));
}

#[tokio::test]
async fn a_process_that_is_left_behind_keeps_no_session_open_and_is_killed() {
    let world = World::new();
    let pid = world.path("pid");
    let script = format!("sleep 600 & echo $! > {}; echo done", pid.display());
    let began = clock::monotonic();
    PipesSubprocess::new("sh").args(["-c", &script]).run(&world.context).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(world.said(Level::Warning, "still held open").await);
    gone(&world.appears("pid").await).await;
}

#[tokio::test]
async fn a_cancel_is_a_sigint_at_once() {
    let world = World::new();
    let script = format!(
        "trap 'echo heard; exit 0' INT; echo up > {}; while :; do sleep 0.02; done",
        world.path("up").display()
    );
    let process = PipesSubprocess::new("sh").args(["-c", &script]);
    let cancel = async {
        world.appears("up").await;
        world.scope.halt.stop(Problem::new(Code::Canceled, "the run was cancelled"));
        let began = clock::monotonic();
        world.scope.children.end(true).await;
        began.elapsed()
    };
    let (result, took) = tokio::join!(process.run(&world.context), cancel);
    assert_eq!(result.unwrap_err().code, Code::Canceled);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(world.said(Level::Info, "heard").await && world.said(Level::Info, "SIGINT is sent").await);
}

#[tokio::test]
async fn who_does_not_hear_is_killed_when_the_time_is_over_and_at_once_when_the_lease_is_lost() {
    for (code, timeout) in [(Code::Canceled, Duration::from_millis(300)), (Code::LeaseLost, Duration::from_secs(600))] {
        let world = World::new();
        let script =
            format!("trap '' INT TERM; echo $$ > {}; while :; do sleep 0.02; done", world.path("up").display());
        let process = PipesSubprocess::new("sh").args(["-c", &script]).termination_timeout(timeout);
        let stop = async {
            let pid = world.appears("up").await;
            world.scope.halt.stop(Problem::new(code, "stop"));
            let began: Instant = clock::monotonic();
            world.scope.children.end(code == Code::Canceled).await;
            gone(&pid).await;
            assert!(began.elapsed() < Duration::from_secs(10));
        };
        let (result, ()) = tokio::join!(process.run(&world.context), stop);
        assert_eq!(result.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn a_step_that_is_given_up_ends_its_process() {
    let world = World::new();
    let script = format!(
        "trap 'echo ended > {}; exit' INT; echo up > {}; while :; do sleep 0.02; done",
        world.path("ended").display(),
        world.path("up").display()
    );
    let process = PipesSubprocess::new("sh").args(["-c", &script]);
    tokio::select! {
        result = process.run(&world.context) => panic!("{result:?}"),
        _ = world.appears("up") => {}
    }
    assert_eq!(world.appears("ended").await, "ended");
}

/// Waits until no such process is there (a zombie is none).
async fn gone(pid: &str) {
    let until = clock::monotonic() + Duration::from_secs(20);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        assert!(clock::monotonic() < until, "process {pid} lives: {stat}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_window_is_told_only_where_the_partitions_are_windows_and_nothing_besides() {
    let days = crate::PartitionsDefinition::daily("day", "2026-01-01");
    let both = crate::PartitionsDefinition::multi(
        "both",
        [("day", days.clone()), ("town", crate::PartitionsDefinition::fixed("town", ["bern"]))],
    );
    for (partitions, key, is_told) in [(days, "2026-11-21", true), (both, "2026-11-21|bern", false)] {
        let world = World::of_partition(key);
        let partitions = Some(partitions.definition().unwrap());
        let step = StepScope { key: "step".into(), partitions, ..StepScope::default() };
        let context = AssetContext::new(world.scope.clone(), step);
        assert!(context.time_window().is_some(), "the run has a window");
        let told = super::told::context_data(&context, None, &json!({})).unwrap();
        assert_eq!(
            told.partition_time_window.map(|window| window.start),
            is_told.then(|| "2026-11-21T00:00:00Z".into())
        );
    }
}
