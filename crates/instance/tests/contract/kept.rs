//! Partitions, backfills, alerts, automation and code locations.

use catchment_core::backfill::{Backfill, BackfillId, BackfillPolicy, BackfillStatus, BackfillTarget, NewBackfill};
use catchment_core::definitions::LocationSnapshot;
use catchment_instance::{
    AlertStatus, AutomationRecord, BackfillFilter, InstanceError, LocationRecord, NewAlert, SharedInstance,
};
use catchment_model::{Code, Problem};
use serde_json::json;

use super::{Backend, at};

fn texts(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

pub(crate) async fn partitions_keep_their_order_and_are_added_once(backend: &dyn Backend) {
    let instance = backend.open().await;
    let add = async |keys: &[&str]| instance.add_partitions("dataset_id", &texts(keys)).await.unwrap();
    assert_eq!(add(&["b", "a", "b"]).await, ["b", "a"]);
    assert_eq!(add(&["a", "c"]).await, ["c"]);
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["b", "a", "c"]);
    assert!(instance.partitions("another").await.unwrap().is_empty());
    assert!(instance.has_partition("dataset_id", "a").await.unwrap());
    assert!(!instance.has_partition("another", "a").await.unwrap());
    assert_eq!(instance.delete_partitions("dataset_id", &texts(&["a", "none", "a"])).await.unwrap(), ["a"]);
    assert!(!instance.has_partition("dataset_id", "a").await.unwrap());
    assert_eq!(add(&["a"]).await, ["a"]);
    assert_eq!(instance.partitions("dataset_id").await.unwrap(), ["b", "c", "a"]);
    assert!(add(&[]).await.is_empty());
}

pub(crate) async fn many_partitions_are_added_and_taken_out_at_once(backend: &dyn Backend) {
    let instance = backend.open().await;
    let keys: Vec<String> = (0..1300).rev().map(|n| format!("k{n}")).collect();
    assert_eq!(instance.add_partitions("many", &keys).await.unwrap(), keys);
    assert_eq!(instance.partitions("many").await.unwrap(), keys);
    assert_eq!(instance.delete_partitions("many", &keys[..1200]).await.unwrap(), keys[..1200]);
    assert_eq!(instance.partitions("many").await.unwrap(), keys[1200..]);
}

fn new_backfill(id: &str, location: &str) -> NewBackfill {
    NewBackfill {
        id: BackfillId(id.into()),
        location: location.into(),
        target: BackfillTarget::Job { job: "spatial_asset_job".into(), partitions: texts(&["x", "y"]) },
        policy: Some(BackfillPolicy::SingleRun),
        run_config: json!({ "ops": {} }),
        tags: [("team".to_owned(), "maps".to_owned())].into(),
        title: Some("all".into()),
        description: None,
    }
}

pub(crate) async fn a_backfill_is_asked_for_once_and_changed_on_its_version(backend: &dyn Backend) {
    let instance = backend.open().await;
    let asked = instance.request_backfill(new_backfill("b1", "here"), at(1)).await.unwrap();
    assert_eq!((asked.status, asked.created_at), (BackfillStatus::Requested, at(1)));
    assert_eq!((&asked.request, asked.progress.is_null()), (&new_backfill("b1", "here"), true));
    let again = instance.request_backfill(new_backfill("b1", "elsewhere"), at(2)).await.unwrap();
    assert_eq!(again, asked);
    let change = Backfill {
        status: BackfillStatus::Failed,
        ended_at: Some(at(5)),
        problem: Some(Problem::new(Code::NotFound, "no such job")),
        progress: json!({ "done": 1 }),
        ..asked.clone()
    };
    let changed = instance.update_backfill(&change).await.unwrap();
    assert!(changed.version > asked.version);
    assert_eq!(changed, Backfill { version: changed.version, ..change.clone() });
    assert_eq!(instance.backfill(&BackfillId("b1".into())).await.unwrap().as_ref(), Some(&changed));
    let stale = instance.update_backfill(&change).await;
    assert!(matches!(stale, Err(InstanceError::Changed(_))), "{stale:?}");
    let unknown = Backfill { request: new_backfill("b2", "here"), ..change };
    assert!(matches!(instance.update_backfill(&unknown).await, Err(InstanceError::NotFound(_))));
    assert_eq!(instance.backfill(&BackfillId("b2".into())).await.unwrap(), None);
}

