//! Ticks, and the state of sensors and schedules.

use catchment_core::instigator::{InstigatorKind, InstigatorStatus, TickLog, TickStatus};
use catchment_core::sensor::SensorResult;
use catchment_core::{Instigator, Level, RunId};
use catchment_instance::{InstanceError, SharedInstance, TickFilter};
use catchment_model::{Code, Problem};

use super::{Backend, at, claimed, requests};

fn sensor() -> Instigator {
    Instigator::sensor("etl_pipelines", "manifest_sensor")
}

async fn statuses(instance: &SharedInstance, filter: &TickFilter) -> Vec<TickStatus> {
    instance.ticks(&sensor(), filter, None, 99).await.unwrap().into_iter().map(|tick| tick.status).collect()
}

/// Ticks that begin at 10, 20, 30 and 40: a success, a skipped one, a failure, and one that is open.
async fn four_ticks(instance: &SharedInstance, run_key: &str) {
    let success = instance.begin_tick(&sensor(), None, at(10)).await.unwrap();
    let asked = requests([claimed(run_key, &format!("manifests/{run_key}.json"), "e1")]);
    instance.admit(success.id, asked, &[], at(11)).await.unwrap();
    let skipped = instance.begin_tick(&sensor(), None, at(20)).await.unwrap();
    instance.admit(skipped.id, SensorResult::default(), &[], at(21)).await.unwrap();
    let failure = instance.begin_tick(&sensor(), None, at(30)).await.unwrap();
    instance.fail_tick(failure.id, Problem::new(Code::Bug, "x"), None, at(31)).await.unwrap();
    instance.begin_tick(&sensor(), None, at(40)).await.unwrap();
}

pub(crate) async fn a_tick_that_was_cut_off_is_ended_by_the_next(backend: &dyn Backend) {
    let instance = backend.open().await;
    let cut = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
    let other = instance.begin_tick(&Instigator::sensor("etl_pipelines", "another"), None, at(1)).await.unwrap();
    let next = instance.begin_tick(&sensor(), None, at(5)).await.unwrap();
    let ticks = instance.ticks(&sensor(), &TickFilter::default(), None, 9).await.unwrap();
    assert_eq!(ticks.iter().map(|t| t.status).collect::<Vec<_>>(), [TickStatus::Started, TickStatus::Failure]);
    assert_eq!(ticks[1].ended_at, Some(at(5)));
    let problem = format!("{:?}", ticks[1].problem);
    assert!(problem.contains("cut off"), "{problem}");
    assert!(instance.admit(cut.id, SensorResult::default(), &[], at(6)).await.is_err());
    instance.admit(next.id, SensorResult::default(), &[], at(6)).await.unwrap();
    instance.admit(other.id, SensorResult::default(), &[], at(6)).await.unwrap();
    assert_eq!(instance.ticks(&sensor(), &TickFilter::default(), Some(next.id), 9).await.unwrap().len(), 1);
    assert_eq!(instance.instigator(&sensor()).await.unwrap().last_tick_at, Some(at(5)));
}

pub(crate) async fn a_failed_tick_keeps_the_cursor_unless_it_gives_another(backend: &dyn Backend) {
    let instance = backend.open().await;
    let cursor = async || instance.instigator(&sensor()).await.unwrap().cursor;
    let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
    let answer = SensorResult { cursor: Some("c1".into()), ..SensorResult::default() };
    instance.admit(tick.id, answer, &[], at(2)).await.unwrap();
    let tick = instance.begin_tick(&sensor(), None, at(3)).await.unwrap();
    let problem = Problem::new(Code::Unavailable, "no S3");
    instance.fail_tick(tick.id, problem.clone(), None, at(4)).await.unwrap();
    assert_eq!(cursor().await.as_deref(), Some("c1"));
    let stored = instance.tick(tick.id).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.problem), (TickStatus::Failure, Some(problem.clone())));
    assert_eq!(stored.ended_at, Some(at(4)));
    let tick = instance.begin_tick(&sensor(), None, at(5)).await.unwrap();
    instance.fail_tick(tick.id, problem, Some("c2"), at(6)).await.unwrap();
    let tick = instance.begin_tick(&sensor(), None, at(7)).await.unwrap();
    instance.admit(tick.id, SensorResult::default(), &[], at(8)).await.unwrap();
    assert_eq!(cursor().await.as_deref(), Some("c2"));
}

pub(crate) async fn what_user_code_logged_stays_with_its_tick(backend: &dyn Backend) {
    let instance = backend.open().await;
    let line =
        |second, message: &str| TickLog { timestamp: at(second), level: Level::Warning, message: message.into() };
    let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
    instance.log_tick(tick.id, &[line(1, "one"), line(1, "two")]).await.unwrap();
    instance.log_tick(tick.id, &[line(2, "three")]).await.unwrap();
    let origins = [RunId::random(), RunId::random()];
    instance.admit(tick.id, SensorResult::default(), &origins, at(3)).await.unwrap();
    let stored = instance.tick(tick.id).await.unwrap().unwrap();
    assert_eq!(stored.log, [line(1, "one"), line(1, "two"), line(2, "three")]);
    assert_eq!(stored.origin_run_ids, origins);
    let listed = instance.ticks(&sensor(), &TickFilter::default(), None, 9).await.unwrap();
    assert_eq!(listed, [stored]);
    assert_eq!(instance.tick(tick.id + 1).await.unwrap(), None);
}

