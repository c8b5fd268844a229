//! What every launcher promises, on real child processes that are written as shell scripts. The promises are asked
//! of `dyn Launcher`: another launcher takes the place of [`launcher`].
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catchment_core::RunId;
use catchment_launchers::{
    LaunchRequest, Launcher as _, Liveness, RunProcess, SharedLauncher, Stop, SubprocessLauncher,
};
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
    let pid = launcher.launch(asked.clone()).await.unwrap();
    let exit = launcher.next_exit().await;
    assert_eq!((exit.run_id, exit.epoch, exit.pid, exit.how.as_str()), (asked.run_id, 3, pid, "exit status: 7"));
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
    let pid = launcher.launch(asked.clone()).await.unwrap();
    let process = RunProcess { run_id: asked.run_id, epoch: 3, pid: Some(pid) };
    let mut grandchild = String::new();
    until("the grandchild's start", async || {
        grandchild = std::fs::read_to_string(asked.log_dir.join("stdout.log")).unwrap().trim().to_owned();
        !grandchild.is_empty()
    })
    .await;
    assert_eq!(launcher.liveness(process).await, Liveness::Alive);
    assert!(launcher.stop(process, Stop::Force).await);
    assert!(launcher.next_exit().await.how.contains('9'));
    until("the grandchild's end", async || !exists(&grandchild)).await;
    assert_eq!(launcher.liveness(process).await, Liveness::Gone);
    assert!(!launcher.stop(process, Stop::Force).await);
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
    let pid = launcher.launch(other.clone()).await.unwrap();
    let reused = RunProcess { run_id: RunId::random(), epoch: 9, pid: Some(pid) };
    assert_eq!(launcher.liveness(reused).await, Liveness::Gone);
    assert!(!launcher.stop(reused, Stop::Force).await);
    let newer = RunProcess { run_id: other.run_id, epoch: 2, pid: Some(pid) };
    assert!(!launcher.stop(newer, Stop::Force).await, "a process of a newer epoch is not meant");
    let unknown_pid = RunProcess { run_id: other.run_id, epoch: 3, pid: None };
    assert_eq!(launcher.liveness(unknown_pid).await, Liveness::Alive);
    assert!(launcher.stop(unknown_pid, Stop::Ask).await);
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
    let pid = first.launch(asked.clone()).await.unwrap();
    drop(first);
    let next = launcher();
    let process = RunProcess { run_id: asked.run_id, epoch: 4, pid: Some(pid) };
    assert_eq!(next.liveness(process).await, Liveness::Alive);
    assert!(next.stop(process, Stop::Force).await);
    // The next launcher is not its parent, so only a look says that it has ended.
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while next.liveness(process).await == Liveness::Alive {
        assert!(clock::monotonic() < deadline, "it did not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nothing_is_said_of_a_run_that_another_host_has_launched() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = SubprocessLauncher::of_this_host(folder.path());
    // No process has this pid: it is beyond the largest that Linux gives (proc(5), pid_max).
    let elsewhere = RunProcess { run_id: RunId::random(), epoch: 1, pid: Some(1 << 24) };
    assert_eq!(launcher.liveness(elsewhere).await, Liveness::Unknown);
    std::fs::create_dir(folder.path().join(elsewhere.run_id.to_string())).unwrap();
    assert_eq!(launcher.liveness(elsewhere).await, Liveness::Gone);
}
