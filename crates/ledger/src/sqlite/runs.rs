//! Runs and their epochs.

use async_trait::async_trait;
use catchment_model::{RunDoc, Status};
use jiff::Timestamp;
use sqlx::sqlite::SqliteExecutor;

use super::SqliteLedger;
use super::documents::{find, insert, page, replace};
use crate::{LedgerError, Page, PageRequest, Result, Runs, StatusChange, new_id};

pub(super) async fn find_run(db: impl SqliteExecutor<'_>, dagster_run_id: &str) -> Result<Option<RunDoc>> {
    find(db, "runs", "doc ->> '$.dagster_run_id' = ?", &[dagster_run_id.into()]).await
}

#[async_trait]
impl Runs for SqliteLedger {
    async fn open_run(&self, doc: RunDoc) -> Result<RunDoc> {
        self.write(async |tx| {
            let Some(found) = find_run(&mut **tx, &doc.dagster_run_id).await? else {
                insert(&mut **tx, "runs", doc.id, &doc).await?;
                return Ok(doc);
            };
            if found.lease_epoch > doc.lease_epoch {
                return Err(LedgerError::LeaseLost {
                    run: doc.dagster_run_id,
                    epoch: doc.lease_epoch,
                    newest: found.lease_epoch,
                });
            }
            let opened = RunDoc {
                id: found.id,
                asset_ids: found.asset_ids,
                started_at: found.started_at.or(doc.started_at),
                ..doc
            };
            replace(&mut **tx, "runs", opened.id, &opened).await?;
            Ok(opened)
        })
        .await
    }

    async fn close_run(&self, dagster_run_id: &str, new_epoch: i64, now: Timestamp) -> Result<RunDoc> {
        self.write(async |tx| match find_run(&mut **tx, dagster_run_id).await? {
            Some(found) if found.lease_epoch >= new_epoch => Ok(found),
            Some(mut found) => {
                found.lease_epoch = new_epoch;
                replace(&mut **tx, "runs", found.id, &found).await?;
                Ok(found)
            }
            None => {
                let doc = RunDoc::starting(new_id(now), dagster_run_id.to_owned(), String::new(), new_epoch);
                insert(&mut **tx, "runs", doc.id, &doc).await?;
                Ok(doc)
            }
        })
        .await
    }

    async fn set_run_status(&self, dagster_run_id: &str, change: StatusChange) -> Result<bool> {
        self.write(async |tx| {
            let Some(mut doc) = find_run(&mut **tx, dagster_run_id).await? else { return Ok(false) };
            if doc.status.is_final() {
                return Ok(true);
            }
            doc.status = change.status;
            doc.error_message = change.error_message;
            if change.status == Status::Running {
                doc.started_at.get_or_insert(change.at);
            }
            doc.completed_at = change.status.is_final().then_some(change.at);
            replace(&mut **tx, "runs", doc.id, &doc).await?;
            Ok(true)
        })
        .await
    }

    async fn run_doc(&self, dagster_run_id: &str) -> Result<Option<RunDoc>> {
        find_run(&self.readers, dagster_run_id).await
    }

    async fn run_docs(&self, request: PageRequest) -> Result<Page<RunDoc>> {
        page(&self.readers, "runs", "true", Vec::new(), request).await
    }
}
