//! Failed runs that are run again, and why they failed.

use catchment_core::definitions::{JobSpec, LocationSnapshot, StepSpec};
use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, Run, RunStatus, tags};
use catchment_model::{Code, Problem};

use crate::stage::{LOCATION, Stage, Work};

fn snapshot() -> LocationSnapshot {
    let step = |key: &str, needs: &[&str]| StepSpec {
        key: key.into(),
        needs: needs.iter().map(|key| (*key).to_owned()).collect(),
        ..StepSpec::default()
    };
    let job = JobSpec { name: "job".into(), steps: vec![step("a", &[]), step("b", &["a"])], ..JobSpec::default() };
    LocationSnapshot { location: LOCATION.into(), jobs: vec![job], ..LocationSnapshot::default() }
}

async fn step_event(stage: &Stage, run: &Run, kind: EventKind, step: &str) {
    let event = NewEvent {
        run_id: run.run_id,
        timestamp: stage.now(),
        kind,
        step_key: Some(step.to_owned()),
        level: Level::Info,
        message: String::new(),
        data: serde_json::Value::Null,
    };
    stage.instance.append(&[event], None).await.unwrap();
}

/// Lets the run start, do its first step and fail at its second.
async fn fails(stage: &Stage, run: &Run) {
    let run = stage.start(run.run_id).await;
    for (kind, step) in [
        (EventKind::StepStart, "a"),
        (EventKind::StepSuccess, "a"),
        (EventKind::StepStart, "b"),
        (EventKind::StepFailure, "b"),
    ] {
        step_event(stage, &run, kind, step).await;
    }
    stage.end(&run, Command::Fail(Problem::new(Code::Io, "no room"))).await;
}

/// Lets the process of a run be lost before its first step.
async fn is_lost(stage: &Stage, run: &Run) {
    let run = stage.start(run.run_id).await;
    stage.end(&run, Command::Fail(Problem::new(Code::RunLost, "gone"))).await;
}

/// Runs that wait, after the daemon has seen the failures.
async fn again(stage: &Stage, work: &mut Work) -> Vec<Run> {
    work.step("retries").await;
    stage.runs().await.into_iter().filter(|run| run.status == RunStatus::Queued).collect()
}

#[tokio::test]
async fn a_failed_run_is_run_again_as_often_as_allowed_and_each_says_whose_successor_it_is() {
    let stage = Stage::with(snapshot(), "run_retries: {enabled: true, max_retries: 2}").await;
    let mut work = stage.work().await;
    let root = stage.queued("job", &[("team", "maps")]).await;
    let mut parent = root.clone();
    for number in ["1", "2"] {
        fails(&stage, &parent).await;
        let [next] = again(&stage, &mut work).await.try_into().unwrap();
        let ids = [tags::ROOT_RUN_ID, tags::PARENT_RUN_ID].map(|tag| next.tags[tag].clone());
        assert_eq!(ids, [root.run_id.to_string(), parent.run_id.to_string()]);
        assert_eq!((next.tags[tags::RETRY_NUMBER].as_str(), next.tags["team"].as_str()), (number, "maps"));
        assert_eq!(next.selection.steps, ["b"], "what ended well is not done again");
        let failed = stage.instance.run(parent.run_id).await.unwrap().unwrap();
        assert_eq!(failed.tags[tags::WILL_RETRY], "true");
        assert_eq!(failed.tags[tags::AUTO_RETRY_RUN_ID], next.run_id.to_string());
        parent = next;
    }
    fails(&stage, &parent).await;
    assert!(again(&stage, &mut work).await.is_empty());
    let last = stage.instance.run(parent.run_id).await.unwrap().unwrap();
    assert_eq!(last.tags[tags::WILL_RETRY], "false");
}

#[tokio::test]
async fn successors_that_people_asked_for_count_as_well() {
    let stage = Stage::with(snapshot(), "run_retries: {enabled: true, max_retries: 1}").await;
    let mut work = stage.work().await;
    let root = stage.queued("job", &[]).await;
    let by_hand = stage.queued("job", &[(tags::ROOT_RUN_ID, &root.run_id.to_string())]).await;
    stage.instance.command(by_hand.run_id, Command::Cancel, None, None, stage.now()).await.unwrap();
    fails(&stage, &root).await;
    assert!(again(&stage, &mut work).await.is_empty());
}

