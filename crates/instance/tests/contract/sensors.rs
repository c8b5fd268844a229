//! Admission: exactly once, however often it is tried.

use catchment_core::definitions::ASSET_JOB;
use catchment_core::instigator::TickStatus;
use catchment_core::sensor::{
    AddPartitions, Claim, ClaimKey, ClaimOutcome, DeletePartitions, Rejection, RunRequest, SensorResult,
};
use catchment_core::{EventKind, Instigator, RunId, RunStatus, Selection, tags};
use catchment_instance::{Admitted, InstanceError, RunFilter, SharedInstance, TickFilter};
use catchment_model::{Code, Problem};

use super::{Backend, at, claimed, materialized, requests};

fn sensor() -> Instigator {
    Instigator::sensor("etl_pipelines", "manifest_sensor")
}

async fn admit(instance: &SharedInstance, result: SensorResult) -> Admitted {
    let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
    instance.admit(tick.id, result, &[], at(2)).await.unwrap()
}

async fn cursor(instance: &SharedInstance) -> Option<String> {
    instance.instigator(&sensor()).await.unwrap().cursor
}

async fn finish(instance: &SharedInstance, admitted: &Admitted) {
    let keys: Vec<ClaimKey> = admitted.claims.iter().map(|c| c.claim.clone()).collect();
    instance.finish_claims(&sensor(), &keys).await.unwrap();
}

async fn runs(instance: &SharedInstance) -> usize {
    instance.runs(&RunFilter::default(), None, 100).await.unwrap().len()
}

fn code(claim: &Claim) -> Option<Code> {
    match &claim.outcome {
        ClaimOutcome::Accepted { .. } => None,
        ClaimOutcome::Rejected { problem } => Some(problem.code),
    }
}

fn refusal(key: &str, etag: &str) -> SensorResult {
    let claim = ClaimKey { key: key.into(), etag: etag.into() };
    let problem = Problem::new(Code::InvalidManifest, "not JSON");
    SensorResult { rejections: vec![Rejection { claim, problem }], ..SensorResult::default() }
}

