//! Locations that someone else serves: none disturbs another, and each is shown as it is.
use std::time::Duration;

use crate::support::{Answers, Server, asset, registry, state};
use catchment_core::sensor::SensorInput;
use catchment_locations::{GrpcClient, LocationClient as _, LocationError, Locations as _};
use catchment_model::{Code, Problem};
use catchment_settings::config::GrpcAddress;
use catchment_settings::{Home, clock};
use serde_json::json;

#[tokio::test]
async fn a_location_that_goes_away_is_shown_with_its_error_and_its_last_definitions_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let mut server = Server::start(folder.path(), "a").await;
    let registry = registry(&home, vec![server.entry("one")]);
    let here = state(&registry, "one", "here", |s| s.is_here).await;
    assert_eq!((here.snapshot.as_ref().unwrap().location.as_str(), asset(&here)), ("one", "a"));
    server.crash();
    let away = state(&registry, "one", "away", |s| !s.is_here).await;
    assert_eq!(away.problem.as_ref().unwrap().code, Code::Unavailable);
    assert_eq!(asset(&away), "a");
    server.answers.send_replace(Answers::asset("b"));
    server.again("2").await;
    let back = state(&registry, "one", "back", |s| s.is_here).await;
    assert_eq!((asset(&back), back.problem.as_ref()), ("b", None));
    assert!(back.loaded_at > here.loaded_at);
    registry.stop().await;
}

#[tokio::test]
async fn one_that_is_slow_and_one_that_is_not_there_hold_no_other_up() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let (good, slow, mut gone) = (
        Server::start(folder.path(), "good").await,
        Server::start(folder.path(), "slow").await,
        Server::start(folder.path(), "gone").await,
    );
    gone.crash();
    slow.answers.send_modify(|answers| answers.takes = Duration::from_secs(600));
    let began = clock::monotonic();
    let entries = vec![good.entry("good"), slow.entry("slow"), gone.entry("gone")];
    let registry = registry(&home, entries);
    state(&registry, "good", "the good one is here", |s| s.is_here).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let names: Vec<_> = registry.all().iter().map(|s| (s.name.clone(), s.is_here)).collect();
    assert_eq!(names, [("gone".into(), false), ("good".into(), true), ("slow".into(), false)]);
    registry.stop().await;
}

#[tokio::test]
async fn definitions_with_faults_are_served_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let server = Server::start(folder.path(), "a").await;
    let fault = Problem::new(Code::InvalidConfig, "asset `a` needs `z`, which is not there");
    server.answers.send_modify(|answers| answers.problem = Some(fault));
    let registry = registry(&home, vec![server.entry("one")]);
    let state = state(&registry, "one", "here", |s| s.is_here).await;
    let problem = state.problem.as_ref().unwrap();
    assert_eq!((problem.code, asset(&state)), (Code::InvalidConfig, "a"));
    assert!(problem.cause.as_ref().unwrap().contains("needs `z`"));
    registry.stop().await;
}

#[tokio::test]
async fn a_reload_asks_again_at_once_and_is_seen_even_if_nothing_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let server = Server::start(folder.path(), "a").await;
    let registry = registry(&home, vec![server.entry("one")]);
    let first = state(&registry, "one", "here", |s| s.is_here).await;
    let changed = registry.changed();
    registry.reload("one");
    let second = state(&registry, "one", "loaded again", |s| s.loaded_at > first.loaded_at).await;
    assert_eq!((second.since, asset(&second)), (first.since, "a"));
    assert!(changed.has_changed().unwrap());
    server.answers.send_replace(Answers::asset("b"));
    registry.reload("one");
    state(&registry, "one", "its new definitions", |s| asset(s) == "b").await;
    registry.stop().await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path().join("h")).unwrap();
    let server = Server::start(folder.path(), "a").await;
    server.answers.send_modify(|answers| answers.protocol = 99);
    let registry = registry(&home, vec![server.entry("one")]);
    let away =
        state(&registry, "one", "its error", |s| s.problem.as_ref().is_some_and(|p| p.what.contains("99"))).await;
    assert!(!away.is_here && away.problem.as_ref().unwrap().remedy.is_some());
    registry.stop().await;
}

#[tokio::test]
async fn what_a_location_answers_comes_back_as_it_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "a").await;
    let address = GrpcAddress::Socket(server.socket.clone());
    let client = GrpcClient::new(&address).unwrap();
    let evaluated =
        client.evaluate_schedule("nightly", "2026-03-29T01:00:00Z".parse().unwrap(), 7, None).await.unwrap();
    assert_eq!(evaluated.outcome.unwrap().skip_reason.as_deref(), Some("nightly 2026-03-29T01:00:00Z"));
    assert_eq!(evaluated.log[0].message, "looked");
    let refused = client.evaluate_sensor("s", None, 1, &SensorInput::default()).await.unwrap_err();
    let LocationError::Refused(problem) = refused else { panic!("it is there: {refused:?}") };
    assert_eq!((problem.code, problem.what.as_str()), (Code::Forbidden, "not today"));
}

#[tokio::test]
async fn a_location_is_told_the_config_of_the_run_that_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "a").await;
    let client = GrpcClient::new(&GrpcAddress::Socket(server.socket.clone())).unwrap();
    let client = client.with_run_environment(vec![("OF_THE_WORKSPACE".into(), "x".into())]);
    let run = json!({
        "run_id": "00000000-0000-4000-8000-000000000000", "job_name": "j", "location": "l", "status": "STARTING",
        "run_config": {"a": {"env": "NAME"}}, "tags": {}, "created_at": "2026-01-01T00:00:00Z", "lease_epoch": 3,
    });
    let command = client.run_command(&serde_json::from_value(run).unwrap()).await.unwrap();
    let config = r#"{"a":{"env":"NAME"}}"#;
    assert_eq!(command.environment, [("CONFIG".into(), config.into()), ("OF_THE_WORKSPACE".into(), "x".into())]);
    assert!(!format!("{command:?}").contains("NAME"), "values may be secrets: they are not shown");
}
