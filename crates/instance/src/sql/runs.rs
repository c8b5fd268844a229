//! Runs: each change of state goes through the state machine, with its event, in one transaction.

use std::collections::HashSet;

use async_trait::async_trait;
use catchment_core::state::{Command, Refused, transition};
use catchment_core::{NewRun, Run, RunId, RunKey};
use catchment_settings::wake::Hint;
use jiff::Timestamp;
use sqlx::Row as _;

use super::run_rows::{self, LIVE, RUN_COLUMNS, hold_lease, not_found};
use super::{Sql, SqlInstance, assets, checks, events, pools, purge, run_filter};
use crate::{Enqueued, Lease, Result, RunFilter, Runs};

#[async_trait]
impl Runs for SqlInstance {
    async fn enqueue(&self, run: NewRun, now: Timestamp) -> Result<Run> {
        let mut tx = self.begin_write().await?;
        if let Some(known) = run_rows::select(&mut tx, run.run_id).await? {
            return Err(Refused { from: known.status, command: Command::Enqueue.name() }.into());
        }
        let run = run_rows::insert(&mut tx, run, now).await?;
        tx.commit().await?;
        Ok(run)
    }

    async fn enqueue_once(&self, key: RunKey, run: NewRun, now: Timestamp) -> Result<Enqueued> {
        let mut tx = self.begin_write().await?;
        if let Some(known) = run_rows::use_key(&mut tx, &key, run.run_id, None, now).await? {
            return Ok(Enqueued::Known(known.run_id));
        }
        let run = run_rows::insert(&mut tx, run, now).await?;
        tx.commit().await?;
        Ok(Enqueued::Made(Box::new(run)))
    }

    async fn run(&self, run_id: RunId) -> Result<Option<Run>> {
        let mut sql = Sql::new(format!("SELECT {RUN_COLUMNS} FROM runs WHERE run_id = "));
        sql.bind(run_id.to_string());
        sql.optional(self.readers()).await?.as_ref().map(run_rows::run).transpose()
    }

    async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        let before = match before {
            Some(run_id) => Some(self.seq(run_id).await?.ok_or_else(|| not_found(run_id))?),
            None => None,
        };
        let sql = run_filter::page(filter, before, limit);
        sql.all(self.readers()).await?.iter().map(run_rows::run).collect()
    }

    async fn count_runs(&self, filter: &RunFilter) -> Result<u64> {
        let row = run_filter::count(filter).one(self.readers()).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
    }

    async fn live_runs(&self) -> Result<Vec<Run>> {
        let index = self.dialect().indexed_by("runs_live");
        let sql = Sql::new(format!("SELECT {RUN_COLUMNS} FROM runs{index} WHERE {LIVE} ORDER BY seq"));
        sql.all(self.readers()).await?.iter().map(run_rows::run).collect()
    }

    async fn command(
        &self,
        run_id: RunId,
        command: Command,
        lease: Option<Lease>,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Run> {
        let mut tx = self.begin_write().await?;
        let mut run = run_rows::select(&mut tx, run_id).await?.ok_or_else(|| not_found(run_id))?;
        run_rows::check_lease(&run, lease)?;
        let (status, kind) = transition(run.status, &command)?;
        run_rows::apply(&mut run, status, &command, until, now);
        run_rows::update(&mut tx, &run).await?;
        if status.is_final() {
            pools::free_run(&mut tx, run_id).await?;
            assets::run_ended(&mut tx, &run).await?;
            checks::run_ended(&mut tx, &run).await?;
        }
        events::insert(&mut tx, &[run_rows::state_event(run_id, kind, &command, now)]).await?;
        tx.hint(Hint::Runs);
        tx.commit().await?;
        Ok(run)
    }

    async fn note_process(&self, lease: Lease, process: &str) -> Result<Run> {
        let mut tx = self.begin_write().await?;
        let mut run = hold_lease(&mut tx, lease).await?;
        if !run.status.is_final() {
            run.process = Some(process.to_owned());
            run_rows::update(&mut tx, &run).await?;
            tx.commit().await?;
        }
        Ok(run)
    }

    async fn renew(&self, lease: Lease, until: Timestamp) -> Result<Run> {
        let mut tx = self.begin_write().await?;
        let mut run = hold_lease(&mut tx, lease).await?;
        if !run.status.is_final() {
            run.lease_until = run.lease_until.max(Some(until));
            run_rows::update(&mut tx, &run).await?;
            tx.commit().await?;
        }
        Ok(run)
    }

    async fn revoke(&self, run_id: RunId, _now: Timestamp) -> Result<i64> {
        let mut tx = self.begin_write().await?;
        let mut run = run_rows::select(&mut tx, run_id).await?.ok_or_else(|| not_found(run_id))?;
        if run.status.is_final() {
            return Err(Refused { from: run.status, command: "revoke" }.into());
        }
        run.lease_epoch += 1;
        run.lease_until = None;
        run_rows::update(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(run.lease_epoch)
    }

    async fn set_tags(&self, run_id: RunId, tags: &[(String, String)]) -> Result<Run> {
        let mut tx = self.begin_write().await?;
        let mut run = run_rows::select(&mut tx, run_id).await?.ok_or_else(|| not_found(run_id))?;
        run.tags.extend(tags.iter().cloned());
        run_rows::write_tags(&mut tx, &run).await?;
        tx.commit().await?;
        Ok(run)
    }

    async fn delete_run(&self, run_id: RunId) -> Result<()> {
        let run = self.run(run_id).await?.ok_or_else(|| not_found(run_id))?;
        if !run.status.is_final() {
            return Err(Refused { from: run.status, command: "delete" }.into());
        }
        // What has ended stays so.
        purge::run(self, &run_id.to_string()).await
    }

    async fn deleted_runs(&self, run_ids: &[RunId]) -> Result<HashSet<RunId>> {
        purge::deleted(self, run_ids).await
    }

    async fn purge_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u64> {
        purge::runs(self, ended_before, limit).await
    }

    async fn run_tags(&self, key: Option<&str>, prefix: &str, limit: u32) -> Result<Vec<String>> {
        let found = run_filter::tags(key, prefix, limit).all(self.readers()).await?;
        let tags = found.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<String>>>()?;
        Ok(tags.into_iter().take_while(|tag| tag.starts_with(prefix)).collect())
    }
}

impl SqlInstance {
    async fn seq(&self, run_id: RunId) -> Result<Option<i64>> {
        let mut sql = Sql::new("SELECT seq FROM runs WHERE run_id = ");
        sql.bind(run_id.to_string());
        Ok(sql.optional(self.readers()).await?.map(|row| row.try_get(0)).transpose()?)
    }
}
