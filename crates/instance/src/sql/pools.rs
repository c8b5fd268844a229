//! Concurrency pools: slots that steps of all runs share.
//!
//! A claim puts its step into the line, and gives every free slot to those whose turn it is, whoever asks. So a free
//! slot never waits for one particular step to ask again.

use std::collections::BTreeMap;

use async_trait::async_trait;
use catchment_core::RunId;
use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::rows;
use super::{Sql, SqlInstance, WriteTx, run_rows};
use crate::{InstanceError, Lease, MAX_LIMIT, Pool, Pools, Result, Slot, SlotClaim};

#[async_trait]
impl Pools for SqlInstance {
    async fn pools(&self) -> Result<Vec<Pool>> {
        let mut pools: BTreeMap<String, Pool> = BTreeMap::new();
        for row in Sql::new("SELECT name, slot_limit FROM pools").all(self.readers()).await? {
            let name: String = row.try_get("name")?;
            pools.entry(name.clone()).or_insert_with(|| empty(name)).limit = Some(limit(&row)?);
        }
        let slots = "SELECT pool, run_id, step_key, priority, held, since FROM pool_slots \
             ORDER BY pool, held, priority DESC, since, id";
        for row in Sql::new(slots).all(self.readers()).await? {
            let name: String = row.try_get("pool")?;
            let pool = pools.entry(name.clone()).or_insert_with(|| empty(name));
            let held = row.try_get::<i64, _>("held")? == 1;
            if held { &mut pool.slots } else { &mut pool.waiting }.push(slot(&row)?);
        }
        let mut pools: Vec<Pool> = pools.into_values().collect();
        for pool in &mut pools {
            pool.slots.sort_by_key(|slot| slot.since);
        }
        Ok(pools)
    }

    async fn set_pool_limit(&self, pool: &str, limit: Option<u32>) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let sql = match limit {
            Some(limit) if limit > MAX_LIMIT => {
                return Err(InstanceError::Invalid(format!(
                    "the limit {limit} of pool `{pool}` is too large: a pool has at most {MAX_LIMIT} slots"
                )));
            }
            Some(limit) => {
                let mut sql = Sql::new("INSERT INTO pools (name, slot_limit) VALUES (");
                sql.bind(pool).push(", ").bind(i64::from(limit));
                sql.push(") ON CONFLICT (name) DO UPDATE SET slot_limit = excluded.slot_limit");
                sql
            }
            None => {
                let mut sql = Sql::new("DELETE FROM pools WHERE name = ");
                sql.bind(pool);
                sql
            }
        };
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn claim_slot(
        &self,
        pool: &str,
        step_key: &str,
        priority: i64,
        default_limit: Option<u32>,
        lease: Lease,
        now: Timestamp,
    ) -> Result<SlotClaim> {
        let mut tx = self.begin_write().await?;
        // The run is locked until the end: it cannot end meanwhile, and leave a slot behind.
        let run = run_rows::hold_lease(&mut tx, lease).await?;
        if run.status.is_final() {
            return Err(catchment_core::state::Refused { from: run.status, command: "claim_slot" }.into());
        }
        tx.lock(&format!("pool:{pool}")).await?;
        let joined = join(&mut tx, pool, lease.run_id, step_key, priority, now).await?;
        let granted = grant(&mut tx, pool, default_limit, now).await?;
        let mut sql = Sql::new("SELECT id, held, priority, since FROM pool_slots WHERE pool = ");
        sql.bind(pool).push(" AND run_id = ").bind(lease.run_id.to_string()).push(" AND step_key = ").bind(step_key);
        let own = sql.one(&mut *tx).await?;
        let claim = match own.try_get::<i64, _>("held")? {
            1 => SlotClaim::Claimed,
            _ => SlotClaim::Waiting { before: before(&mut tx, pool, &own).await? },
        };
        // One who only asked again has changed nothing.
        if joined + granted > 0 {
            tx.commit().await?;
        }
        Ok(claim)
    }

