//! The event log: appending, and following.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use catchment_core::{Event, EventKind, NewEvent, RunId};
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, to_json};
use super::{Dialect, Sql, SqlInstance, WriteTx, assets, event_filter, purge, run_rows};
use crate::{EventFilter, Events, Lease, Result};

pub(super) const COLUMNS: &str = "id, run_id, timestamp, kind, step_key, level, message, data";
/// Sizes of the statements that write events: few, so that each is prepared once.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

#[async_trait]
impl Events for SqlInstance {
    async fn append(&self, events: &[NewEvent], lease: Option<Lease>) -> Result<i64> {
        if events.is_empty() {
            return self.last_event_id().await;
        }
        let mut tx = self.begin_write().await?;
        if let Some(lease) = lease {
            run_rows::hold_lease(&mut tx, lease).await?;
        }
        let last = insert(&mut tx, events).await?;
        tx.commit().await?;
        Ok(last)
    }

    async fn run_events(&self, run_id: RunId, after: i64, limit: u32) -> Result<Vec<Event>> {
        let horizon = self.horizon().await?;
        let mut sql = Sql::new(format!("SELECT {COLUMNS} FROM events WHERE run_id = "));
        sql.bind(run_id.to_string()).push(" AND id > ").bind(after).push(" AND id <= ").bind(horizon);
        sql.push(" ORDER BY id LIMIT ").bind(i64::from(limit));
        sql.all(self.readers()).await?.iter().map(event).collect()
    }

    async fn events_after(&self, after: i64, kinds: &[EventKind], limit: u32) -> Result<Vec<Event>> {
        let horizon = self.horizon().await?;
        let sql = event_filter::following(after, horizon, kinds, limit);
        sql.all(self.readers()).await?.iter().map(event).collect()
    }

    async fn events(&self, filter: &EventFilter, before: Option<i64>, limit: u32) -> Result<Vec<Event>> {
        let sql = event_filter::page(filter, before, limit);
        sql.all(self.readers()).await?.iter().map(event).collect()
    }

    async fn last_event_id(&self) -> Result<i64> {
        match self.dialect() {
            Dialect::Postgres => self.horizon().await,
            Dialect::Sqlite => {
                Ok(Sql::new("SELECT coalesce(max(id), 0) FROM events").one(self.readers()).await?.try_get(0)?)
            }
        }
    }

    async fn purge_events(&self, before: Timestamp, limit: u32) -> Result<u64> {
        purge::events(self, before, limit).await
    }
}

impl SqlInstance {
    /// The newest id that a reader may stand at: see `schema/0001_postgres.sql`.
    ///
    /// It may fall: a writer reads the last id that was drawn, waits, and locks it when others have long drawn and
    /// committed later ones. (Its own will be later still.) A follower that knows the higher horizon, and is given a
    /// page up to the lower one, would take what lies in between for seen. But what was once behind the horizon has
    /// ended, and stays visible: so the highest that was ever seen is one, too.
    async fn horizon(&self) -> Result<i64> {
        match self.dialect() {
            Dialect::Sqlite => Ok(i64::MAX),
            Dialect::Postgres => {
                let now: i64 = Sql::new("SELECT events_horizon()").one(self.readers()).await?.try_get(0)?;
                Ok(self.shared.horizon.fetch_max(now, Ordering::SeqCst).max(now))
            }
        }
    }
}

/// Writes events in order, with what they say of assets, and answers the last id.
pub(super) async fn insert(tx: &mut WriteTx, events: &[NewEvent]) -> Result<i64> {
    assets::lock(tx, events).await?;
    let ids = draw_ids(tx, events.len()).await?;
    let mut rest: &[NewEvent] = events;
    let mut at = 0;
    for size in CHUNKS {
        while rest.len() >= size {
            let (chunk, more) = rest.split_at(size);
            insert_chunk(tx, chunk, &ids[at..at + size]).await?;
            rest = more;
            at += size;
        }
    }
    assets::project(tx, events, &ids).await?;
    tx.hint_of(events);
    Ok(ids.last().copied().unwrap_or(0))
}

/// Draws ids that rise, and are above every id that a reader may stand at.
async fn draw_ids(tx: &mut WriteTx, count: usize) -> Result<Vec<i64>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if tx.dialect() == Dialect::Sqlite {
        let last = Sql::new("SELECT seq FROM sqlite_sequence WHERE name = 'events'").optional(&mut **tx).await?;
        let last: i64 = last.map_or(Ok(0), |row| row.try_get(0))?;
        return Ok((last + 1..=last + count).collect());
    }
    // The lock first, then the ids: the order is what makes the horizon right.
    Sql::new("SELECT pg_advisory_xact_lock_shared((25441::BIGINT << 48) | last_value) FROM event_ids")
        .execute(&mut **tx)
        .await?;
    let mut sql = Sql::new("SELECT nextval('event_ids') AS id FROM generate_series(1, ");
    sql.bind(count).push(")");
    sql.all(&mut **tx).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn insert_chunk(tx: &mut WriteTx, events: &[NewEvent], ids: &[i64]) -> Result<()> {
    let mut sql = Sql::new(
        "INSERT INTO events (id, run_id, timestamp, kind, step_key, level, message, data, asset_key, partition) VALUES ",
    );
    for (n, (event, id)) in events.iter().zip(ids).enumerate() {
        let data = if event.data.is_null() { None } else { Some(to_json(&event.data)?) };
        sql.push(if n == 0 { "(" } else { ", (" });
        sql.bind(*id).push(", ").bind(event.run_id.to_string()).push(", ").bind(event.timestamp.as_microsecond());
        sql.push(", ").bind(event.kind.as_str()).push(", ").bind(event.step_key.as_deref());
        // PostgreSQL's text holds no zero byte, which a child process may well print.
        sql.push(", ").bind(event.level.as_str()).push(", ").bind(event.message.replace('\0', "\u{fffd}"));
        sql.push(", ").bind(data).push(", ").bind(event.asset_key()).push(", ").bind(event.partition()).push(")");
    }
    sql.execute(&mut **tx).await?;
    Ok(())
}

/// The event of a row that has [`COLUMNS`].
pub(super) fn event(row: &AnyRow) -> Result<Event> {
    Ok(Event {
        id: row.try_get("id")?,
        event: NewEvent {
            run_id: rows::parsed(row, "run_id")?,
            timestamp: rows::time(row, "timestamp")?,
            kind: rows::parsed(row, "kind")?,
            step_key: row.try_get("step_key")?,
            level: event_filter::level(row.try_get("level")?)?,
            message: row.try_get("message")?,
            data: rows::optional_json(row, "data")?.unwrap_or_default(),
        },
    })
}
