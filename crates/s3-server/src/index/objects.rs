//! Objects: what makes one visible, replaces it, copies it and removes it.

use catchment_settings::failpoint;
use s3s::S3ErrorCode;
use s3s::dto::{ETag, ETagCondition};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::{Freed, Index, Result, Segment, attach, detach, json, refused, require_bucket, signed, unsigned};
use crate::attributes::Attributes;
use crate::checksums::Checksums;

/// A part that an object was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectPart {
    pub(crate) number: i32,
    pub(crate) size: u64,
    pub(crate) checksums: Checksums,
}

/// Where an object's bytes are, in order, and the parts that it was uploaded in (none for a single put).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) segments: Vec<Segment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<ObjectPart>,
}

impl Layout {
    /// That of a body which came in one piece: one blob, or none where it is empty.
    pub(crate) fn single(blob: Option<&str>, size: u64) -> Self {
        let segment = blob.map(|blob| Segment { blob: blob.to_owned(), start: 0, length: size });
        Self { segments: segment.into_iter().collect(), parts: Vec::new() }
    }
}

/// An object as it is stored. `id` is new with every write of the key.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) id: i64,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    pub(crate) principal: String,
    pub(crate) attributes: Attributes,
    pub(crate) checksums: Checksums,
    pub(crate) layout: Layout,
}

/// What a write makes.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    pub(crate) principal: String,
    pub(crate) attributes: Attributes,
    pub(crate) checksums: Checksums,
    pub(crate) layout: Layout,
}

/// `If-Match` and `If-None-Match: *` of a write or a delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_absent: bool,
}

impl WriteCondition {
    /// Judges the condition against what is there now.
    pub(crate) fn check(&self, key: &str, current_etag: Option<&str>) -> Result<()> {
        match (&self.if_match, current_etag) {
            _ if self.if_absent && current_etag.is_some() => {
                return refused(S3ErrorCode::PreconditionFailed, format!("If-None-Match: {key} is there already"));
            }
            (Some(_), None) => return refused(S3ErrorCode::NoSuchKey, format!("If-Match: there is no {key}")),
            (Some(ETagCondition::ETag(wanted)), Some(found)) if !ETag::Strong(found.to_owned()).strong_cmp(wanted) => {
                return refused(S3ErrorCode::PreconditionFailed, format!("If-Match: the ETag of {key} is \"{found}\""));
            }
            _ => {}
        }
        Ok(())
    }
}

const COLUMNS: &str = "SELECT id, size, etag, modified_ms, principal, attributes, checksums, layout FROM objects \
                       WHERE bucket = ? AND key = ?";

fn object(row: &SqliteRow) -> Result<Object> {
    Ok(Object {
        id: row.try_get("id")?,
        size: unsigned(row, "size")?,
        etag: row.try_get("etag")?,
        modified_ms: row.try_get("modified_ms")?,
        principal: row.try_get("principal")?,
        attributes: json(row, "attributes")?,
        checksums: json(row, "checksums")?,
        layout: json(row, "layout")?,
    })
}

fn no_such_key<T>(key: &str) -> Result<T> {
    refused(S3ErrorCode::NoSuchKey, format!("there is no object {key}"))
}

impl Index {
    /// The object of that key; an error where it, or its bucket, does not exist.
    pub(crate) async fn object(&self, bucket: &str, key: &str) -> Result<Object> {
        let row = sqlx::query(COLUMNS).bind(bucket).bind(key.as_bytes()).fetch_optional(&self.readers).await?;
        match row {
            Some(row) => object(&row),
            None => {
                self.bucket(bucket).await?;
                no_such_key(key)
            }
        }
    }

