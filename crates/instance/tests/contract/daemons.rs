//! Daemons: one leads, and what an old leader still wants is refused.

use catchment_core::instigator::{InstigatorKind, InstigatorStatus, TickLog};
use catchment_core::sensor::{ClaimKey, SensorResult};
use catchment_core::state::Command;
use catchment_core::{Instigator, Level, RunId, RunKey};
use catchment_instance::{Heartbeat, InstanceError, Lease, LocationRecord, NewAlert, Result, SharedInstance};
use catchment_model::{Code, Problem};
use futures::future::{BoxFuture, FutureExt as _};

use super::{Backend, at, backfill, line, new_run};

pub(crate) async fn one_daemon_leads_until_its_time_runs_out_or_it_resigns(backend: &dyn Backend) {
    let (a, b) = (backend.open().await, backend.open().await);
    assert_eq!(a.leader().await.unwrap(), None);
    let first = a.lead("a", at(10), at(0)).await.unwrap();
    assert_eq!((first.epoch, first.holder.as_str(), first.until), (1, "a", at(10)));
    assert_eq!(b.lead("b", at(15), at(5)).await.unwrap(), first);
    let longer = a.lead("a", at(20), at(6)).await.unwrap();
    assert_eq!((longer.epoch, longer.until), (1, at(20)));
    assert_eq!(b.leader().await.unwrap(), Some(longer));
    let second = b.lead("b", at(30), at(20)).await.unwrap();
    assert_eq!((second.epoch, second.holder.as_str()), (2, "b"));
    assert_eq!(a.lead("a", at(40), at(21)).await.unwrap(), second);
    a.resign("a").await.unwrap();
    assert_eq!(a.leader().await.unwrap(), Some(second));
    b.resign("b").await.unwrap();
    assert_eq!(a.leader().await.unwrap(), None);
    assert_eq!(a.lead("a", at(50), at(22)).await.unwrap().epoch, 3);
}

pub(crate) async fn of_many_daemons_that_begin_at_once_one_leads(backend: &dyn Backend) {
    let mut daemons = Vec::new();
    for _ in 0..6 {
        daemons.push(backend.open().await);
    }
    let names: Vec<String> = (0..6).map(|n| format!("daemon {n}")).collect();
    let tries = daemons.iter().zip(&names).map(|(daemon, name)| daemon.lead(name, at(10), at(0)));
    let answers: Vec<_> = futures::future::join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|leading| *leading == answers[0] && leading.epoch == 1), "{answers:?}");
}

/// One call of each method that writes, as a leader makes them.
fn writes<'a>(i: &'a SharedInstance, ids: &'a Ids) -> Vec<(&'static str, BoxFuture<'a, Result<()>>)> {
    let Ids { live, queued, ended, sensor, tick } = ids;
    let lease = Lease { run_id: *live, epoch: 1 };
    let key = || RunKey { scope: "s".into(), key: "k".into() };
    let problem = || Problem::new(Code::Io, "x");
    let alert = || NewAlert {
        key: "k".into(),
        rule: "r".into(),
        channel: "c".into(),
        event: serde_json::json!({ "specversion": "1.0" }),
    };
    macro_rules! calls {
        ($($name:ident: $call:expr),* $(,)?) => {
            vec![$((stringify!($name), async move { $call.await.map(drop) }.boxed())),*]
        };
    }
    calls![
        enqueue: i.enqueue(new_run("x"), at(50)),
        enqueue_once: i.enqueue_once(key(), new_run("x"), at(50)),
        command: i.command(*queued, Command::Launch, None, None, at(50)),
        renew: i.renew(lease, at(90)),
        note_process: i.note_process(lease, "p"),
        revoke: i.revoke(*live, at(50)),
        set_tags: i.set_tags(*live, &[("a".into(), "b".into())]),
        delete_run: i.delete_run(*ended),
        purge_runs: i.purge_runs(at(90), 9),
        purge_events: i.purge_events(at(90), 9),
        append: async { i.append(&[line(*live, 1)], None).await },
        set_status: i.set_status(sensor, InstigatorStatus::Running, true, at(50)),
        set_cursor: i.set_cursor(sensor, Some("c"), at(50)),
        begin_tick: i.begin_tick(sensor, None, at(50)),
        log_tick: async {
            let log = TickLog { timestamp: at(50), level: Level::Info, message: "x".into() };
            i.log_tick(*tick, &[log]).await
        },
        admit: i.admit(*tick, SensorResult::default(), &[], at(50)),
        fail_tick: i.fail_tick(*tick, problem(), None, at(50)),
        purge_ticks: i.purge_ticks(InstigatorKind::Sensor, &[], at(90), 9),
        finish_claims: async {
            i.finish_claims(sensor, &[ClaimKey { key: "a".into(), etag: "e".into() }]).await
        },
        add_partitions: async { i.add_partitions("d", &["k".into()]).await },
        delete_partitions: async { i.delete_partitions("d", &["k".into()]).await },
        wipe_asset: i.wipe_asset("a", None, at(50)),
        request_backfill: i.request_backfill(backfill("b2"), at(50)),
        update_backfill: async {
            let known = i.backfill(&backfill("b1").id).await?.unwrap();
            i.update_backfill(&known).await
        },
        set_pool_limit: i.set_pool_limit("p", Some(1)),
        claim_slot: i.claim_slot("p", "step", 0, None, lease, at(50)),
        free_slot: i.free_slot("p", *live, "step"),
        free_slots_of: i.free_slots_of(*live),
        raise: async { i.raise(&[alert()], None, at(50)).await },
        alert_delivered: i.alert_delivered(1),
        alert_failed: i.alert_failed(1, "x", None),
        purge_alerts: i.purge_alerts(at(90), 9),
        save_automation: i.save_automation("l", &[], &[]),
        purge_evaluations: i.purge_evaluations(at(90), 9),
        save_location: async {
            let away = LocationRecord {
                name: "l".into(), snapshot: None, loaded_at: None, problem: None, since: at(50),
            };
            i.save_location(&away).await
        },
        forget_location: i.forget_location("l"),
        beat: async {
            i.beat(&Heartbeat { daemon: "SENSOR".into(), at: at(50), problem: None, lag: 0 }).await
        },
        set_follow_cursor: i.set_follow_cursor("f", 1),
    ]
}

