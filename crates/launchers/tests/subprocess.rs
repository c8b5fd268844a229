//! What every launcher promises, on real child processes that are written as shell scripts. The promises are asked
//! of `dyn Launcher`: another launcher takes the place of [`launcher`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catchment_core::RunId;
use catchment_launchers::{LaunchRequest, Liveness, RunProcess, SharedLauncher, Stop, SubprocessLauncher};
use catchment_model::Code;
use catchment_settings::clock;

fn launcher() -> SharedLauncher {
    Arc::new(SubprocessLauncher::new())
}

fn request(folder: &Path, script: &str) -> LaunchRequest {
    LaunchRequest {
        run_id: RunId::random(),
        epoch: 3,
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([("GIVEN".into(), "yes".into())]),
        log_dir: folder.join("logs"),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while !holds().await {
        assert!(clock::monotonic() < deadline, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn exists(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z"))
}

#[tokio::test]
async fn a_child_has_its_own_session_a_small_environment_and_its_output_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    // Cargo's variables stand for those that a run has no business with.
    let script = "echo $GIVEN $CATCHMENT_RUN_ID $CATCHMENT_LEASE_EPOCH [$CARGO_MANIFEST_DIR]; cat; \
                  echo problem >&2; cut -d' ' -f1,6 /proc/$$/stat; exit 7";
    let asked = request(folder.path(), script);
    let handle = launcher.launch(asked.clone()).await.unwrap();
    let exit = launcher.next_exit().await;
    assert_eq!((exit.run_id, exit.epoch, &exit.process, &*exit.how), (asked.run_id, 3, &handle, "exit status: 7"));
    let (pid, _) = handle.split_once('@').unwrap();
    let log = |name: &str| std::fs::read_to_string(asked.log_dir.join(name)).unwrap();
    assert_eq!(log("stdout.log"), format!("yes {} 3 []\n{pid} {pid}\n", asked.run_id));
    assert_eq!(log("stderr.log"), "problem\n");
    launcher.launch(asked.clone()).await.unwrap();
    launcher.next_exit().await;
    assert_eq!(log("stderr.log"), "problem\nproblem\n");
}

#[tokio::test]
async fn stopping_reaches_the_whole_process_group() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let asked = request(folder.path(), "sleep 600 & echo $!; trap '' TERM; wait; wait");
    let handle = launcher.launch(asked.clone()).await.unwrap();
    let process = RunProcess { run_id: asked.run_id, epoch: 3, handle: Some(handle) };
    let mut grandchild = String::new();
    until("the grandchild's start", async || {
        grandchild = std::fs::read_to_string(asked.log_dir.join("stdout.log")).unwrap().trim().to_owned();
        !grandchild.is_empty()
    })
    .await;
    assert_eq!(launcher.liveness(&process).await, Liveness::Alive);
    assert!(launcher.stop(&process, Stop::Force).await);
    assert!(launcher.next_exit().await.how.contains('9'));
    until("the grandchild's end", async || !exists(&grandchild)).await;
    assert_eq!(launcher.liveness(&process).await, Liveness::Gone);
    assert!(!launcher.stop(&process, Stop::Force).await);
}

#[tokio::test]
async fn what_a_leader_leaves_behind_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let asked = request(folder.path(), "sleep 600 & echo $!");
    launcher.launch(asked.clone()).await.unwrap();
    launcher.next_exit().await;
    let left = std::fs::read_to_string(asked.log_dir.join("stdout.log")).unwrap().trim().to_owned();
    until("the end of what was left", async || !exists(&left)).await;
}

#[tokio::test]
async fn a_pid_that_belongs_to_another_process_is_not_signalled() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let other = request(folder.path(), "sleep 600");
    let handle = launcher.launch(other.clone()).await.unwrap();
    let reused = RunProcess { run_id: RunId::random(), epoch: 9, handle: Some(handle.clone()) };
    assert_eq!(launcher.liveness(&reused).await, Liveness::Gone);
    assert!(!launcher.stop(&reused, Stop::Force).await);
    let newer = RunProcess { run_id: other.run_id, epoch: 2, handle: Some(handle.clone()) };
    assert!(!launcher.stop(&newer, Stop::Force).await, "a process of a newer epoch is not meant");
    launcher.stop(&RunProcess { epoch: 3, ..newer }, Stop::Ask).await;
    assert_eq!(launcher.next_exit().await.process, handle);
}

#[tokio::test]
async fn a_process_that_nobody_has_noted_is_found_by_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let asked = request(folder.path(), "sleep 600 & sleep 600");
    let handle = launcher.launch(asked.clone()).await.unwrap();
    assert_eq!(launcher.find(asked.run_id, 3).await, Some(handle));
    assert_eq!(launcher.find(asked.run_id, 2).await, None, "a process of a newer epoch is not meant");
    assert_eq!(launcher.find(RunId::random(), 3).await, None);
    let unnoted = RunProcess { run_id: asked.run_id, epoch: 3, handle: None };
    assert_eq!(launcher.liveness(&unnoted).await, Liveness::Unknown);
    assert!(launcher.stop(&unnoted, Stop::Ask).await);
    assert!(launcher.next_exit().await.how.contains("15"));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut asked = request(folder.path(), "");
    asked.program = folder.path().join("missing").display().to_string();
    let problem = launcher().launch(asked).await.unwrap_err();
    assert_eq!(problem.code, Code::Io);
    assert!(problem.remedy.is_some() && problem.place.unwrap().ends_with("missing"));
}

#[tokio::test]
async fn a_process_outlives_its_launcher_and_is_found_and_ended_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let first = launcher();
    let asked = request(folder.path(), "sleep 600");
    let handle = first.launch(asked.clone()).await.unwrap();
    drop(first);
    let next = launcher();
    let process = RunProcess { run_id: asked.run_id, epoch: 4, handle: Some(handle) };
    assert_eq!(next.liveness(&process).await, Liveness::Alive);
    assert!(next.stop(&process, Stop::Force).await);
    // The next launcher is not its parent, so only a look says that it has ended.
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while next.liveness(&process).await == Liveness::Alive {
        assert!(clock::monotonic() < deadline, "it did not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nothing_is_said_of_a_process_on_another_host() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let asked = request(folder.path(), "exit 0");
    let handle = launcher.launch(asked.clone()).await.unwrap();
    launcher.next_exit().await;
    let (pid, _) = handle.split_once('@').unwrap();
    let elsewhere = Some(format!("{pid}@elsewhere/0badcafe-4026531836"));
    for (handle, liveness) in [(Some(handle.clone()), Liveness::Gone), (elsewhere, Liveness::Unknown)] {
        let process = RunProcess { run_id: asked.run_id, epoch: 3, handle };
        assert_eq!(launcher.liveness(&process).await, liveness, "{process:?}");
    }
}