pub(crate) async fn ticks_are_listed_by_status_time_and_page(backend: &dyn Backend) {
    use TickStatus::{Failure, Skipped, Started, Success};
    let instance = backend.open().await;
    four_ticks(&instance, "b1").await;
    assert_eq!(statuses(&instance, &TickFilter::default()).await, [Started, Failure, Skipped, Success]);
    let some = TickFilter { statuses: vec![Success, Failure], ..TickFilter::default() };
    assert_eq!(statuses(&instance, &some).await, [Failure, Success]);
    let between = TickFilter { after: Some(at(20)), before: Some(at(40)), ..TickFilter::default() };
    assert_eq!(statuses(&instance, &between).await, [Failure, Skipped]);
    let first = instance.ticks(&sensor(), &TickFilter::default(), None, 3).await.unwrap();
    let rest = instance.ticks(&sensor(), &TickFilter::default(), Some(first[2].id), 3).await.unwrap();
    assert_eq!((first.len(), rest.len(), rest[0].status), (3, 1, Success));
    assert_eq!(rest[0].skip_reason, None);
    assert!(first[2].skip_reason.is_some());
}

pub(crate) async fn old_ticks_are_removed_by_kind_and_status_within_a_limit(backend: &dyn Backend) {
    use TickStatus::{Failure, Skipped, Started, Success};
    let instance = backend.open().await;
    four_ticks(&instance, "b1").await;
    four_ticks(&instance, "b2").await;
    let schedule = Instigator::schedule("etl_pipelines", "nightly");
    let scheduled = instance.begin_tick(&schedule, Some(at(0)), at(1)).await.unwrap();
    instance.admit(scheduled.id, SensorResult::default(), &[], at(2)).await.unwrap();
    let purge = async |statuses: &[TickStatus], before| {
        instance.purge_ticks(InstigatorKind::Sensor, statuses, at(before), 1).await.unwrap()
    };
    assert_eq!(purge(&[Skipped], 20).await, 0);
    assert_eq!(purge(&[Skipped], 21).await, 1);
    assert_eq!(purge(&[Skipped], 21).await, 1);
    assert_eq!(purge(&[Skipped], 21).await, 0);
    // The tick that was open when the second four began was cut off.
    let left = [Started, Failure, Success, Failure, Failure, Success];
    assert_eq!(statuses(&instance, &TickFilter::default()).await, left);
    assert_eq!(instance.ticks(&schedule, &TickFilter::default(), None, 9).await.unwrap().len(), 1);
    // Run keys and claims are not touched.
    assert_eq!(instance.purge_ticks(InstigatorKind::Sensor, &[Success], at(99), 9).await.unwrap(), 2);
    let tick = instance.begin_tick(&sensor(), None, at(100)).await.unwrap();
    let again = requests([claimed("b1", "manifests/other.json", "e1")]);
    assert!(instance.admit(tick.id, again, &[], at(101)).await.unwrap().tick.run_ids.is_empty());
    assert_eq!(instance.unfinished_claims(&sensor(), 9).await.unwrap().len(), 3);
}

pub(crate) async fn an_instigator_runs_since_it_was_switched_on(backend: &dyn Backend) {
    use InstigatorStatus::{DeclaredInCode, Running, Stopped};
    let instance = backend.open().await;
    let schedule = Instigator::schedule("etl_pipelines", "nightly");
    let unknown = instance.instigator(&schedule).await.unwrap();
    assert_eq!((unknown.status, unknown.running_since, unknown.cursor), (DeclaredInCode, None, None));
    assert!(instance.instigators().await.unwrap().is_empty());
    let set = async |status, running, second| {
        let state = instance.set_status(&schedule, status, running, at(second)).await.unwrap();
        assert_eq!(state, instance.instigator(&schedule).await.unwrap());
        (state.status, state.running_since)
    };
    assert_eq!(set(DeclaredInCode, true, 1).await, (DeclaredInCode, Some(at(1))));
    assert_eq!(set(Running, true, 2).await, (Running, Some(at(1))));
    assert_eq!(set(Stopped, false, 3).await, (Stopped, None));
    assert_eq!(set(Running, true, 4).await, (Running, Some(at(4))));
    assert_eq!(set(DeclaredInCode, false, 5).await, (DeclaredInCode, None));
    instance.begin_tick(&sensor(), None, at(6)).await.unwrap();
    let names: Vec<_> = instance.instigators().await.unwrap().into_iter().map(|s| s.instigator).collect();
    assert_eq!(names, [schedule, sensor()]);
}

pub(crate) async fn a_tick_that_someone_interrupts_admits_nothing(backend: &dyn Backend) {
    let instance = backend.open().await;
    for by_cursor in [true, false] {
        let tick = instance.begin_tick(&sensor(), None, at(1)).await.unwrap();
        if by_cursor {
            instance.set_cursor(&sensor(), Some("mine"), at(2)).await.unwrap();
        } else {
            instance.set_status(&sensor(), InstigatorStatus::Stopped, false, at(2)).await.unwrap();
        }
        let answer = SensorResult { cursor: Some("its".into()), ..SensorResult::default() };
        let error = instance.admit(tick.id, answer, &[], at(3)).await.unwrap_err();
        assert!(matches!(error, InstanceError::NotFound(_)), "{error}");
        assert_eq!(instance.instigator(&sensor()).await.unwrap().cursor.as_deref(), Some("mine"));
        let tick = instance.tick(tick.id).await.unwrap().unwrap();
        assert_eq!((tick.status, tick.ended_at), (TickStatus::Skipped, Some(at(2))));
        assert!(tick.skip_reason.unwrap().ends_with("while it was evaluated"));
    }
}

pub(crate) async fn a_cursor_is_set_and_forgotten_by_hand(backend: &dyn Backend) {
    let instance = backend.open().await;
    for cursor in [Some("x"), None, Some("y")] {
        instance.set_cursor(&sensor(), cursor, at(5)).await.unwrap();
        assert_eq!(instance.instigator(&sensor()).await.unwrap().cursor.as_deref(), cursor);
    }
}