struct Ids {
    live: RunId,
    queued: RunId,
    ended: RunId,
    sensor: Instigator,
    tick: i64,
}

pub(crate) async fn an_old_leader_can_write_nothing_more(backend: &dyn Backend) {
    let plain = backend.open().await;
    let epoch = plain.lead("a", at(10), at(0)).await.unwrap().epoch;
    let old = plain.fenced(epoch);
    let sensor = Instigator::sensor("etl_pipelines", "manifest_sensor");
    let live = old.enqueue(new_run("a"), at(0)).await.unwrap().run_id;
    let queued = old.enqueue(new_run("b"), at(0)).await.unwrap().run_id;
    let ended = old.enqueue(new_run("c"), at(0)).await.unwrap().run_id;
    old.command(live, Command::Launch, None, Some(at(9)), at(1)).await.unwrap();
    old.command(ended, Command::Cancel, None, None, at(1)).await.unwrap();
    old.request_backfill(backfill("b1"), at(0)).await.unwrap();
    let tick = old.begin_tick(&sensor, None, at(1)).await.unwrap().id;
    let ids = Ids { live, queued, ended, sensor, tick };

    let next = backend.open().await;
    let newest = next.lead("b", at(99), at(20)).await.unwrap().epoch;
    let before = plain.last_event_id().await.unwrap();
    for (name, call) in writes(&old, &ids) {
        match call.await {
            Err(InstanceError::Deposed { epoch: e, newest: n }) => assert_eq!((e, n), (epoch, newest), "{name}"),
            other => panic!("{name} of an old leader answered {other:?}"),
        }
    }
    assert_eq!(plain.last_event_id().await.unwrap(), before);
    assert_eq!(plain.run(queued).await.unwrap().unwrap().lease_epoch, 0);
    assert!(plain.run(ended).await.unwrap().is_some());
    // Who leads is never refused for it.
    for (name, call) in writes(&plain.fenced(newest), &ids) {
        if let Err(error @ InstanceError::Deposed { .. }) = call.await {
            panic!("{name} of the leader answered {error}");
        }
    }
}

pub(crate) async fn heartbeats_show_the_last_of_each_daemon(backend: &dyn Backend) {
    let instance = backend.open().await;
    let beat = |daemon: &str, second, lag| Heartbeat { daemon: daemon.into(), at: at(second), problem: None, lag };
    let bad = Heartbeat { problem: Some(Problem::new(Code::Io, "x")), ..beat("SENSOR", 3, 7) };
    for one in [&beat("SENSOR", 1, 0), &beat("SCHEDULER", 2, 0), &bad] {
        instance.beat(one).await.unwrap();
    }
    assert_eq!(instance.heartbeats().await.unwrap(), [beat("SCHEDULER", 2, 0), bad]);
}

pub(crate) async fn a_follow_cursor_never_moves_back(backend: &dyn Backend) {
    let instance = backend.open().await;
    assert_eq!(instance.follow_cursor("ledger").await.unwrap(), None);
    instance.set_follow_cursor("ledger", 0).await.unwrap();
    assert_eq!(instance.follow_cursor("ledger").await.unwrap(), Some(0), "it has begun, where there was nothing yet");
    instance.set_follow_cursor("ledger", 12).await.unwrap();
    instance.set_follow_cursor("ledger", 7).await.unwrap();
    instance.set_follow_cursor("other", 3).await.unwrap();
    assert_eq!(backend.open().await.follow_cursor("ledger").await.unwrap(), Some(12));
}