pub(crate) async fn one_admission_writes_run_key_partition_cursor_and_tick(backend: &dyn Backend) {
    let instance = backend.open().await;
    let result = SensorResult {
        add_partitions: vec![AddPartitions { definition: "dataset_id".into(), keys: vec!["parcels".into()] }],
        cursor: Some("c1".into()),
        ..requests([claimed("b1", "manifests/a.json", "e1")])
    };
    let admitted = admit(&instance, result).await;
    assert_eq!(admitted.tick.status, TickStatus::Success);
    let run = instance.run(admitted.tick.run_ids[0]).await.unwrap().unwrap();
    assert_eq!((run.status, run.partition_key.as_deref()), (RunStatus::Queued, Some("parcels")));
    for (key, value) in [
        (tags::RUN_KEY, "b1"),
        (tags::SENSOR_NAME, "manifest_sensor"),
        (tags::PARTITION, "parcels"),
        (tags::CODE_LOCATION, "etl_pipelines"),
        ("colour", "blue"),
    ] {
        assert_eq!(run.tags.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(instance.run_events(run.run_id, 0, 9).await.unwrap()[0].event.kind, EventKind::RunEnqueued);
    assert_eq!(cursor(&instance).await.as_deref(), Some("c1"));
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["parcels"]);
    assert_eq!(
        instance.ticks(&sensor(), &TickFilter::default(), None, 9).await.unwrap(),
        std::slice::from_ref(&admitted.tick)
    );
    assert_eq!(instance.unfinished_claims(&sensor(), 9).await.unwrap(), admitted.claims);
    finish(&instance, &admitted).await;
    assert!(instance.unfinished_claims(&sensor(), 9).await.unwrap().is_empty());
}

pub(crate) async fn the_same_claim_again_before_it_is_finished_keeps_its_outcome(backend: &dyn Backend) {
    let instance = backend.open().await;
    let first = admit(&instance, requests([claimed("b1", "manifests/a.json", "e1")])).await;
    let bad = admit(&instance, refusal("manifests/b.json", "e2")).await;
    drop(instance);
    let instance = backend.open().await;
    let again = admit(&instance, requests([claimed("b1", "manifests/a.json", "e1")])).await;
    assert_eq!((again.claims, again.tick.status), (first.claims, TickStatus::Skipped));
    assert_eq!(admit(&instance, refusal("manifests/b.json", "e2")).await.claims, bad.claims);
    assert_eq!(runs(&instance).await, 1);
}

pub(crate) async fn the_same_claim_again_after_it_was_finished_is_a_duplicate(backend: &dyn Backend) {
    let instance = backend.open().await;
    let first = admit(&instance, requests([claimed("b1", "manifests/a.json", "e1")])).await;
    finish(&instance, &first).await;
    for _ in 0..2 {
        let again = admit(&instance, requests([claimed("b1", "manifests/a.json", "e1")])).await;
        assert_eq!(again.claims.iter().map(code).collect::<Vec<_>>(), [Some(Code::DuplicateBatch)]);
        assert!(format!("{:?}", again.claims).contains(&first.tick.run_ids[0].to_string()));
        assert_eq!((again.tick.status, again.tick.duplicate_run_keys), (TickStatus::Success, vec!["b1".to_owned()]));
        assert_eq!(again.tick.rejected, again.claims);
    }
    assert_eq!(runs(&instance).await, 1);
}

pub(crate) async fn another_object_with_the_same_run_key_is_a_duplicate(backend: &dyn Backend) {
    let instance = backend.open().await;
    let first = admit(&instance, requests([claimed("b1", "manifests/a.json", "e1")])).await;
    let second = admit(&instance, requests([claimed("b1", "manifests/other.json", "e9")])).await;
    assert_eq!(second.claims.iter().map(code).collect::<Vec<_>>(), [Some(Code::DuplicateBatch)]);
    let text = format!("{:?}", second.claims);
    assert!(text.contains(&first.tick.run_ids[0].to_string()) && text.contains("manifests/a.json"), "{text}");
    assert_eq!(runs(&instance).await, 1);
    assert_eq!(instance.unfinished_claims(&sensor(), 9).await.unwrap().len(), 2);
}

pub(crate) async fn two_objects_with_one_run_key_in_one_answer_make_one_run(backend: &dyn Backend) {
    let instance = backend.open().await;
    let both = [claimed("b1", "manifests/a.json", "e1"), claimed("b1", "manifests/b.json", "e1")];
    let admitted = admit(&instance, requests(both)).await;
    assert_eq!(admitted.claims.iter().map(code).collect::<Vec<_>>(), [None, Some(Code::DuplicateBatch)]);
    assert_eq!(runs(&instance).await, 1);
}

pub(crate) async fn a_refusal_does_not_use_its_run_key_up(backend: &dyn Backend) {
    let instance = backend.open().await;
    let bad = admit(&instance, refusal("manifests/a.json", "e1")).await;
    assert_eq!((bad.tick.status, bad.claims.len()), (TickStatus::Success, 1));
    finish(&instance, &bad).await;
    let bad_again = admit(&instance, refusal("manifests/a.json", "e1")).await;
    assert_eq!(code(&bad_again.claims[0]), Some(Code::InvalidManifest));
    finish(&instance, &bad_again).await;
    let good = admit(&instance, requests([claimed("b1", "manifests/a.json", "e2")])).await;
    assert_eq!(code(&good.claims[0]), None);
    assert_eq!(runs(&instance).await, 1);
}

pub(crate) async fn a_request_without_a_claim_is_launched_once_for_its_run_key(backend: &dyn Backend) {
    let instance = backend.open().await;
    let request = || {
        let mut request = claimed("b1", "", "");
        request.claim = None;
        request
    };
    assert_eq!(admit(&instance, requests([request()])).await.tick.run_ids.len(), 1);
    let again = admit(&instance, requests([request()])).await;
    assert_eq!((again.tick.status, again.tick.duplicate_run_keys), (TickStatus::Skipped, vec!["b1".to_owned()]));
    let keyless = || {
        let mut request = request();
        request.run_key = None;
        request
    };
    assert_eq!(admit(&instance, requests([keyless(), keyless()])).await.tick.run_ids.len(), 2);
    assert_eq!(runs(&instance).await, 3);
}

pub(crate) async fn admission_by_many_at_once_makes_each_run_once(backend: &dyn Backend) {
    let mut tries = Vec::new();
    for n in 0..6 {
        let instance = backend.open().await;
        tries.push(async move {
            // A tick that begins ends the one before it, whose admission is then refused whole.
            let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
            let wanted = (0..5).map(|b| claimed(&format!("b{b}"), &format!("manifests/{b}-{n}.json"), "e"));
            instance.admit(tick.id, requests(wanted), &[], at(2)).await.map(|a| a.tick.run_ids.len())
        });
    }
    let made: usize = futures::future::join_all(tries).await.into_iter().filter_map(Result::ok).sum();
    assert_eq!(made, 5);
    assert_eq!(runs(&backend.open().await).await, 5);
}

pub(crate) async fn what_a_sensor_reports_of_assets_and_partitions_is_admitted_with_its_cursor(backend: &dyn Backend) {
    let instance = backend.open().await;
    instance.add_partitions("dataset_id", &["old".into(), "kept".into()]).await.unwrap();
    let result = SensorResult {
        add_partitions: vec![AddPartitions { definition: "dataset_id".into(), keys: vec!["new".into()] }],
        delete_partitions: vec![DeletePartitions { definition: "dataset_id".into(), keys: vec!["old".into()] }],
        asset_events: vec![materialized(RunId::random(), "outside", Some("new"), 5)],
        cursor: Some("7".into()),
        ..SensorResult::default()
    };
    let admitted = admit(&instance, result).await;
    assert_eq!(admitted.tick.status, TickStatus::Skipped);
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["kept", "new"]);
    let asset = instance.assets(&[], None, 9).await.unwrap().remove(0);
    assert_eq!((asset.asset_key.as_str(), asset.materialized_by), ("outside", Some(RunId::NONE)));
    assert_eq!(cursor(&instance).await.as_deref(), Some("7"));
}