    /// The id and ETag of the object that has the key now.
    pub(crate) async fn current(&self, bucket: &str, key: &str) -> Result<Option<(i64, String)>> {
        let row = sqlx::query("SELECT id, etag FROM objects WHERE bucket = ? AND key = ?")
            .bind(bucket)
            .bind(key.as_bytes())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// Makes an object visible in place of the one that had its key.
    pub(crate) async fn put(&self, new: &NewObject, condition: &WriteCondition) -> Result<Freed> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        attach(&mut transaction, &new.layout.segments).await?;
        let freed = replace(&mut transaction, new, condition).await?;
        failpoint::hit("s3.before_index_commit");
        transaction.commit().await?;
        failpoint::hit("s3.after_index_commit");
        Ok(freed)
    }

    /// Copies an object, which must still be the one with `source_id`, by sharing its bytes; `None` where it is
    /// another by now.
    pub(crate) async fn copy(
        &self,
        source_id: i64,
        new: &NewObject,
        condition: &WriteCondition,
    ) -> Result<Option<Freed>> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM objects WHERE id = ?")
            .bind(source_id)
            .fetch_optional(&mut *transaction)
            .await?;
        if there.is_none() {
            return Ok(None);
        }
        attach(&mut transaction, &new.layout.segments).await?;
        let freed = replace(&mut transaction, new, condition).await?;
        failpoint::hit("s3.before_index_commit");
        transaction.commit().await?;
        failpoint::hit("s3.after_index_commit");
        Ok(Some(freed))
    }

    /// Removes objects, each under its condition; the outcome of each in order. A key that is not there counts
    /// as removed, unless a condition asks for it.
    pub(crate) async fn delete(
        &self,
        bucket: &str,
        keys: &[(String, WriteCondition)],
    ) -> Result<(Vec<Result<()>>, Freed)> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_bucket(&mut transaction, bucket).await?;
        let mut outcomes = Vec::with_capacity(keys.len());
        let mut freed = Freed::new();
        for (key, condition) in keys {
            match remove(&mut transaction, bucket, key, condition).await {
                Ok(more) => {
                    freed.extend(more);
                    outcomes.push(Ok(()));
                }
                Err(error @ super::IndexError::Refused(..)) => outcomes.push(Err(error)),
                Err(error) => return Err(error),
            }
        }
        failpoint::hit("s3.before_index_commit");
        transaction.commit().await?;
        failpoint::hit("s3.after_index_commit");
        Ok((outcomes, freed))
    }
}

async fn remove(db: &mut SqliteConnection, bucket: &str, key: &str, condition: &WriteCondition) -> Result<Freed> {
    let found = sqlx::query("SELECT id, etag, layout FROM objects WHERE bucket = ? AND key = ?")
        .bind(bucket)
        .bind(key.as_bytes())
        .fetch_optional(&mut *db)
        .await?;
    let etag = found.as_ref().map(|row| row.try_get::<String, _>("etag")).transpose()?;
    condition.check(key, etag.as_deref())?;
    let Some(row) = found else { return Ok(Freed::new()) };
    let layout: Layout = json(&row, "layout")?;
    sqlx::query("DELETE FROM objects WHERE id = ?").bind(row.try_get::<i64, _>("id")?).execute(&mut *db).await?;
    detach(db, &layout.segments).await
}

/// Replaces what has the key by `new`, whose segments are attached already.
pub(super) async fn replace(db: &mut SqliteConnection, new: &NewObject, condition: &WriteCondition) -> Result<Freed> {
    require_bucket(db, &new.bucket).await?;
    let freed = remove(db, &new.bucket, &new.key, condition).await?;
    sqlx::query(
        "INSERT INTO objects (bucket, key, size, etag, modified_ms, principal, attributes, checksums, layout) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&new.bucket)
    .bind(new.key.as_bytes())
    .bind(signed(new.size))
    .bind(&new.etag)
    .bind(new.modified_ms)
    .bind(&new.principal)
    .bind(serde_json::to_string(&new.attributes)?)
    .bind(serde_json::to_string(&new.checksums)?)
    .bind(serde_json::to_string(&new.layout)?)
    .execute(db)
    .await?;
    Ok(freed)
}
