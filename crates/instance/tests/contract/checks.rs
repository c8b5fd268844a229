//! Evaluations of checks.

use catchment_core::state::Command;
use catchment_core::{EventKind, NewEvent, RunId};
use catchment_instance::{CheckExecution, CheckStatus, Lease, SharedInstance};
use catchment_model::{Code, Problem};
use serde_json::json;

use super::{Backend, about, at, working_run};

fn planned(run: RunId, check: &str, second: i64) -> NewEvent {
    about(EventKind::AssetCheckEvaluationPlanned, run, "a", None, second, json!({ "check_name": check }))
}

fn evaluated(run: RunId, check: &str, partition: Option<&str>, passed: bool, second: i64) -> NewEvent {
    let data = json!({ "check_name": check, "passed": passed, "severity": "ERROR" });
    about(EventKind::AssetCheckEvaluation, run, "a", partition, second, data)
}

fn step(kind: EventKind, run: RunId) -> NewEvent {
    NewEvent { data: serde_json::Value::Null, ..about(kind, run, "a", None, 2, serde_json::Value::Null) }
}

async fn executions(instance: &SharedInstance, check: &str) -> Vec<CheckExecution> {
    instance.check_executions("a", check, None, 99).await.unwrap()
}

async fn statuses(instance: &SharedInstance, check: &str) -> Vec<CheckStatus> {
    executions(instance, check).await.into_iter().map(|execution| execution.status).collect()
}

async fn end(instance: &SharedInstance, lease: Lease, command: Command) {
    instance.command(lease.run_id, command, Some(lease), None, at(9)).await.unwrap();
}

fn broken() -> Command {
    Command::Fail(Problem::new(Code::Bug, "broken"))
}

pub(crate) async fn a_check_is_in_progress_until_it_is_evaluated(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    instance.append(&[planned(run, "rows", 1)], None).await.unwrap();
    let before = executions(&instance, "rows").await.remove(0);
    assert_eq!((before.status, before.timestamp, before.run_id), (CheckStatus::InProgress, at(1), run));
    assert_eq!(before.evaluation, None);
    let event = evaluated(run, "rows", None, true, 2);
    let id = instance.append(std::slice::from_ref(&event), None).await.unwrap();
    let after = executions(&instance, "rows").await;
    assert_eq!((after.len(), after[0].id, after[0].status), (1, before.id, CheckStatus::Succeeded));
    let evaluation = after[0].evaluation.as_ref().unwrap();
    assert_eq!((evaluation.id, &evaluation.event), (id, &event));
    assert_eq!(after[0].timestamp, at(2));
}

pub(crate) async fn a_check_that_its_run_did_not_reach_was_skipped(backend: &dyn Backend) {
    let instance = backend.open().await;
    for command in [Command::Succeed, broken()] {
        let lease = working_run(&instance).await;
        instance.append(&[planned(lease.run_id, "rows", 1)], Some(lease)).await.unwrap();
        end(&instance, lease, command).await;
        assert_eq!(statuses(&instance, "rows").await[0], CheckStatus::Skipped);
    }
    let lease = working_run(&instance).await;
    let seen = [
        planned(lease.run_id, "rows", 1),
        step(EventKind::StepStart, lease.run_id),
        step(EventKind::StepSkipped, lease.run_id),
    ];
    instance.append(&seen, Some(lease)).await.unwrap();
    end(&instance, lease, Command::Succeed).await;
    assert_eq!(statuses(&instance, "rows").await, [CheckStatus::Skipped; 3]);
}

pub(crate) async fn a_check_whose_step_failed_could_not_be_evaluated(backend: &dyn Backend) {
    let instance = backend.open().await;
    // The step said that it failed; or its process ended while it worked.
    for said in [vec![EventKind::StepStart, EventKind::StepFailure], vec![EventKind::StepStart]] {
        let lease = working_run(&instance).await;
        let mut events = vec![planned(lease.run_id, "rows", 1), planned(lease.run_id, "done", 1)];
        events.extend(said.into_iter().map(|kind| step(kind, lease.run_id)));
        events.push(evaluated(lease.run_id, "done", None, false, 2));
        instance.append(&events, Some(lease)).await.unwrap();
        end(&instance, lease, broken()).await;
        assert_eq!(statuses(&instance, "rows").await[0], CheckStatus::ExecutionFailed);
        assert_eq!(statuses(&instance, "done").await[0], CheckStatus::Failed);
    }
}

pub(crate) async fn a_step_that_is_tried_again_evaluates_its_check_again(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    let events =
        [planned(run, "rows", 1), evaluated(run, "rows", None, false, 2), evaluated(run, "rows", None, true, 3)];
    instance.append(&events, None).await.unwrap();
    let found = executions(&instance, "rows").await;
    assert_eq!((found.len(), found[0].status, found[0].timestamp), (1, CheckStatus::Succeeded, at(3)));
}

pub(crate) async fn checks_of_partitions_and_from_outside_are_evaluations_of_their_own(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    let events = [
        planned(run, "rows", 1),
        evaluated(run, "rows", Some("x"), true, 2),
        evaluated(run, "rows", Some("y"), false, 3),
        evaluated(RunId::NONE, "rows", None, true, 4),
        evaluated(RunId::NONE, "rows", None, false, 5),
    ];
    instance.append(&events, None).await.unwrap();
    let found = executions(&instance, "rows").await;
    let found: Vec<_> = found.iter().map(|e| (e.partition.as_deref(), e.status, e.timestamp)).collect();
    assert_eq!(
        found,
        [
            (None, CheckStatus::Failed, at(5)),
            (None, CheckStatus::Succeeded, at(4)),
            (Some("y"), CheckStatus::Failed, at(3)),
            (Some("x"), CheckStatus::Succeeded, at(2)),
        ]
    );
    let all = executions(&instance, "rows").await;
    let page = instance.check_executions("a", "rows", Some(all[1].id), 1).await.unwrap();
    assert_eq!(page, all[2..3]);
}

pub(crate) async fn the_newest_evaluation_of_each_check_is_found(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = working_run(&instance).await.run_id;
    let events = [
        evaluated(RunId::NONE, "rows", None, false, 1),
        evaluated(RunId::NONE, "columns", None, true, 2),
        evaluated(RunId::NONE, "rows", None, true, 3),
        planned(run, "columns", 4),
    ];
    instance.append(&events, None).await.unwrap();
    let found = instance.latest_checks(&["a".into(), "b".into()]).await.unwrap();
    let found: Vec<_> = found.iter().map(|e| (e.check_name.as_str(), e.status)).collect();
    assert_eq!(found, [("columns", CheckStatus::InProgress), ("rows", CheckStatus::Succeeded)]);
    assert!(instance.latest_checks(&["b".into()]).await.unwrap().is_empty());
}

pub(crate) async fn the_newest_evaluation_of_each_partition_is_found(backend: &dyn Backend) {
    let instance = backend.open().await;
    let events = [
        evaluated(RunId::NONE, "rows", Some("x"), false, 1),
        evaluated(RunId::NONE, "rows", Some("y"), true, 2),
        evaluated(RunId::NONE, "columns", Some("x"), false, 3),
        evaluated(RunId::NONE, "rows", Some("x"), true, 4),
    ];
    instance.append(&events, None).await.unwrap();
    let found = instance.latest_of_partitions("a", "rows").await.unwrap();
    let found: Vec<_> = found.iter().map(|e| (e.partition.as_deref(), e.status, e.timestamp)).collect();
    let passed = CheckStatus::Succeeded;
    assert_eq!(found, [(Some("y"), passed, at(2)), (Some("x"), passed, at(4))]);
}
