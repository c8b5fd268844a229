//! Admission: exactly once, however often it is tried.

use catchment_core::sensor::{AddPartitions, Claim, ClaimKey, ClaimOutcome, Rejection, SensorResult};
use catchment_core::{EventKind, RunStatus, tags};
use catchment_instance::{Admitted, RunFilter, SharedInstance, TickStatus};
use catchment_model::{Code, Problem};

use super::{Backend, at, claimed, requests};

const SENSOR: &str = "manifest_sensor";

async fn admit(instance: &SharedInstance, result: SensorResult) -> Admitted {
    let tick = instance.begin_tick(SENSOR, at(1)).await.unwrap();
    instance.admit(tick.id, "etl_pipelines", result, at(2)).await.unwrap()
}

async fn finish(instance: &SharedInstance, admitted: &Admitted) {
    let keys: Vec<ClaimKey> = admitted.claims.iter().map(|c| c.claim.clone()).collect();
    instance.finish_claims(SENSOR, &keys).await.unwrap();
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
        (tags::SENSOR_NAME, SENSOR),
        (tags::PARTITION, "parcels"),
        (tags::CODE_LOCATION, "etl_pipelines"),
        ("colour", "blue"),
    ] {
        assert_eq!(run.tags.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(instance.run_events(run.run_id, 0, 9).await.unwrap()[0].event.kind, EventKind::RunEnqueued);
    assert_eq!(instance.cursor(SENSOR).await.unwrap().as_deref(), Some("c1"));
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["parcels"]);
    assert_eq!(instance.ticks(SENSOR, None, 9).await.unwrap(), std::slice::from_ref(&admitted.tick));
    assert_eq!(instance.unfinished_claims(SENSOR, 9).await.unwrap(), admitted.claims);
    finish(&instance, &admitted).await;
    assert!(instance.unfinished_claims(SENSOR, 9).await.unwrap().is_empty());
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
    assert_eq!(instance.unfinished_claims(SENSOR, 9).await.unwrap().len(), 2);
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

pub(crate) async fn a_tick_that_was_cut_off_is_ended_by_the_next(backend: &dyn Backend) {
    let instance = backend.open().await;
    let cut = instance.begin_tick(SENSOR, at(1)).await.unwrap();
    let other = instance.begin_tick("another_sensor", at(1)).await.unwrap();
    let next = instance.begin_tick(SENSOR, at(5)).await.unwrap();
    let ticks = instance.ticks(SENSOR, None, 9).await.unwrap();
    assert_eq!(ticks.iter().map(|t| t.status).collect::<Vec<_>>(), [TickStatus::Started, TickStatus::Failure]);
    assert!(ticks[1].problem.is_some());
    assert!(instance.admit(cut.id, "etl", SensorResult::default(), at(6)).await.is_err());
    instance.admit(next.id, "etl", SensorResult::default(), at(6)).await.unwrap();
    instance.admit(other.id, "etl", SensorResult::default(), at(6)).await.unwrap();
    assert_eq!(instance.ticks(SENSOR, Some(next.id), 9).await.unwrap().len(), 1);
}

pub(crate) async fn a_failed_tick_keeps_the_cursor(backend: &dyn Backend) {
    let instance = backend.open().await;
    admit(&instance, SensorResult { cursor: Some("c1".into()), ..SensorResult::default() }).await;
    let tick = instance.begin_tick(SENSOR, at(3)).await.unwrap();
    let problem = Problem::new(Code::Unavailable, "no S3");
    instance.fail_tick(tick.id, problem.clone(), at(4)).await.unwrap();
    assert_eq!(instance.cursor(SENSOR).await.unwrap().as_deref(), Some("c1"));
    let tick = instance.ticks(SENSOR, None, 1).await.unwrap().remove(0);
    assert_eq!((tick.status, tick.problem, tick.ended_at), (TickStatus::Failure, Some(problem), Some(at(4))));
    admit(&instance, SensorResult::default()).await;
    assert_eq!(instance.cursor(SENSOR).await.unwrap().as_deref(), Some("c1"));
}

pub(crate) async fn partitions_keep_their_order_and_are_added_once(backend: &dyn Backend) {
    let instance = backend.open().await;
    let add = async |keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
        instance.add_partitions("dataset_id", &keys).await.unwrap()
    };
    assert_eq!(add(&["b", "a", "b"]).await, ["b", "a"]);
    assert_eq!(add(&["a", "c"]).await, ["c"]);
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["b", "a", "c"]);
    assert!(instance.partitions("another").await.unwrap().is_empty());
}

pub(crate) async fn heartbeats_show_the_last_of_each_daemon(backend: &dyn Backend) {
    let instance = backend.open().await;
    instance.beat("SENSOR", at(1)).await.unwrap();
    instance.beat("QUEUE", at(2)).await.unwrap();
    instance.beat("SENSOR", at(3)).await.unwrap();
    let beats = instance.heartbeats().await.unwrap();
    assert_eq!(beats, [("QUEUE".to_owned(), at(2)), ("SENSOR".to_owned(), at(3))]);
}

pub(crate) async fn admission_by_many_at_once_makes_each_run_once(backend: &dyn Backend) {
    let mut tries = Vec::new();
    for n in 0..6 {
        let instance = backend.open().await;
        tries.push(async move {
            // A tick that begins ends the one before it, whose admission is then refused whole.
            let tick = instance.begin_tick(SENSOR, at(1)).await.unwrap();
            let wanted = (0..5).map(|b| claimed(&format!("b{b}"), &format!("manifests/{b}-{n}.json"), "e"));
            instance.admit(tick.id, "etl_pipelines", requests(wanted), at(2)).await.map(|a| a.tick.run_ids.len())
        });
    }
    let made: usize = futures::future::join_all(tries).await.into_iter().filter_map(Result::ok).sum();
    assert_eq!(made, 5);
    assert_eq!(runs(&backend.open().await).await, 5);
}