pub(crate) async fn a_request_of_assets_alone_goes_to_the_hidden_job(backend: &dyn Backend) {
    let instance = backend.open().await;
    let selection = Selection { assets: vec!["a".into(), "b".into()], ..Selection::default() };
    let request = RunRequest { selection: selection.clone(), ..RunRequest::default() };
    let admitted = admit(&instance, requests([request])).await;
    let run = instance.run(admitted.tick.run_ids[0]).await.unwrap().unwrap();
    assert_eq!((run.job_name.as_str(), run.selection), (ASSET_JOB, selection));
}

pub(crate) async fn a_schedule_asks_once_for_each_time_and_run_key(backend: &dyn Backend) {
    let instance = backend.open().await;
    let schedule = Instigator::schedule("etl_pipelines", "nightly");
    let request = |run_key: Option<&str>| RunRequest {
        run_key: run_key.map(str::to_owned),
        job_name: "spatial_asset_job".into(),
        ..RunRequest::default()
    };
    let evaluate = async |time: i64, keys: &[Option<&str>]| {
        let tick = instance.begin_tick(&schedule, Some(at(time)), at(time + 1)).await.unwrap();
        let wanted = requests(keys.iter().map(|key| request(*key)));
        instance.admit(tick.id, wanted, &[], at(time + 2)).await.unwrap().tick
    };
    let first = evaluate(0, &[None]).await;
    let run = instance.run(first.run_ids[0]).await.unwrap().unwrap();
    for (key, value) in [
        (tags::SCHEDULE_NAME, "nightly".to_owned()),
        (tags::SCHEDULED_EXECUTION_TIME, at(0).to_string()),
        (tags::TICK, first.id.to_string()),
    ] {
        assert_eq!(run.tags.get(key), Some(&value), "{key}");
    }
    assert!(!run.tags.contains_key(tags::SENSOR_NAME) && !run.tags.contains_key(tags::RUN_KEY));
    let again = evaluate(0, &[None]).await;
    assert_eq!((again.status, again.run_ids.len()), (TickStatus::Skipped, 0));
    assert_eq!(evaluate(60, &[None]).await.run_ids.len(), 1);
    // A key stands for its time only, and a request without one is another request.
    let keyed = evaluate(0, &[Some("a"), Some("b"), Some("a")]).await;
    assert_eq!((keyed.run_ids.len(), keyed.duplicate_run_keys), (2, vec!["a".to_owned()]));
    assert_eq!(evaluate(60, &[Some("a")]).await.run_ids.len(), 1);
}