pub(crate) async fn backfills_are_listed_by_status_location_and_page(backend: &dyn Backend) {
    let instance = backend.open().await;
    for (n, (id, location)) in [("b1", "here"), ("b2", "there"), ("b3", "here"), ("b4", "here")].iter().enumerate() {
        instance.request_backfill(new_backfill(id, location), at(n as i64)).await.unwrap();
    }
    let second = instance.backfill(&BackfillId("b3".into())).await.unwrap().unwrap();
    instance.update_backfill(&Backfill { status: BackfillStatus::Paused, ..second }).await.unwrap();
    let list = async |filter: BackfillFilter, before: Option<&str>, limit| {
        let before = before.map(|id| BackfillId(id.into()));
        let found = instance.backfills(&filter, before.as_ref(), limit).await.unwrap();
        found.into_iter().map(|backfill| backfill.request.id.0).collect::<Vec<_>>()
    };
    assert_eq!(list(BackfillFilter::default(), None, 3).await, ["b4", "b3", "b2"]);
    assert_eq!(list(BackfillFilter::default(), Some("b2"), 3).await, ["b1"]);
    let here = BackfillFilter { location: Some("here".into()), ..BackfillFilter::default() };
    assert_eq!(list(here.clone(), None, 9).await, ["b4", "b3", "b1"]);
    let open = BackfillFilter { statuses: vec![BackfillStatus::Requested, BackfillStatus::Failed], ..here };
    assert_eq!(list(open, None, 9).await, ["b4", "b1"]);
}

fn alert(key: &str) -> NewAlert {
    NewAlert {
        key: key.into(),
        rule: "failures".into(),
        channel: "chat".into(),
        event: json!({ "specversion": "1.0", "id": key }),
    }
}

async fn due(instance: &SharedInstance, second: i64) -> Vec<String> {
    let found = instance.due_alerts(at(second), 9).await.unwrap();
    found.into_iter().map(|alert| alert.alert.key).collect()
}

