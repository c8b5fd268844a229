//! The event log.

use async_trait::async_trait;
use catchment_core::{Event, EventKind, NewEvent, RunId};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::rows::{self, to_json};
use super::{SqliteInstance, runs};
use crate::{Cursors, Events, Lease, Result};

#[async_trait]
impl Events for SqliteInstance {
    async fn append(&self, events: &[NewEvent], lease: Option<Lease>) -> Result<i64> {
        if events.is_empty() {
            return self.last_event_id().await;
        }
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(lease) = lease {
            let run = runs::select(&mut tx, lease.run_id).await?.ok_or_else(|| runs::not_found(lease.run_id))?;
            runs::check_lease(&run, Some(lease))?;
        }
        let mut last = 0;
        for event in events {
            last = insert(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(last)
    }

    async fn run_events(&self, run_id: RunId, after: i64, limit: u32) -> Result<Vec<Event>> {
        let found = sqlx::query("SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?")
            .bind(run_id.to_string())
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        found.iter().map(rows::event).collect()
    }

    async fn events_after(&self, after: i64, kinds: &[EventKind], limit: u32) -> Result<Vec<Event>> {
        let query = if kinds.is_empty() {
            sqlx::query("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?").bind(after)
        } else {
            let kinds: Vec<_> = kinds.iter().map(|k| k.as_str()).collect();
            // By kind first: what lies between two changes of state may be a million log lines.
            sqlx::query(
                "SELECT * FROM events INDEXED BY events_by_kind \
                 WHERE kind IN (SELECT value FROM json_each(?)) AND id > ? ORDER BY id LIMIT ?",
            )
            .bind(to_json(&kinds)?)
            .bind(after)
        };
        query.bind(limit).fetch_all(&self.readers).await?.iter().map(rows::event).collect()
    }

    async fn last_event_id(&self) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM events").fetch_one(&self.readers).await?)
    }
}

#[async_trait]
impl Cursors for SqliteInstance {
    async fn follow_cursor(&self, name: &str) -> Result<i64> {
        let found = sqlx::query_scalar("SELECT event_id FROM follow_cursors WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(found.unwrap_or(0))
    }

    async fn set_follow_cursor(&self, name: &str, event_id: i64) -> Result<()> {
        sqlx::query(
            "INSERT INTO follow_cursors (name, event_id) VALUES (?, ?) \
             ON CONFLICT (name) DO UPDATE SET event_id = max(event_id, excluded.event_id)",
        )
        .bind(name)
        .bind(event_id)
        .execute(&mut *self.writer().await)
        .await?;
        Ok(())
    }
}

pub(super) async fn insert(db: &mut SqliteConnection, event: &NewEvent) -> Result<i64> {
    let data = if event.data.is_null() { None } else { Some(to_json(&event.data)?) };
    let done = sqlx::query(
        "INSERT INTO events (run_id, timestamp, kind, step_key, level, message, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.run_id.to_string())
    .bind(event.timestamp.as_microsecond())
    .bind(event.kind.as_str())
    .bind(&event.step_key)
    .bind(event.level.as_str())
    .bind(&event.message)
    .bind(data)
    .execute(db)
    .await?;
    Ok(done.last_insert_rowid())
}
