//! The event log and those who follow it.

use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_settings::task;

use super::{Backend, at, new_run};

fn log(run_id: RunId, n: i64) -> NewEvent {
    NewEvent {
        run_id,
        timestamp: at(n),
        kind: EventKind::Log,
        step_key: Some("raw_spatial_asset".into()),
        level: Level::Warning,
        message: format!("line {n} — für alle"),
        data: serde_json::json!({ "n": n }),
    }
}

pub(crate) async fn events_of_a_run_keep_their_order_and_content(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    let other = instance.enqueue(new_run("roads"), at(0)).await.unwrap();
    let lines: Vec<_> = (1..=5).map(|n| log(run.run_id, n)).collect();
    let last = instance.append(&lines, None).await.unwrap();
    instance.append(&[log(other.run_id, 9)], None).await.unwrap();
    let events = instance.run_events(run.run_id, 0, 100).await.unwrap();
    assert_eq!(events[1..].iter().map(|e| e.event.clone()).collect::<Vec<_>>(), lines);
    assert_eq!(events.last().unwrap().id, last);
    assert!(events.windows(2).all(|pair| pair[0].id < pair[1].id));
    let rest = instance.run_events(run.run_id, events[2].id, 2).await.unwrap();
    assert_eq!(rest, events[3..5]);
    assert!(instance.last_event_id().await.unwrap() > last);
    assert_eq!(instance.append(&[], None).await.unwrap(), instance.last_event_id().await.unwrap());
}

pub(crate) async fn a_follower_of_one_kind_skips_the_others(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    instance.append(&(1..=50).map(|n| log(run.run_id, n)).collect::<Vec<_>>(), None).await.unwrap();
    instance.command(run.run_id, Command::Cancel, None, None, at(60)).await.unwrap();
    let kinds = [EventKind::RunEnqueued, EventKind::RunCanceled];
    let found = instance.events_after(0, &kinds, 10).await.unwrap();
    assert_eq!(found.iter().map(|e| e.event.kind).collect::<Vec<_>>(), kinds);
    assert_eq!(instance.events_after(found[0].id, &kinds, 10).await.unwrap(), found[1..]);
    assert_eq!(instance.events_after(0, &[], 10).await.unwrap().len(), 10);
}

pub(crate) async fn a_follower_misses_no_event_of_many_writers(backend: &dyn Backend) {
    const WRITERS: usize = 6;
    const EACH: i64 = 40;
    let reader = backend.open().await;
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        let instance = backend.open().await;
        writers.push(task::spawn("writer", async move {
            let run = instance.enqueue(new_run(&format!("p{n}")), at(0)).await.unwrap();
            for line in 1..EACH / 2 {
                let two = [log(run.run_id, line * 2), log(run.run_id, line * 2 + 1)];
                instance.append(&two, None).await.unwrap();
            }
            instance.append(&[log(run.run_id, EACH)], None).await.unwrap();
        }));
    }
    let all = WRITERS * usize::try_from(EACH).unwrap();
    let mut seen = Vec::new();
    let mut cursor = 0;
    while seen.len() < all {
        let page = reader.events_after(cursor, &[], 7).await.unwrap();
        let done = writers.iter().all(|w| w.is_finished());
        cursor = page.last().map_or(cursor, |e| e.id);
        let ended = done && page.is_empty();
        seen.extend(page);
        if ended {
            seen.extend(reader.events_after(cursor, &[], 1000).await.unwrap());
            break;
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen.len(), all);
    assert_eq!(seen, reader.events_after(0, &[], 10_000).await.unwrap());
}

pub(crate) async fn a_follow_cursor_never_moves_back(backend: &dyn Backend) {
    let instance = backend.open().await;
    assert_eq!(instance.follow_cursor("ledger").await.unwrap(), 0);
    instance.set_follow_cursor("ledger", 12).await.unwrap();
    instance.set_follow_cursor("ledger", 7).await.unwrap();
    instance.set_follow_cursor("other", 3).await.unwrap();
    assert_eq!(backend.open().await.follow_cursor("ledger").await.unwrap(), 12);
}