pub(crate) async fn an_alert_is_raised_once_for_its_key_even_after_its_removal(backend: &dyn Backend) {
    let instance = backend.open().await;
    instance.raise(&[alert("a"), alert("b"), alert("a")], None, at(1)).await.unwrap();
    instance.raise(&[alert("a")], None, at(2)).await.unwrap();
    let found = instance.alerts(None, 9).await.unwrap();
    assert_eq!(found.iter().map(|a| a.alert.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(instance.alerts(Some(found[0].id), 9).await.unwrap(), found[1..]);
    instance.alert_delivered(found[1].id).await.unwrap();
    // What is still to be delivered is never removed.
    assert_eq!(instance.purge_alerts(at(1), 9).await.unwrap(), 0);
    assert_eq!(instance.purge_alerts(at(2), 9).await.unwrap(), 1);
    instance.raise(&[alert("a")], None, at(3)).await.unwrap();
    assert_eq!(due(&instance, 9).await, ["b"]);
    instance.raise(&[alert("c")], None, at(3)).await.unwrap();
    for found in instance.due_alerts(at(9), 9).await.unwrap() {
        instance.alert_delivered(found.id).await.unwrap();
    }
    assert_eq!(instance.purge_alerts(at(9), 1).await.unwrap(), 1);
    assert_eq!(instance.purge_alerts(at(9), 9).await.unwrap(), 1);
}

pub(crate) async fn an_alert_is_due_until_it_is_delivered_or_given_up(backend: &dyn Backend) {
    let instance = backend.open().await;
    instance.raise(&[alert("a"), alert("b")], None, at(1)).await.unwrap();
    assert!(due(&instance, 0).await.is_empty());
    assert_eq!(due(&instance, 1).await, ["a", "b"]);
    let ids: Vec<i64> = instance.due_alerts(at(1), 9).await.unwrap().iter().map(|alert| alert.id).collect();
    instance.alert_failed(ids[0], "no route", Some(at(5))).await.unwrap();
    assert_eq!(due(&instance, 4).await, ["b"]);
    assert_eq!(due(&instance, 5).await, ["b", "a"]);
    instance.alert_delivered(ids[1]).await.unwrap();
    instance.alert_failed(ids[0], "still no route", None).await.unwrap();
    assert!(due(&instance, 99).await.is_empty());
    let found = instance.alerts(None, 9).await.unwrap();
    let found: Vec<_> = found.iter().map(|a| (a.status, a.attempts, a.last_error.as_deref(), a.created_at)).collect();
    let expected = [(AlertStatus::Delivered, 1, None, at(1)), (AlertStatus::GivenUp, 2, Some("still no route"), at(1))];
    assert_eq!(found, expected);
    assert!(instance.alert_failed(ids[1], "late", Some(at(9))).await.is_err(), "it was delivered");
    assert!(instance.alert_delivered(999).await.is_err());
}

pub(crate) async fn an_alert_and_its_cursor_are_written_together(backend: &dyn Backend) {
    let instance = backend.open().await;
    let epoch = instance.lead("one", at(10), at(1)).await.unwrap().epoch;
    let leader = instance.fenced(epoch);
    leader.raise(&[alert("a")], Some(("alerts", 7)), at(2)).await.unwrap();
    assert_eq!(instance.follow_cursor("alerts").await.unwrap(), Some(7));
    instance.raise(&[], Some(("alerts", 5)), at(3)).await.unwrap();
    assert_eq!(instance.follow_cursor("alerts").await.unwrap(), Some(7));
    instance.lead("two", at(30), at(20)).await.unwrap();
    let deposed = leader.raise(&[alert("b")], Some(("alerts", 9)), at(21)).await;
    assert!(matches!(deposed, Err(InstanceError::Deposed { .. })), "{deposed:?}");
    assert_eq!((due(&instance, 99).await, instance.follow_cursor("alerts").await.unwrap()), (texts(&["a"]), Some(7)));
}

pub(crate) async fn automation_keeps_its_states_and_evaluations(backend: &dyn Backend) {
    let instance = backend.open().await;
    let record = |key: &str, tick, second| AutomationRecord {
        id: 0,
        key: key.into(),
        tick,
        timestamp: at(second),
        requested: 2,
        evaluation: json!({ "label": "eager" }),
    };
    let first = [("a".to_owned(), json!({ "n": 1 })), ("b".to_owned(), json!(null))];
    let records = [record("a", 1, 1), record("b", 1, 1)];
    instance.save_automation("here", &first, &records).await.unwrap();
    let second = [("a".to_owned(), json!({ "n": 2 }))];
    instance.save_automation("here", &second, &[record("a", 2, 2)]).await.unwrap();
    instance.save_automation("there", &first, &[]).await.unwrap();
    let states = instance.automation_states("here").await.unwrap();
    assert_eq!(states, [second[0].clone(), first[1].clone()]);
    let found = instance.evaluations("a", None, 9).await.unwrap();
    assert_eq!(found.iter().map(|r| (r.tick, r.requested)).collect::<Vec<_>>(), [(2, 2), (1, 2)]);
    assert_eq!(found[0], AutomationRecord { id: found[0].id, ..record("a", 2, 2) });
    assert_eq!(instance.evaluations("a", Some(found[0].id), 9).await.unwrap(), found[1..]);
    assert_eq!(instance.purge_evaluations(at(2), 1).await.unwrap(), 1);
    assert_eq!(instance.purge_evaluations(at(2), 9).await.unwrap(), 1);
    assert_eq!(instance.evaluations("a", None, 9).await.unwrap(), found[..1]);
}

pub(crate) async fn a_location_is_remembered_until_it_is_forgotten(backend: &dyn Backend) {
    let instance = backend.open().await;
    let here = LocationRecord {
        name: "etl_pipelines".into(),
        snapshot: Some(LocationSnapshot { location: "etl_pipelines".into(), ..LocationSnapshot::default() }),
        loaded_at: Some(at(1)),
        problem: None,
        since: at(1),
    };
    let never = LocationRecord { name: "a".into(), snapshot: None, loaded_at: None, problem: None, since: at(2) };
    instance.save_location(&here).await.unwrap();
    instance.save_location(&never).await.unwrap();
    assert_eq!(instance.locations().await.unwrap(), [never, here.clone()]);
    let problem = Some(Problem::new(Code::Unavailable, "no answer"));
    let away = LocationRecord { problem, since: at(9), ..here };
    instance.save_location(&away).await.unwrap();
    instance.forget_location("a").await.unwrap();
    instance.forget_location("unknown").await.unwrap();
    assert_eq!(backend.open().await.locations().await.unwrap(), [away]);
}
