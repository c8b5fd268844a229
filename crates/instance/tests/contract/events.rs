//! The event log and those who follow it.

use std::time::Duration;

use catchment_core::state::Command;
use catchment_core::{Event, EventKind, Level, NewEvent, RunId};
use catchment_instance::EventFilter;
use catchment_settings::task;

use super::{Backend, at, line, new_run};

pub(crate) async fn events_of_a_run_keep_their_order_and_content(backend: &dyn Backend) {
    let instance = backend.open().await;
    let run = instance.enqueue(new_run("parcels"), at(0)).await.unwrap();
    let other = instance.enqueue(new_run("roads"), at(0)).await.unwrap();
    let lines: Vec<_> = (1..=5).map(|n| line(run.run_id, n)).collect();
    let last = instance.append(&lines, None).await.unwrap();
    instance.append(&[line(other.run_id, 9)], None).await.unwrap();
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
    instance.append(&(1..=50).map(|n| line(run.run_id, n)).collect::<Vec<_>>(), None).await.unwrap();
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
            for n in 1..EACH / 2 {
                let two = [line(run.run_id, n * 2), line(run.run_id, n * 2 + 1)];
                instance.append(&two, None).await.unwrap();
            }
            instance.append(&[line(run.run_id, EACH)], None).await.unwrap();
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

pub(crate) async fn a_follower_misses_nothing_where_writers_give_up_half_way(backend: &dyn Backend) {
    const WRITERS: u64 = 6;
    let reader = backend.open().await;
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        let instance = backend.open().await;
        writers.push(task::spawn("writer", async move {
            let run = instance.enqueue(new_run(&format!("p{n}")), at(0)).await.unwrap();
            for count in 1..40u64 {
                let lines: Vec<_> = (0..1 + count % 7).map(|n| line(run.run_id, n.cast_signed())).collect();
                // Every third is dropped wherever it has come to: its transaction is rolled back, or was just done.
                if count % 3 == 0 {
                    let patience = Duration::from_micros((count * 131 + n * 57) % 3000);
                    let _ = tokio::time::timeout(patience, instance.append(&lines, None)).await;
                } else {
                    instance.append(&lines, None).await.unwrap();
                }
            }
        }));
    }
    let mut seen: Vec<Event> = Vec::new();
    loop {
        let done = writers.iter().all(|w| w.is_finished());
        let cursor = seen.last().map_or(0, |e| e.id);
        let page = reader.events_after(cursor, &[], 11).await.unwrap();
        if done && page.is_empty() {
            break;
        }
        seen.extend(page);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen.len() > 600, "{}", seen.len());
    assert_eq!(seen, reader.events_after(0, &[], 100_000).await.unwrap());
}

fn of_asset(run_id: RunId, n: i64, kind: EventKind, asset: &str, partition: Option<&str>) -> NewEvent {
    let data = match partition {
        Some(partition) => serde_json::json!({ "asset_key": asset, "partition": partition }),
        None => serde_json::json!({ "asset_key": asset }),
    };
    NewEvent { kind, level: Level::Info, step_key: None, data, ..line(run_id, n) }
}

pub(crate) async fn events_are_found_by_each_filter_newest_first_in_pages(backend: &dyn Backend) {
    let instance = backend.open().await;
    let (a, b) = (RunId::random(), RunId::random());
    let step = |n, step: &str, level| NewEvent { step_key: Some(step.into()), level, ..line(a, n) };
    instance
        .append(
            &[
                step(0, "load", Level::Debug),
                step(1, "load", Level::Error),
                step(2, "store", Level::Info),
                of_asset(a, 3, EventKind::AssetMaterialization, "parcels", Some("2024")),
                of_asset(b, 4, EventKind::AssetMaterialization, "parcels", Some("2025")),
                of_asset(b, 5, EventKind::AssetObservation, "parcels", Some("2024")),
                of_asset(b, 6, EventKind::AssetMaterialization, "roads", None),
                NewEvent { level: Level::Warning, ..line(b, 7) },
            ],
            None,
        )
        .await
        .unwrap();
    let find = async |filter: EventFilter, before, limit| {
        let found = instance.events(&filter, before, limit).await.unwrap();
        found.iter().map(|e| e.event.timestamp.duration_since(at(0)).as_secs()).collect::<Vec<_>>()
    };
    let all = EventFilter::default;
    let fifth = instance.events(&all(), None, 99).await.unwrap()[2].id;
    let materialised = vec![EventKind::AssetMaterialization];
    let both = vec![EventKind::AssetMaterialization, EventKind::AssetObservation];
    assert_eq!(find(all(), None, 3).await, [7, 6, 5]);
    assert_eq!(find(all(), Some(fifth), 3).await, [4, 3, 2]);
    assert_eq!(find(EventFilter { run_id: Some(a), ..all() }, None, 9).await, [3, 2, 1, 0]);
    let load = EventFilter { run_id: Some(a), step_key: Some("load".into()), ..all() };
    assert_eq!(find(load.clone(), None, 9).await, [1, 0]);
    assert_eq!(find(EventFilter { level: Some(Level::Info), ..load }, None, 9).await, [1]);
    assert_eq!(find(EventFilter { level: Some(Level::Warning), ..all() }, None, 9).await, [7, 1]);
    assert_eq!(find(EventFilter { level: Some(Level::Error), ..all() }, None, 9).await, [1]);
    assert_eq!(find(EventFilter { kinds: both.clone(), ..all() }, None, 2).await, [6, 5]);
    assert_eq!(find(EventFilter { kinds: both, run_id: Some(b), ..all() }, None, 9).await, [6, 5, 4]);
    assert_eq!(find(EventFilter { kinds: vec![EventKind::Log], ..all() }, None, 9).await, [7, 2, 1, 0]);
    let parcels = EventFilter { asset_key: Some("parcels".into()), ..all() };
    assert_eq!(find(parcels.clone(), None, 9).await, [5, 4, 3]);
    assert_eq!(find(EventFilter { kinds: materialised.clone(), ..parcels.clone() }, None, 9).await, [4, 3]);
    let old = EventFilter { partitions: vec!["2024".into(), "2023".into()], ..parcels };
    assert_eq!(find(old.clone(), None, 9).await, [5, 3]);
    assert_eq!(find(EventFilter { kinds: materialised, ..old }, None, 9).await, [3]);
    let between = EventFilter { after: Some(at(2)), before: Some(at(5)), ..all() };
    assert_eq!(find(between, None, 9).await, [4, 3, 2]);
}

pub(crate) async fn a_zero_byte_in_a_line_is_replaced(backend: &dyn Backend) {
    let instance = backend.open().await;
    let event =
        NewEvent { message: "a\0b".into(), data: serde_json::json!({ "text": "c\u{0}d" }), ..line(RunId::NONE, 1) };
    instance.append(std::slice::from_ref(&event), None).await.unwrap();
    let found = instance.events(&EventFilter::default(), None, 1).await.unwrap().remove(0).event;
    assert_eq!((found.message.as_str(), found.data), ("a\u{fffd}b", event.data));
}
