//! Dynamic partitions.

use std::collections::HashSet;

use async_trait::async_trait;
use catchment_settings::wake::Hint;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::query::CHUNK;
use super::{Sql, SqlInstance, rows};
use crate::{Partitions, Result};

#[async_trait]
impl Partitions for SqlInstance {
    async fn add_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>> {
        let mut tx = self.begin_write().await?;
        let new = add(&mut tx, definition, keys).await?;
        tx.hint(Hint::Anything);
        tx.commit().await?;
        Ok(new)
    }

    async fn delete_partitions(&self, definition: &str, keys: &[String]) -> Result<Vec<String>> {
        let mut tx = self.begin_write().await?;
        let gone = delete(&mut tx, definition, keys).await?;
        tx.hint(Hint::Anything);
        tx.commit().await?;
        Ok(gone)
    }

    async fn partitions(&self, definition: &str) -> Result<Vec<String>> {
        // There may be many thousands: as one value they come at once, and not row by row.
        let mut sql = Sql::new(format!("SELECT {} AS keys FROM partitions", self.dialect().json_list("key", "seq")));
        sql.push(" WHERE definition = ").bind(definition);
        rows::json(&sql.one(self.readers()).await?, "keys")
    }

    async fn has_partition(&self, definition: &str, key: &str) -> Result<bool> {
        let mut sql = Sql::new("SELECT seq FROM partitions WHERE definition = ");
        sql.bind(definition).push(" AND key = ").bind(key);
        Ok(sql.optional(self.readers()).await?.is_some())
    }
}

/// Adds keys in their order, and answers those that are new.
pub(super) async fn add(db: &mut AnyConnection, definition: &str, keys: &[String]) -> Result<Vec<String>> {
    let mut new = HashSet::new();
    for some in keys.chunks(CHUNK) {
        let mut sql = Sql::new("INSERT INTO partitions (definition, key) VALUES ");
        for (n, key) in some.iter().enumerate() {
            sql.push(if n == 0 { "" } else { ", " }).bind_list([definition, key.as_str()]);
        }
        sql.push(" ON CONFLICT DO NOTHING RETURNING key");
        collect(&mut new, &sql.all(&mut *db).await?)?;
    }
    Ok(in_order(keys, new))
}

/// Takes keys out, and answers those that were there.
pub(super) async fn delete(db: &mut AnyConnection, definition: &str, keys: &[String]) -> Result<Vec<String>> {
    let mut gone = HashSet::new();
    for some in keys.chunks(CHUNK) {
        let mut sql = Sql::new("DELETE FROM partitions WHERE definition = ");
        sql.bind(definition).push(" AND key IN ").bind_list(some.iter().map(String::as_str)).push(" RETURNING key");
        collect(&mut gone, &sql.all(&mut *db).await?)?;
    }
    Ok(in_order(keys, gone))
}

fn collect(keys: &mut HashSet<String>, rows: &[AnyRow]) -> Result<()> {
    for row in rows {
        keys.insert(row.try_get(0)?);
    }
    Ok(())
}

/// Those of the keys that were touched, each once, in the order of the keys.
fn in_order(keys: &[String], mut touched: HashSet<String>) -> Vec<String> {
    keys.iter().filter(|key| touched.remove(*key)).cloned().collect()
}
