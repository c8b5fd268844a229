//! The newest of assets, partitions and checks: reading, and wiping.

use async_trait::async_trait;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use jiff::Timestamp;
use serde_json::json;
use sqlx::Row as _;
use sqlx::any::AnyRow;

pub(super) use super::projection::{lock, project, run_ended};
use super::query::CHUNK;
use super::rows::{self, optional_time};
use super::{Sql, SqlInstance, checks, events};
use crate::{AssetRecord, Assets, CheckExecution, PartitionCounts, PartitionState, PartitionStatus, Result};

const SELECT_RECORD: &str = "SELECT a.asset_key, a.materialized_id, a.materialized_at, a.materialized_by, \
     a.data_version, a.code_version, a.observed_id, a.observed_at, a.failed_id, a.wiped_at, \
     (SELECT p.run_id FROM asset_plans p WHERE p.asset_key = a.asset_key ORDER BY p.event_id DESC LIMIT 1) \
     AS in_progress FROM asset_records a";

#[async_trait]
impl Assets for SqlInstance {
    async fn assets(&self, keys: &[String], after: Option<&str>, limit: u32) -> Result<Vec<AssetRecord>> {
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        // No keys at all are all keys.
        let chunks: Vec<&[&str]> = if keys.is_empty() { vec![&[]] } else { keys.chunks(CHUNK).collect() };
        let mut found = Vec::new();
        for some in chunks {
            let left = i64::from(limit) - found.len() as i64;
            if left <= 0 {
                break;
            }
            let mut sql = Sql::new(SELECT_RECORD);
            sql.push(" WHERE a.asset_key > ").bind(after.unwrap_or_default());
            if !some.is_empty() {
                sql.push(" AND a.asset_key IN ").bind_list(some.iter().copied());
            }
            sql.push(" ORDER BY a.asset_key LIMIT ").bind(left);
            for row in sql.all(self.readers()).await? {
                found.push(record(&row)?);
            }
        }
        Ok(found)
    }

    async fn asset_partitions(&self, asset_key: &str, only: &[String]) -> Result<Vec<PartitionState>> {
        let mut only: Vec<&str> = only.iter().map(String::as_str).collect();
        only.sort_unstable();
        only.dedup();
        let chunks: Vec<&[&str]> = if only.is_empty() { vec![&[]] } else { only.chunks(CHUNK).collect() };
        let mut found = Vec::new();
        for some in chunks {
            let mut sql = Sql::new(
                "SELECT partition_key, status, materialized_id, materialized_at, data_version, last_event, run_id \
                 FROM asset_partitions WHERE status <> 'MISSING' AND asset_key = ",
            );
            sql.bind(asset_key);
            if !some.is_empty() {
                sql.push(" AND partition_key IN ").bind_list(some.iter().copied());
            }
            sql.push(" ORDER BY partition_key");
            for row in sql.all(self.readers()).await? {
                found.push(partition(&row)?);
            }
        }
        Ok(found)
    }

    async fn count_partitions(&self, asset_key: &str) -> Result<PartitionCounts> {
        let mut sql = Sql::new("SELECT status, count(*) AS n FROM asset_partitions WHERE asset_key = ");
        sql.bind(asset_key).push(" AND status <> 'MISSING' GROUP BY status");
        let mut counts = PartitionCounts::default();
        for row in sql.all(self.readers()).await? {
            let count = rows::number(&row, "n")?;
            match status(&row)? {
                PartitionStatus::Materialized => counts.materialized = count,
                PartitionStatus::Failed => counts.failed = count,
                PartitionStatus::Materializing => counts.materializing = count,
            }
        }
        Ok(counts)
    }

    async fn wipe_asset(&self, asset_key: &str, partitions: Option<&[String]>, now: Timestamp) -> Result<()> {
        let wiped = |message: String, data: serde_json::Value| NewEvent {
            run_id: RunId::NONE,
            timestamp: now,
            kind: EventKind::AssetWiped,
            step_key: None,
            level: Level::Info,
            message,
            data,
        };
        let told: Vec<NewEvent> = match partitions {
            None => {
                let message = format!("The materialisations of {asset_key} were forgotten");
                vec![wiped(message, json!({ "asset_key": asset_key }))]
            }
            Some(keys) => keys
                .iter()
                .map(|key| {
                    let message = format!("The materialisations of {asset_key}, partition {key}, were forgotten");
                    wiped(message, json!({ "asset_key": asset_key, "partition": key }))
                })
                .collect(),
        };
        if told.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin_write().await?;
        events::insert(&mut tx, &told).await?;
        tx.commit().await
    }

    async fn check_executions(
        &self,
        asset_key: &str,
        check_name: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<CheckExecution>> {
        checks::list(&mut *self.readers().acquire().await?, asset_key, check_name, before, limit).await
    }

    async fn latest_of_partitions(&self, asset_key: &str, check_name: &str) -> Result<Vec<CheckExecution>> {
        checks::latest_of_partitions(&mut *self.readers().acquire().await?, asset_key, check_name).await
    }

    async fn latest_checks(&self, asset_keys: &[String]) -> Result<Vec<CheckExecution>> {
        checks::latest(&mut *self.readers().acquire().await?, asset_keys).await
    }
}

fn record(row: &AnyRow) -> Result<AssetRecord> {
    Ok(AssetRecord {
        asset_key: row.try_get("asset_key")?,
        materialized: id_and_time(row, "materialized_id", "materialized_at")?,
        materialized_by: rows::optional_parsed(row, "materialized_by")?,
        data_version: row.try_get("data_version")?,
        code_version: row.try_get("code_version")?,
        observed: id_and_time(row, "observed_id", "observed_at")?,
        failed: row.try_get("failed_id")?,
        in_progress: rows::optional_parsed(row, "in_progress")?,
        wiped_at: optional_time(row, "wiped_at")?,
    })
}

fn partition(row: &AnyRow) -> Result<PartitionState> {
    Ok(PartitionState {
        partition: row.try_get("partition_key")?,
        status: status(row)?,
        materialized: id_and_time(row, "materialized_id", "materialized_at")?,
        data_version: row.try_get("data_version")?,
        last_event: row.try_get("last_event")?,
        run_id: rows::parsed(row, "run_id")?,
    })
}

fn id_and_time(row: &AnyRow, id: &str, time: &str) -> Result<Option<(i64, Timestamp)>> {
    Ok(row.try_get::<Option<i64>, _>(id)?.zip(optional_time(row, time)?))
}

fn status(row: &AnyRow) -> Result<PartitionStatus> {
    match row.try_get::<&str, _>("status")? {
        "MATERIALIZED" => Ok(PartitionStatus::Materialized),
        "FAILED" => Ok(PartitionStatus::Failed),
        "MATERIALIZING" => Ok(PartitionStatus::Materializing),
        other => Err(rows::corrupt("status", format!("`{other}` is no status of a partition"))),
    }
}
