//! What events say of assets and partitions, written into tables in the transaction of the events.
//!
//! Each transaction holds the names of its assets before it draws ids of events, so the events of one asset are
//! projected in the order of their ids, and the newest is always the last.

use std::collections::BTreeSet;

use catchment_core::{EventKind, Level, NewEvent, Run, RunId, RunStatus};
use serde_json::json;
use sqlx::Row as _;

use super::{Sql, WriteTx, checks, events, run_rows};
use crate::Result;

/// Holds the assets of these events until the transaction has ended.
pub(super) async fn lock(tx: &mut WriteTx, events: &[NewEvent]) -> Result<()> {
    let keys: BTreeSet<&str> = events.iter().filter_map(NewEvent::asset_key).collect();
    for key in keys {
        tx.lock(&format!("asset:{key}")).await?;
    }
    Ok(())
}

/// Writes what events say of assets and checks.
pub(super) async fn project(tx: &mut WriteTx, events: &[NewEvent], ids: &[i64]) -> Result<()> {
    for (event, &id) in events.iter().zip(ids) {
        let Some(asset) = event.asset_key() else { continue };
        let told = Told { id, event, asset, partition: event.partition().unwrap_or_default() };
        match event.kind {
            EventKind::AssetMaterializationPlanned => told.planned(tx).await?,
            EventKind::AssetMaterialization => told.materialized(tx).await?,
            EventKind::AssetFailedToMaterialize => told.failed(tx).await?,
            EventKind::AssetObservation => told.observed(tx).await?,
            EventKind::AssetWiped => told.wiped(tx).await?,
            EventKind::AssetCheckEvaluationPlanned => checks::planned(tx, asset, event).await?,
            EventKind::AssetCheckEvaluation => checks::evaluated(tx, asset, event, id).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Takes back what a run that has ended was about to materialise. What a failed run left undone has failed, and the
/// log says so; the rest stands as it did before.
pub(super) async fn run_ended(tx: &mut WriteTx, run: &Run) -> Result<()> {
    let mut sql = Sql::new("SELECT asset_key, partition_key, step_key FROM asset_plans WHERE run_id = ");
    sql.bind(run.run_id.to_string()).push(" ORDER BY event_id, asset_key, partition_key");
    let plans = sql.all(&mut **tx).await?;
    let mut undone = Vec::new();
    for plan in &plans {
        let asset: &str = plan.try_get("asset_key")?;
        let partition: &str = plan.try_get("partition_key")?;
        undone.push(NewEvent {
            run_id: run.run_id,
            timestamp: run.ended_at.unwrap_or(run.created_at),
            kind: EventKind::AssetFailedToMaterialize,
            step_key: plan.try_get("step_key")?,
            level: Level::Error,
            message: format!("{asset} was not materialised: its run failed before"),
            data: match partition {
                "" => json!({ "asset_key": asset, "problem": run.problem }),
                partition => json!({ "asset_key": asset, "partition": partition, "problem": run.problem }),
            },
        });
    }
    if undone.is_empty() {
        return Ok(());
    }
    if run.status == RunStatus::Failure {
        events::insert(tx, &undone).await?;
        return Ok(());
    }
    lock(tx, &undone).await?;
    let run_id = run.run_id.to_string();
    let mut sql = Sql::new(
        "UPDATE asset_partitions SET status = CASE WHEN EXISTS (SELECT 1 FROM asset_plans p \
         WHERE p.asset_key = asset_partitions.asset_key AND p.partition_key = asset_partitions.partition_key \
         AND p.run_id <> ",
    );
    sql.bind(run_id.as_str()).push(
        ") THEN 'MATERIALIZING' WHEN failed_id > coalesce(materialized_id, 0) THEN 'FAILED' \
         WHEN materialized_id IS NOT NULL THEN 'MATERIALIZED' ELSE 'MISSING' END \
         WHERE (asset_key, partition_key) IN (SELECT asset_key, partition_key FROM asset_plans WHERE run_id = ",
    );
    sql.bind(run_id.as_str()).push(")");
    sql.execute(&mut **tx).await?;
    let mut sql = Sql::new("DELETE FROM asset_plans WHERE run_id = ");
    sql.bind(run_id.as_str());
    sql.execute(&mut **tx).await?;
    Ok(())
}

/// Whether a run is there and has not ended: only such a run is about to do anything.
pub(super) async fn is_live(tx: &mut WriteTx, run_id: RunId) -> Result<bool> {
    let mut sql = Sql::new("SELECT seq FROM runs WHERE run_id = ");
    sql.bind(run_id.to_string()).push(" AND ").push(run_rows::LIVE);
    Ok(sql.optional(&mut **tx).await?.is_some())
}

/// An event about an asset.
struct Told<'a> {
    id: i64,
    event: &'a NewEvent,
    asset: &'a str,
    partition: &'a str,
}

impl Told<'_> {
    async fn planned(&self, tx: &mut WriteTx) -> Result<()> {
        if !is_live(tx, self.event.run_id).await? {
            return Ok(());
        }
        let mut sql = Sql::new("INSERT INTO asset_records (asset_key) VALUES (");
        sql.bind(self.asset).push(") ON CONFLICT DO NOTHING");
        sql.execute(&mut **tx).await?;
        let mut sql =
            Sql::new("INSERT INTO asset_plans (asset_key, partition_key, run_id, event_id, step_key) VALUES (");
        sql.bind(self.asset).push(", ").bind(self.partition).push(", ").bind(self.event.run_id.to_string());
        sql.push(", ").bind(self.id).push(", ").bind(self.event.step_key.as_deref()).push(
            ") ON CONFLICT (asset_key, partition_key, run_id) DO UPDATE \
             SET event_id = excluded.event_id, step_key = excluded.step_key",
        );
        sql.execute(&mut **tx).await?;
        let mut sql =
            Sql::new("INSERT INTO asset_partitions (status, asset_key, partition_key, last_event, run_id) VALUES (");
        sql.push("'MATERIALIZING', ");
        self.bind_place(&mut sql);
        sql.push(
            ") ON CONFLICT (asset_key, partition_key) DO UPDATE \
             SET status = excluded.status, last_event = excluded.last_event, run_id = excluded.run_id",
        );
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    async fn materialized(&self, tx: &mut WriteTx) -> Result<()> {
        self.settle(tx).await?;
        let mut sql = Sql::new(
            "INSERT INTO asset_records \
             (asset_key, materialized_id, materialized_at, materialized_by, data_version, code_version) VALUES (",
        );
        sql.bind(self.asset).push(", ");
        self.bind_materialization(&mut sql);
        sql.push(
            ") ON CONFLICT (asset_key) DO UPDATE SET materialized_id = excluded.materialized_id, \
             materialized_at = excluded.materialized_at, materialized_by = excluded.materialized_by, \
             data_version = excluded.data_version, code_version = excluded.code_version",
        );
        sql.execute(&mut **tx).await?;
        let mut sql = Sql::new(
            "INSERT INTO asset_partitions (status, asset_key, partition_key, last_event, run_id, \
             materialized_id, materialized_at, materialized_by, data_version, code_version) VALUES (",
        );
        self.bind_status(&mut sql, "MATERIALIZED");
        self.bind_place(&mut sql);
        sql.push(", ");
        self.bind_materialization(&mut sql);
        sql.push(
            ") ON CONFLICT (asset_key, partition_key) DO UPDATE SET status = excluded.status, \
             last_event = excluded.last_event, run_id = excluded.run_id, \
             materialized_id = excluded.materialized_id, materialized_at = excluded.materialized_at, \
             materialized_by = excluded.materialized_by, data_version = excluded.data_version, \
             code_version = excluded.code_version",
        );
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    async fn failed(&self, tx: &mut WriteTx) -> Result<()> {
        self.settle(tx).await?;
        let mut sql = Sql::new("INSERT INTO asset_records (asset_key, failed_id) VALUES (");
        sql.bind(self.asset).push(", ").bind(self.id);
        sql.push(") ON CONFLICT (asset_key) DO UPDATE SET failed_id = excluded.failed_id");
        sql.execute(&mut **tx).await?;
        let mut sql = Sql::new(
            "INSERT INTO asset_partitions (status, asset_key, partition_key, last_event, run_id, failed_id) VALUES (",
        );
        self.bind_status(&mut sql, "FAILED");
        self.bind_place(&mut sql);
        sql.push(", ").bind(self.id).push(
            ") ON CONFLICT (asset_key, partition_key) DO UPDATE SET status = excluded.status, \
             last_event = excluded.last_event, run_id = excluded.run_id, failed_id = excluded.failed_id",
        );
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    async fn observed(&self, tx: &mut WriteTx) -> Result<()> {
        let mut sql =
            Sql::new("INSERT INTO asset_records (asset_key, observed_id, observed_at, data_version) VALUES (");
        sql.bind(self.asset).push(", ").bind(self.id).push(", ").bind(self.event.timestamp.as_microsecond());
        // What is materialised has the version of its materialisation; what is only watched, that of the observation.
        sql.push(", ").bind(self.text("data_version")).push(
            ") ON CONFLICT (asset_key) DO UPDATE SET observed_id = excluded.observed_id, \
             observed_at = excluded.observed_at, data_version = CASE WHEN asset_records.materialized_id IS NULL \
             THEN coalesce(excluded.data_version, asset_records.data_version) ELSE asset_records.data_version END",
        );
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    /// Forgets the asset or one of its partitions; what live runs are about to make stays planned.
    async fn wiped(&self, tx: &mut WriteTx) -> Result<()> {
        let only = self.event.partition();
        let of = |sql: &mut Sql| {
            sql.push(" WHERE asset_key = ").bind(self.asset);
            if let Some(partition) = only {
                sql.push(" AND partition_key = ").bind(partition);
            }
        };
        let mut sql = Sql::new("DELETE FROM asset_partitions");
        of(&mut sql);
        sql.push(" AND status <> 'MATERIALIZING'");
        sql.execute(&mut **tx).await?;
        let mut sql = Sql::new(
            "UPDATE asset_partitions SET materialized_id = NULL, materialized_at = NULL, materialized_by = NULL, \
             data_version = NULL, code_version = NULL, failed_id = NULL",
        );
        of(&mut sql);
        sql.execute(&mut **tx).await?;
        if only.is_some() {
            return self.newest_of_partitions(tx).await;
        }
        let mut sql = Sql::new("INSERT INTO asset_records (asset_key, wiped_at) VALUES (");
        sql.bind(self.asset).push(", ").bind(self.event.timestamp.as_microsecond()).push(
            ") ON CONFLICT (asset_key) DO UPDATE SET wiped_at = excluded.wiped_at, materialized_id = NULL, \
             materialized_at = NULL, materialized_by = NULL, data_version = NULL, code_version = NULL, \
             observed_id = NULL, observed_at = NULL, failed_id = NULL",
        );
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    /// The newest of an asset is that of its partitions that are left.
    async fn newest_of_partitions(&self, tx: &mut WriteTx) -> Result<()> {
        let mut sql = Sql::new(
            "UPDATE asset_records SET (materialized_id, materialized_at, materialized_by, data_version, code_version) \
             = (SELECT materialized_id, materialized_at, materialized_by, data_version, code_version \
             FROM asset_partitions WHERE materialized_id IS NOT NULL AND asset_key = ",
        );
        sql.bind(self.asset).push(" ORDER BY materialized_id DESC LIMIT 1) WHERE asset_key = ").bind(self.asset);
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    /// The run's plan is done with, one way or the other.
    async fn settle(&self, tx: &mut WriteTx) -> Result<()> {
        let mut sql = Sql::new("DELETE FROM asset_plans WHERE asset_key = ");
        sql.bind(self.asset).push(" AND partition_key = ").bind(self.partition);
        sql.push(" AND run_id = ").bind(self.event.run_id.to_string());
        sql.execute(&mut **tx).await?;
        Ok(())
    }

    /// The status, unless another run is about to materialise the partition.
    fn bind_status(&self, sql: &mut Sql, status: &str) {
        sql.push("CASE WHEN EXISTS (SELECT 1 FROM asset_plans WHERE asset_key = ").bind(self.asset);
        sql.push(" AND partition_key = ").bind(self.partition).push(") THEN 'MATERIALIZING' ELSE ");
        sql.bind(status).push(" END, ");
    }

    fn bind_place(&self, sql: &mut Sql) {
        sql.bind(self.asset).push(", ").bind(self.partition).push(", ").bind(self.id);
        sql.push(", ").bind(self.event.run_id.to_string());
    }

    fn bind_materialization(&self, sql: &mut Sql) {
        sql.bind(self.id).push(", ").bind(self.event.timestamp.as_microsecond());
        sql.push(", ").bind(self.event.run_id.to_string());
        sql.push(", ").bind(self.text("data_version")).push(", ").bind(self.text("code_version"));
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.event.data.get(name)?.as_str()
    }
}
