//! Locations that are given by a binary: started, watched, and replaced when the file changes.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Answers, asset, registry, serve, state, until};
use catchment_locations::Locations as _;
use catchment_model::Code;
use catchment_settings::config::{LocationEntry, LocationSource};
use catchment_settings::{Home, clock};
use tokio::sync::watch;

/// What a binary that a test writes starts: this program, as a code server. Without its variables it does nothing.
#[tokio::test]
async fn as_a_code_server() {
    if let Ok(asset) = std::env::var("FAKE_ASSET") {
        let socket = PathBuf::from(std::env::var("FAKE_SOCKET").unwrap());
        let (_answers, receiver) = watch::channel(Answers::asset(&asset));
        serve(&socket, &std::process::id().to_string(), receiver).await;
    }
}

/// A binary whose code server defines one asset, which may be taken from a variable.
fn binary(path: &Path, asset: &str) {
    let program = std::env::current_exe().unwrap();
    write(
        path,
        &format!(
            "#!/bin/sh\nFAKE_ASSET={asset} FAKE_SOCKET=\"$3\" exec {} --exact code_server::as_a_code_server --nocapture\n",
            program.display()
        ),
    );
}

/// Puts a file in its place at once, as a linker that has ended does.
fn write(path: &Path, script: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn entry(path: &Path) -> LocationEntry {
    let environment = [("GREETING".to_owned(), "hi".to_owned())].into();
    LocationEntry { name: "one".into(), source: LocationSource::Binary { path: path.to_owned(), environment } }
}

#[tokio::test]
async fn the_code_server_is_started_with_its_environment_and_started_again_when_it_dies() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let path = folder.path().join("bin");
    binary(&path, "$GREETING");
    let registry = registry(&home, vec![entry(&path)]);
    let first = state(&registry, "one", "here", |s| s.is_here).await;
    assert_eq!(asset(&first), "hi");
    let pid = first.server_id.parse().unwrap();
    // SAFETY: sending a signal touches no memory; the process is this test's own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    let second = state(&registry, "one", "back", |s| s.is_here && s.server_id != first.server_id).await;
    second.client.describe().await.unwrap();
    registry.stop().await;
    let pid = second.server_id.parse().unwrap();
    // SAFETY: as above; the signal 0 only asks.
    assert_ne!(unsafe { libc::kill(pid, 0) }, 0, "it ends with the registry");
}

#[tokio::test]
async fn a_code_server_that_runs_and_does_not_answer_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let path = folder.path().join("bin");
    binary(&path, "a");
    let registry = registry(&home, vec![entry(&path)]);
    let first = state(&registry, "one", "here", |s| s.is_here).await;
    let pid = first.server_id.parse().unwrap();
    // SAFETY: sending a signal touches no memory; the process is this test's own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
    let deadline = clock::monotonic() + Duration::from_secs(90);
    let another = || registry.get("one").filter(|s| s.is_here && s.server_id != first.server_id);
    while another().is_none() {
        assert!(clock::monotonic() < deadline, "it was not replaced");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    another().unwrap().client.describe().await.unwrap();
    // SAFETY: the signal 0 only asks.
    until("the end of the one that hangs", || unsafe { libc::kill(pid, 0) } != 0).await;
    registry.stop().await;
}

#[tokio::test]
async fn a_changed_binary_takes_over_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let path = folder.path().join("bin");
    binary(&path, "a");
    let registry = registry(&home, vec![entry(&path)]);
    let first = state(&registry, "one", "here", |s| s.is_here).await;
    binary(&path, "b");
    until("the new definitions", || {
        let now = registry.get("one").unwrap();
        assert!(now.is_here, "it is never away: {:?}", now.problem);
        asset(&now) == "b"
    })
    .await;
    let pid = first.server_id.parse().unwrap();
    // SAFETY: the signal 0 only asks.
    let gone = || unsafe { libc::kill(pid, 0) } != 0;
    until("the end of the old one", gone).await;
    let now = registry.get("one").unwrap();
    assert_eq!(now.since, first.since);
    now.client.describe().await.unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn a_changed_binary_that_does_not_serve_leaves_the_old_one_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let path = folder.path().join("bin");
    binary(&path, "a");
    let registry = registry(&home, vec![entry(&path)]);
    state(&registry, "one", "here", |s| s.is_here).await;
    write(&path, "#!/bin/sh\necho asset z is not there >&2\nexit 2\n");
    let now = state(&registry, "one", "the fault", |s| s.problem.is_some()).await;
    assert!(now.is_here && asset(&now) == "a");
    let problem = now.problem.as_ref().unwrap();
    assert_ne!(problem.code, Code::Unavailable, "it is not away");
    assert!(problem.cause.as_ref().unwrap().contains("asset z is not there"));
    now.client.describe().await.unwrap();
    binary(&path, "c");
    let now = state(&registry, "one", "what was mended", |s| asset(s) == "c").await;
    assert_eq!(now.problem, None);
    registry.stop().await;
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_told_and_started_once_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let path = folder.path().join("bin");
    let registry = registry(&home, vec![entry(&path)]);
    registry.settled(std::time::Duration::from_secs(20)).await;
    let away = registry.get("one").unwrap();
    let problem = away.problem.as_ref().unwrap();
    assert_eq!((away.is_here, problem.code), (false, Code::Unavailable));
    assert_eq!(problem.place.as_deref(), Some(path.to_str().unwrap()));
    binary(&path, "a");
    state(&registry, "one", "here", |s| s.is_here).await;
    let reloaded = registry.get("one").unwrap();
    registry.reload("one");
    state(&registry, "one", "another process", |s| s.server_id != reloaded.server_id).await;
    registry.stop().await;
}
