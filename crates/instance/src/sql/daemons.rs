//! Daemons: leadership, fences, heartbeats, cursors.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::rows::{self, to_optional_json};
use super::{Sql, SqlInstance, WriteTx};
use crate::{Cursors, Heartbeat, Heartbeats, InstanceError, Leadership, Leading, Result};

#[async_trait]
impl Leadership for SqlInstance {
    async fn lead(&self, holder: &str, until: Timestamp, now: Timestamp) -> Result<Leading> {
        let mut tx = self.begin_unfenced().await?;
        tx.lock("leadership").await?;
        let known = Sql::new("SELECT epoch, holder, until FROM leadership").optional(&mut *tx).await?;
        let epoch: i64 = known.as_ref().map_or(Ok(0), |row| row.try_get("epoch"))?;
        let leading = known.as_ref().map(leading).transpose()?.flatten();
        let next = match leading {
            Some(leader) if leader.holder == holder => {
                let mut sql = Sql::new("UPDATE leadership SET until = ");
                sql.bind(until.as_microsecond());
                sql.execute(&mut *tx).await?;
                Leading { until, ..leader }
            }
            Some(leader) if leader.until > now => return Ok(leader),
            _ => {
                let mut sql = Sql::new("INSERT INTO leadership (one, epoch, holder, until) VALUES (1, ");
                sql.bind(epoch + 1).push(", ").bind(holder).push(", ").bind(until.as_microsecond());
                sql.push(
                    ") ON CONFLICT (one) DO UPDATE \
                     SET epoch = excluded.epoch, holder = excluded.holder, until = excluded.until",
                );
                sql.execute(&mut *tx).await?;
                Leading { epoch: epoch + 1, holder: holder.to_owned(), until }
            }
        };
        tx.commit().await?;
        Ok(next)
    }

    async fn resign(&self, holder: &str) -> Result<()> {
        let mut tx = self.begin_unfenced().await?;
        tx.lock("leadership").await?;
        // The epoch rises with the next leader; until then what this one had under way may still be written.
        let mut sql = Sql::new("UPDATE leadership SET holder = NULL WHERE holder = ");
        sql.bind(holder);
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn leader(&self) -> Result<Option<Leading>> {
        let found = Sql::new("SELECT epoch, holder, until FROM leadership").optional(self.readers()).await?;
        Ok(found.as_ref().map(leading).transpose()?.flatten())
    }
}

fn leading(row: &AnyRow) -> Result<Option<Leading>> {
    let holder: Option<String> = row.try_get("holder")?;
    let (epoch, until) = (row.try_get("epoch")?, rows::time(row, "until")?);
    Ok(holder.map(|holder| Leading { epoch, holder, until }))
}

/// Refuses a leader that leads no more, and holds the next one up until this transaction has ended.
pub(super) async fn check_epoch(tx: &mut WriteTx, epoch: i64) -> Result<()> {
    let sql = Sql::new(format!("SELECT epoch FROM leadership{}", tx.dialect().for_key_share()));
    let newest: i64 = sql.optional(&mut **tx).await?.map_or(Ok(0), |row| row.try_get(0))?;
    if newest == epoch { Ok(()) } else { Err(InstanceError::Deposed { epoch, newest }) }
}

#[async_trait]
impl Heartbeats for SqlInstance {
    async fn beat(&self, beat: &Heartbeat) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("INSERT INTO heartbeats (daemon, at, problem, lag) VALUES (");
        sql.bind(beat.daemon.as_str()).push(", ").bind(beat.at.as_microsecond()).push(", ");
        sql.bind(to_optional_json(beat.problem.as_ref())?).push(", ").bind(beat.lag);
        sql.push(
            ") ON CONFLICT (daemon) DO UPDATE SET at = excluded.at, problem = excluded.problem, lag = excluded.lag",
        );
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>> {
        let sql = Sql::new("SELECT daemon, at, problem, lag FROM heartbeats ORDER BY daemon");
        let beat = |row: &AnyRow| {
            Ok(Heartbeat {
                daemon: row.try_get("daemon")?,
                at: rows::time(row, "at")?,
                problem: rows::optional_json(row, "problem")?,
                lag: row.try_get("lag")?,
            })
        };
        sql.all(self.readers()).await?.iter().map(beat).collect()
    }
}

#[async_trait]
impl Cursors for SqlInstance {
    async fn follow_cursor(&self, name: &str) -> Result<Option<i64>> {
        let mut sql = Sql::new("SELECT event_id FROM follow_cursors WHERE name = ");
        sql.bind(name);
        Ok(sql.optional(self.readers()).await?.map(|row| row.try_get(0)).transpose()?)
    }

    async fn set_follow_cursor(&self, name: &str, event_id: i64) -> Result<()> {
        let mut tx = self.begin_write().await?;
        move_cursor(&mut tx, name, event_id).await?;
        tx.commit().await
    }
}

/// Moves a follower's cursor, never back.
pub(super) async fn move_cursor(tx: &mut WriteTx, name: &str, event_id: i64) -> Result<()> {
    let mut sql = Sql::new("INSERT INTO follow_cursors (name, event_id) VALUES (");
    sql.bind(name).push(", ").bind(event_id).push(
        ") ON CONFLICT (name) DO UPDATE SET event_id = excluded.event_id \
         WHERE follow_cursors.event_id < excluded.event_id",
    );
    sql.execute(&mut **tx).await?;
    Ok(())
}