pub(crate) async fn run_keys_of_one_sensor_are_not_those_of_another(backend: &dyn Backend) {
    let instance = backend.open().await;
    for name in ["manifest_sensor", "another"] {
        for location in ["etl_pipelines", "other_location"] {
            let tick = instance.begin_tick(&Instigator::sensor(location, name), None, at(1)).await.unwrap();
            let mut request = claimed("b1", "", "");
            request.claim = None;
            let admitted = instance.admit(tick.id, requests([request]), &[], at(2)).await.unwrap();
            let run = instance.run(admitted.tick.run_ids[0]).await.unwrap().unwrap();
            assert_eq!(run.location, location);
        }
    }
}

pub(crate) async fn a_tick_that_another_daemon_has_ended_admits_nothing(backend: &dyn Backend) {
    let (old, new) = (backend.open().await, backend.open().await);
    let late = old.begin_tick(&sensor(), None, at(1)).await.unwrap();
    new.begin_tick(&sensor(), None, at(2)).await.unwrap();
    let result = SensorResult {
        add_partitions: vec![AddPartitions { definition: "dataset_id".into(), keys: vec!["x".into()] }],
        cursor: Some("late".into()),
        ..requests([claimed("b1", "manifests/a.json", "e1")])
    };
    let refused = old.admit(late.id, result, &[], at(3)).await.unwrap_err();
    assert!(matches!(&refused, InstanceError::NotFound(what) if what.contains("FAILURE")), "{refused}");
    assert!(old.fail_tick(late.id, Problem::new(Code::Bug, "x"), Some("late"), at(3)).await.is_err());
    assert_eq!((runs(&new).await, cursor(&new).await), (0, None));
    assert!(new.partitions("dataset_id").await.unwrap().is_empty());
    assert!(new.unfinished_claims(&sensor(), 9).await.unwrap().is_empty());
}

pub(crate) async fn very_many_requests_are_admitted_and_asked_for_again_without_a_second_run(backend: &dyn Backend) {
    const MANY: usize = 1100;
    let instance = backend.open().await;
    let answer = || SensorResult {
        add_partitions: vec![AddPartitions { definition: "dataset_id".into(), keys: vec!["parcels".into()] }],
        cursor: Some("all".into()),
        ..requests((0..MANY).map(|n| claimed(&format!("b{n}"), &format!("manifests/{n}.json"), "e")))
    };
    let first = admit(&instance, answer()).await;
    assert_eq!((first.tick.run_ids.len(), first.claims.len(), first.tick.status), (MANY, MANY, TickStatus::Success));
    assert_eq!(instance.tick(first.tick.id).await.unwrap().unwrap(), first.tick);
    assert_eq!(cursor(&instance).await.as_deref(), Some("all"));
    let again = admit(&instance, answer()).await;
    assert_eq!((again.tick.run_ids.len(), again.claims), (0, first.claims));
}

pub(crate) async fn a_text_that_no_column_takes_is_refused_and_leaves_nothing(backend: &dyn Backend) {
    let instance = backend.open().await;
    let long = "x".repeat(3000);
    let tagged =
        |value: &str| RunRequest { tags: [("note".to_owned(), value.to_owned())].into(), ..RunRequest::new("t") };
    for answer in [
        requests([RunRequest::new("fine"), RunRequest::new(long.as_str())]),
        requests([tagged(&long)]),
        requests([tagged("\0")]),
        requests([claimed("b", &long, "e")]),
        SensorResult { cursor: Some("\0".into()), ..requests([RunRequest::new("fine")]) },
    ] {
        let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
        let refused = instance.admit(tick.id, answer, &[], at(2)).await;
        assert!(matches!(refused, Err(catchment_instance::InstanceError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(runs(&instance).await, 0);
    let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
    let reason = SensorResult { skip_reason: Some("odd \0".into()), ..SensorResult::default() };
    let admitted = instance.admit(tick.id, reason, &[], at(2)).await.unwrap();
    let kept = instance.tick(admitted.tick.id).await.unwrap().unwrap().skip_reason;
    assert_eq!(kept.as_deref(), Some("odd \u{fffd}"));
}
