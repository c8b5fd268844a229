//! Buckets.

use s3s::S3ErrorCode;
use sqlx::{Connection as _, Row as _};

use super::{Index, Result, no_such_bucket, refused, require_bucket};

impl Index {
    /// Makes a bucket; `false` where it was there.
    pub(crate) async fn create_bucket(&self, name: &str, now_ms: i64) -> Result<bool> {
        let mut db = self.writer.lock().await;
        let done = sqlx::query("INSERT INTO buckets (name, created_ms) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(now_ms)
            .execute(&mut *db)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes an empty bucket.
    pub(crate) async fn delete_bucket(&self, name: &str) -> Result<()> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_bucket(&mut transaction, name).await?;
        let used: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1) OR EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1)",
        )
        .bind(name)
        .fetch_one(&mut *transaction)
        .await?;
        if used {
            return refused(
                S3ErrorCode::BucketNotEmpty,
                format!("the bucket {name} holds objects or unfinished uploads"),
            );
        }
        sqlx::query("DELETE FROM buckets WHERE name = ?").bind(name).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// When a bucket was made, in milliseconds since 1970; an error where it does not exist.
    pub(crate) async fn bucket(&self, name: &str) -> Result<i64> {
        let created: Option<i64> = sqlx::query_scalar("SELECT created_ms FROM buckets WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        created.map_or_else(|| no_such_bucket(name), Ok)
    }

    /// All buckets by name, with the time each was made.
    pub(crate) async fn buckets(&self) -> Result<Vec<(String, i64)>> {
        let rows = sqlx::query("SELECT name, created_ms FROM buckets ORDER BY name").fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
