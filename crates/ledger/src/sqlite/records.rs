//! What is written once and only read afterwards: lineage and the activity log.

use async_trait::async_trait;
use catchment_model::{ActivityLog, Lineage, ObjectId};

use super::SqliteLedger;
use super::documents::{all, find, insert, page};
use crate::{Activities, Lineages, Page, PageRequest, Result};

#[async_trait]
impl Lineages for SqliteLedger {
    async fn record_lineage(&self, doc: Lineage) -> Result<Lineage> {
        self.write(async |tx| {
            let ends = [doc.source_asset_id, doc.target_asset_id, doc.run_id].map(|id| id.to_string());
            let condition =
                "doc ->> '$.source_asset_id' = ? AND doc ->> '$.target_asset_id' = ? AND doc ->> '$.run_id' = ?";
            let binds = [ends[0].as_str().into(), ends[1].as_str().into(), ends[2].as_str().into()];
            if let Some(found) = find(&mut **tx, "lineage", condition, &binds).await? {
                return Ok(found);
            }
            insert(&mut **tx, "lineage", doc.id, &doc).await?;
            Ok(doc)
        })
        .await
    }

    async fn lineage_of(&self, asset_id: ObjectId) -> Result<Vec<Lineage>> {
        let id = asset_id.to_string();
        let condition = "doc ->> '$.source_asset_id' = ? OR doc ->> '$.target_asset_id' = ? ORDER BY id";
        all(&self.readers, "lineage", condition, &[id.as_str().into(), id.as_str().into()]).await
    }
}

#[async_trait]
impl Activities for SqliteLedger {
    async fn log_activity(&self, doc: ActivityLog) -> Result<ActivityLog> {
        self.write(async |tx| {
            if let Some(key) = &doc.event_key {
                let binds = [key.as_str().into()];
                if let Some(found) = find(&mut **tx, "activity_logs", "doc ->> '$.event_key' = ?", &binds).await? {
                    return Ok(found);
                }
            }
            insert(&mut **tx, "activity_logs", doc.id, &doc).await?;
            Ok(doc)
        })
        .await
    }

    async fn activities(&self, request: PageRequest, resource: Option<(&str, &str)>) -> Result<Page<ActivityLog>> {
        match resource {
            None => page(&self.readers, "activity_logs", "true", Vec::new(), request).await,
            Some((kind, id)) => {
                let condition = "doc ->> '$.resource_type' = ? AND doc ->> '$.resource_id' = ?";
                page(&self.readers, "activity_logs", condition, vec![kind.into(), id.into()], request).await
            }
        }
    }
}