#[tokio::test]
async fn tags_of_a_run_decide_over_the_settings() {
    let stage = Stage::with(snapshot(), "run_retries: {enabled: true, max_retries: 3}").await;
    let mut work = stage.work().await;
    let never = stage.queued("job", &[(tags::MAX_RETRIES, "0")]).await;
    fails(&stage, &never).await;
    assert!(again(&stage, &mut work).await.is_empty());
    let whole = stage.queued("job", &[(tags::RETRY_STRATEGY, "ALL_STEPS")]).await;
    fails(&stage, &whole).await;
    let [next] = again(&stage, &mut work).await.try_into().unwrap();
    assert!(next.selection.is_everything() && !next.tags.contains_key(tags::RESUME_RETRY));
    stage.instance.command(next.run_id, Command::Cancel, None, None, stage.now()).await.unwrap();
    // Only what was lost is run again, not what a step has failed of.
    let only_lost = [(tags::RETRY_ON_STEP_FAILURE, "false")];
    let failed = stage.queued("job", &only_lost).await;
    fails(&stage, &failed).await;
    assert!(again(&stage, &mut work).await.is_empty());
    let lost = stage.queued("job", &only_lost).await;
    is_lost(&stage, &lost).await;
    assert_eq!(again(&stage, &mut work).await.len(), 1);
}

#[tokio::test]
async fn without_settings_and_tags_nothing_is_run_again() {
    let stage =
        Stage::with(snapshot(), "run_retries: {enabled: true, max_retries: 3, retry_on_asset_or_op_failure: false}")
            .await;
    let run = stage.queued("job", &[]).await;
    fails(&stage, &run).await;
    assert!(again(&stage, &mut stage.work().await).await.is_empty());
    let stage = Stage::new(snapshot()).await;
    let run = stage.queued("job", &[]).await;
    is_lost(&stage, &run).await;
    assert!(again(&stage, &mut stage.work().await).await.is_empty());
    let run = stage.queued("job", &[(tags::MAX_RETRIES, "1")]).await;
    is_lost(&stage, &run).await;
    assert_eq!(again(&stage, &mut stage.work().await).await.len(), 1, "the tag suffices");
}

#[tokio::test]
async fn each_failed_run_has_the_reason_of_its_failure() {
    let stage = Stage::new(snapshot()).await;
    let mut expected = Vec::new();
    let queued = async || stage.queued("job", &[]).await;
    let run = queued().await;
    fails(&stage, &run).await;
    expected.push((run.run_id, "STEP_FAILURE"));
    let run = queued().await;
    is_lost(&stage, &run).await;
    expected.push((run.run_id, "UNEXPECTED_TERMINATION"));
    // The job is not there: before the process, and in it.
    for has_started in [false, true] {
        let run = queued().await;
        let run = if has_started { stage.start(run.run_id).await } else { run };
        let problem = Problem::new(Code::NotFound, "no such job");
        stage.instance.command(run.run_id, Command::Fail(problem), None, None, stage.now()).await.unwrap();
        expected.push((run.run_id, "JOB_INITIALIZATION_FAILURE"));
    }
    // Its process ended before it said a word; it never came.
    for (code, reason) in [(Code::RunLost, "UNEXPECTED_TERMINATION"), (Code::LimitExceeded, "START_TIMEOUT")] {
        let run = queued().await;
        stage.instance.command(run.run_id, Command::Launch, None, Some(stage.now()), stage.now()).await.unwrap();
        let problem = Problem::new(code, "too bad");
        stage.instance.command(run.run_id, Command::Fail(problem), None, None, stage.now()).await.unwrap();
        expected.push((run.run_id, reason));
    }
    let run = stage.start(queued().await.run_id).await;
    step_event(&stage, &run, EventKind::StepStart, "a").await;
    stage.end(&run, Command::Fail(Problem::new(Code::Io, "the state is away"))).await;
    expected.push((run.run_id, "RUN_EXCEPTION"));
    stage.work().await.step("retries").await;
    for (run_id, reason) in expected {
        let run = stage.instance.run(run_id).await.unwrap().unwrap();
        assert_eq!(run.tags[tags::FAILURE_REASON], reason, "{:?}", run.problem);
    }
}