    async fn free_slot(&self, pool: &str, run_id: RunId, step_key: &str) -> Result<()> {
        let mut tx = self.begin_write().await?;
        let mut sql = Sql::new("DELETE FROM pool_slots WHERE pool = ");
        sql.bind(pool).push(" AND run_id = ").bind(run_id.to_string()).push(" AND step_key = ").bind(step_key);
        sql.execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn free_slots_of(&self, run_id: RunId) -> Result<u64> {
        let mut tx = self.begin_write().await?;
        let freed = free_run(&mut tx, run_id).await?;
        tx.commit().await?;
        Ok(freed)
    }
}

/// Frees all slots and places of a run. It holds their pools, so that whoever gives slots away does not meet it
/// half-way, each with a row that the other wants.
pub(super) async fn free_run(tx: &mut WriteTx, run_id: RunId) -> Result<u64> {
    let mut sql = Sql::new("SELECT DISTINCT pool FROM pool_slots WHERE run_id = ");
    sql.bind(run_id.to_string()).push(" ORDER BY pool");
    for row in sql.all(&mut **tx).await? {
        tx.lock(&format!("pool:{}", row.try_get::<&str, _>("pool")?)).await?;
    }
    let mut sql = Sql::new("DELETE FROM pool_slots WHERE run_id = ");
    sql.bind(run_id.to_string());
    sql.execute(&mut **tx).await
}

/// Puts a step at its place in the line, unless it is there or holds a slot; answers whether that changed anything.
async fn join(
    db: &mut AnyConnection,
    pool: &str,
    run_id: RunId,
    step_key: &str,
    priority: i64,
    now: Timestamp,
) -> Result<u64> {
    let mut sql = Sql::new("INSERT INTO pool_slots (pool, run_id, step_key, held, priority, since) VALUES (");
    sql.bind(pool).push(", ").bind(run_id.to_string()).push(", ").bind(step_key).push(", 0, ");
    sql.bind(priority).push(", ").bind(now.as_microsecond());
    sql.push(
        ") ON CONFLICT (pool, run_id, step_key) DO UPDATE SET priority = excluded.priority \
         WHERE pool_slots.priority <> excluded.priority",
    );
    sql.execute(db).await
}

/// Gives the free slots to those whose turn it is; answers how many.
async fn grant(db: &mut AnyConnection, pool: &str, default_limit: Option<u32>, now: Timestamp) -> Result<u64> {
    let mut sql = Sql::new("SELECT slot_limit FROM pools WHERE name = ");
    sql.bind(pool);
    let own_limit = sql.optional(&mut *db).await?.as_ref().map(limit).transpose()?;
    let free = match own_limit.or(default_limit) {
        None => i64::MAX,
        Some(limit) => {
            let mut sql = Sql::new("SELECT count(*) FROM pool_slots WHERE held = 1 AND pool = ");
            sql.bind(pool);
            i64::from(limit) - sql.one(&mut *db).await?.try_get::<i64, _>(0)?
        }
    };
    if free <= 0 {
        return Ok(0);
    }
    let mut sql = Sql::new("UPDATE pool_slots SET held = 1, since = ");
    sql.bind(now.as_microsecond());
    sql.push(" WHERE id IN (SELECT id FROM pool_slots WHERE held = 0 AND pool = ").bind(pool);
    sql.push(" ORDER BY priority DESC, since, id LIMIT ").bind(free).push(")");
    sql.execute(db).await
}

/// How many wait whose turn is earlier.
async fn before(db: &mut AnyConnection, pool: &str, own: &AnyRow) -> Result<u32> {
    let priority: i64 = own.try_get("priority")?;
    let mut sql = Sql::new("SELECT count(*) FROM pool_slots WHERE held = 0 AND pool = ");
    sql.bind(pool).push(" AND (priority > ").bind(priority).push(" OR (priority = ").bind(priority);
    sql.push(" AND (since, id) < (").bind(own.try_get::<i64, _>("since")?).push(", ");
    sql.bind(own.try_get::<i64, _>("id")?).push(")))");
    let count: i64 = sql.one(db).await?.try_get(0)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

fn empty(name: String) -> Pool {
    Pool { name, limit: None, slots: Vec::new(), waiting: Vec::new() }
}

fn limit(row: &AnyRow) -> Result<u32> {
    u32::try_from(row.try_get::<i64, _>("slot_limit")?).map_err(|e| rows::corrupt("slot_limit", e))
}

fn slot(row: &AnyRow) -> Result<Slot> {
    Ok(Slot {
        run_id: rows::parsed(row, "run_id")?,
        step_key: row.try_get("step_key")?,
        priority: row.try_get("priority")?,
        since: rows::time(row, "since")?,
    })
}
