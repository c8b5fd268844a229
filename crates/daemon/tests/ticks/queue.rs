//! The queue of runs: limits of the settings, and locations that are away.

use std::sync::atomic::Ordering;

use catchment_core::definitions::{JobSpec, LocationSnapshot, StepSpec};
use catchment_core::state::Command;
use catchment_core::{EventKind, Run, RunStatus};

use crate::stage::{BEGIN, LOCATION, Stage, at, seconds};

fn snapshot() -> LocationSnapshot {
    let step = |key: &str, needs: &[&str], pool: Option<&str>| StepSpec {
        key: key.into(),
        needs: needs.iter().map(|key| (*key).to_owned()).collect(),
        pool: pool.map(str::to_owned),
        ..StepSpec::default()
    };
    let plain = JobSpec { name: "job".into(), steps: vec![step("a", &[], None)], ..JobSpec::default() };
    // Its first step needs no slot, its second does.
    let pooled = JobSpec {
        name: "pooled".into(),
        steps: vec![step("a", &[], None), step("b", &["a"], Some("db"))],
        ..JobSpec::default()
    };
    LocationSnapshot { location: LOCATION.into(), jobs: vec![plain, pooled], ..LocationSnapshot::default() }
}

async fn launched(stage: &Stage) -> usize {
    stage.runs().await.iter().filter(|run| run.status == RunStatus::Starting).count()
}

async fn said(stage: &Stage, run: &Run) -> Vec<String> {
    let events = stage.instance.run_events(run.run_id, 0, 100).await.unwrap();
    let said = events.into_iter().filter(|event| event.event.kind == EventKind::EngineEvent);
    said.map(|event| event.event.message).collect()
}

#[tokio::test]
async fn as_many_runs_work_as_the_settings_allow() {
    for (setting, expected) in [("-1", 30), ("0", 0), ("4", 4)] {
        let stage = Stage::with(snapshot(), &format!("run_queue: {{max_concurrent_runs: {setting}}}")).await;
        for _ in 0..30 {
            stage.queued("job", &[]).await;
        }
        let mut work = stage.work().await;
        work.step("queue").await;
        work.step("queue").await;
        assert_eq!(launched(&stage).await, expected, "{setting}");
    }
}

#[tokio::test]
async fn tag_limits_of_the_settings_hold_for_a_value_for_all_and_for_each() {
    let yaml = "run_queue: {tag_concurrency_limits: [{key: site, value: a, limit: 1}, {key: kind, limit: 2}, \
                {key: team, value: {applyLimitPerUniqueValue: true}, limit: 1}]}";
    let stage = Stage::with(snapshot(), yaml).await;
    let all = [("site", "a"), ("site", "a"), ("site", "b"), ("site", "b")];
    let kinds = [("kind", "x"), ("kind", "y"), ("kind", "z")];
    let teams = [("team", "r"), ("team", "r"), ("team", "s")];
    for tag in all.into_iter().chain(kinds).chain(teams) {
        stage.queued("job", &[tag]).await;
    }
    stage.work().await.step("queue").await;
    let mut working: Vec<_> = stage.runs().await.into_iter().filter(|run| run.status == RunStatus::Starting).collect();
    working.sort_by_key(|run| run.tags.clone());
    let tags: Vec<_> = working.iter().flat_map(|run| &run.tags).map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(tags, ["kind=x", "kind=y", "site=a", "site=b", "site=b", "team=r", "team=s"]);
}

#[tokio::test]
async fn pools_bound_whole_runs_where_the_settings_say_so() {
    let yaml = |granularity: &str| format!("concurrency: {{pools: {{default_limit: 1, granularity: {granularity}}}}}");
    for (granularity, expected) in [("run", 1), ("op", 3)] {
        let stage = Stage::with(snapshot(), &yaml(granularity)).await;
        for _ in 0..3 {
            stage.queued("pooled", &[]).await;
        }
        let mut work = stage.work().await;
        work.step("queue").await;
        assert_eq!(launched(&stage).await, expected, "{granularity}");
        if granularity == "run" {
            let working = stage.runs().await.into_iter().find(|run| run.status == RunStatus::Starting).unwrap();
            stage.instance.command(working.run_id, Command::ForceCancel, None, None, stage.now()).await.unwrap();
            work.step("queue").await;
            assert_eq!(launched(&stage).await, 1, "the next takes its place");
        }
    }
}

#[tokio::test]
async fn a_run_whose_location_is_away_stays_in_the_queue_and_says_why() {
    let stage = Stage::new(snapshot()).await;
    let run = stage.queued("job", &[]).await;
    let mut work = stage.work().await;
    let asked = || stage.fake.asked.load(Ordering::SeqCst);
    stage.fake.set_away(true);
    for _ in 0..20 {
        work.step("queue").await;
    }
    assert_eq!(asked(), 1, "it is not asked again at once");
    assert_eq!(stage.runs().await[0].status, RunStatus::Queued);
    assert_eq!(said(&stage, &run).await.len(), 1, "it is said once");
    assert!(said(&stage, &run).await[0].contains("`here` did not answer"), "{:?}", said(&stage, &run).await);
    let mut gaps = Vec::new();
    for _ in 0..6 {
        let (before, began) = (asked(), stage.now());
        while asked() == before {
            stage.pass(seconds(1));
            work.step("queue").await;
        }
        gaps.push(stage.now().duration_since(began));
    }
    assert!(gaps.is_sorted() && gaps[0] < gaps[5], "{gaps:?}");
    // The workspace sees that it is away: then it is not asked at all.
    stage.locations.set(LOCATION, snapshot(), stage.fake.clone(), false, at(BEGIN));
    let before = asked();
    stage.pass(seconds(3600));
    work.step("queue").await;
    assert_eq!(asked(), before);
    assert!(said(&stage, &run).await.last().unwrap().contains("is away"));
    stage.fake.set_away(false);
    stage.locations.set(LOCATION, snapshot(), stage.fake.clone(), true, at(BEGIN));
    work.step("queue").await;
    assert_eq!(stage.runs().await[0].status, RunStatus::Starting);
}
