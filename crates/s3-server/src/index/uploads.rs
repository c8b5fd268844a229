//! Multipart uploads: parts are blobs of their own until completion makes an object of them without copying.

use catchment_settings::failpoint;
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};

use super::objects::{NewObject, WriteCondition, replace};
use super::{Freed, Index, Result, Segment, attach, detach, json, refused, require_bucket, signed, text, unsigned};
use crate::attributes::Attributes;
use crate::checksums::{Algorithm, Checksums};

/// Which checksum the parts and the object have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ChecksumPlan {
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) composite: bool,
}

/// An upload that has not been completed.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated_ms: i64,
    pub(crate) principal: String,
    pub(crate) attributes: Attributes,
    pub(crate) checksum: ChecksumPlan,
}

/// A part that is on disk.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) modified_ms: i64,
    pub(crate) checksums: Checksums,
    pub(crate) segments: Vec<Segment>,
}

/// A part to store.
#[derive(Debug)]
pub(crate) struct NewPart<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) upload: &'a str,
    pub(crate) part: &'a Part,
    /// Where the bytes are those of another object: it must still have this id.
    pub(crate) source_id: Option<i64>,
}

/// The end of an upload.
#[derive(Debug)]
pub(crate) struct Completion<'a> {
    pub(crate) upload: &'a str,
    pub(crate) object: &'a NewObject,
    /// ETags of the parts that the object is made of, as they were when it was put together.
    pub(crate) parts: &'a [(i32, String)],
    pub(crate) condition: &'a WriteCondition,
}

/// Which uploads to list: those after (key, id) whose keys begin with the prefix.
#[derive(Debug)]
pub(crate) struct UploadListing<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) key_marker: &'a str,
    pub(crate) id_marker: Option<&'a str>,
    pub(crate) limit: usize,
}

fn upload(row: &SqliteRow) -> Result<Upload> {
    Ok(Upload {
        id: row.try_get("id")?,
        bucket: row.try_get("bucket")?,
        key: text(row, "key")?,
        initiated_ms: row.try_get("initiated_ms")?,
        principal: row.try_get("principal")?,
        attributes: json(row, "attributes")?,
        checksum: json(row, "checksum")?,
    })
}

fn part(row: &SqliteRow) -> Result<Part> {
    Ok(Part {
        number: row.try_get("number")?,
        size: unsigned(row, "size")?,
        etag: row.try_get("etag")?,
        modified_ms: row.try_get("modified_ms")?,
        checksums: json(row, "checksums")?,
        segments: json(row, "segments")?,
    })
}

fn no_such_upload<T>(id: &str) -> Result<T> {
    refused(
        S3ErrorCode::NoSuchUpload,
        format!("there is no upload {id} of this key: it was completed or aborted, or never begun"),
    )
}

async fn require_upload(db: &mut SqliteConnection, bucket: &str, key: &str, id: &str) -> Result<()> {
    let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM uploads WHERE id = ? AND bucket = ? AND key = ?")
        .bind(id)
        .bind(bucket)
        .bind(key.as_bytes())
        .fetch_optional(db)
        .await?;
    if found.is_some() { Ok(()) } else { no_such_upload(id) }
}

/// Removes an upload with all its parts; the blobs that nothing names any more.
async fn drop_upload(db: &mut SqliteConnection, id: &str) -> Result<Freed> {
    let rows = sqlx::query("SELECT segments FROM parts WHERE upload = ?").bind(id).fetch_all(&mut *db).await?;
    let mut segments = Vec::new();
    for row in &rows {
        segments.extend(json::<Vec<Segment>>(row, "segments")?);
    }
    sqlx::query("DELETE FROM parts WHERE upload = ?").bind(id).execute(&mut *db).await?;
    sqlx::query("DELETE FROM uploads WHERE id = ?").bind(id).execute(&mut *db).await?;
    detach(db, &segments).await
}

impl Index {
    pub(crate) async fn create_upload(&self, new: &Upload) -> Result<()> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_bucket(&mut transaction, &new.bucket).await?;
        sqlx::query(
            "INSERT INTO uploads (id, bucket, key, initiated_ms, principal, attributes, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&new.id)
        .bind(&new.bucket)
        .bind(new.key.as_bytes())
        .bind(new.initiated_ms)
        .bind(&new.principal)
        .bind(serde_json::to_string(&new.attributes)?)
        .bind(serde_json::to_string(&new.checksum)?)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    pub(crate) async fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<Upload> {
        let row = sqlx::query("SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?")
            .bind(id)
            .bind(bucket)
            .bind(key.as_bytes())
            .fetch_optional(&self.readers)
            .await?;
        match row {
            Some(row) => upload(&row),
            None => {
                self.bucket(bucket).await?;
                no_such_upload(id)
            }
        }
    }

    /// Stores a part in place of one with its number; `None` where the source object is another by now.
    pub(crate) async fn put_part(&self, new: &NewPart<'_>) -> Result<Option<Freed>> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_upload(&mut transaction, new.bucket, new.key, new.upload).await?;
        if let Some(id) = new.source_id {
            let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM objects WHERE id = ?")
                .bind(id)
                .fetch_optional(&mut *transaction)
                .await?;
            if there.is_none() {
                return Ok(None);
            }
        }
        attach(&mut transaction, &new.part.segments).await?;
        let old = sqlx::query("SELECT segments FROM parts WHERE upload = ? AND number = ?")
            .bind(new.upload)
            .bind(new.part.number)
            .fetch_optional(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT OR REPLACE INTO parts (upload, number, size, etag, modified_ms, checksums, segments) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.upload)
        .bind(new.part.number)
        .bind(signed(new.part.size))
        .bind(&new.part.etag)
        .bind(new.part.modified_ms)
        .bind(serde_json::to_string(&new.part.checksums)?)
        .bind(serde_json::to_string(&new.part.segments)?)
        .execute(&mut *transaction)
        .await?;
        let freed = match old {
            Some(row) => detach(&mut transaction, &json::<Vec<Segment>>(&row, "segments")?).await?,
            None => Freed::new(),
        };
        failpoint::hit("s3.before_index_commit");
        transaction.commit().await?;
        failpoint::hit("s3.after_index_commit");
        Ok(Some(freed))
    }

    /// The parts of an upload by number, after `marker`, at most `limit`.
    pub(crate) async fn parts(&self, upload: &str, marker: i32, limit: usize) -> Result<Vec<Part>> {
        let rows = sqlx::query("SELECT * FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?")
            .bind(upload)
            .bind(marker)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(part).collect()
    }

    /// Makes the object visible and ends the upload, in one step.
    pub(crate) async fn complete(&self, completion: &Completion<'_>) -> Result<Freed> {
        let object = completion.object;
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_upload(&mut transaction, &object.bucket, &object.key, completion.upload).await?;
        for (number, etag) in completion.parts {
            let now: Option<String> = sqlx::query_scalar("SELECT etag FROM parts WHERE upload = ? AND number = ?")
                .bind(completion.upload)
                .bind(number)
                .fetch_optional(&mut *transaction)
                .await?;
            if now.as_ref() != Some(etag) {
                return refused(S3ErrorCode::InvalidPart, format!("part {number} was replaced meanwhile"));
            }
        }
        attach(&mut transaction, &object.layout.segments).await?;
        let mut freed = replace(&mut transaction, object, completion.condition).await?;
        freed.extend(drop_upload(&mut transaction, completion.upload).await?);
        failpoint::hit("s3.before_index_commit");
        transaction.commit().await?;
        failpoint::hit("s3.multipart_completed");
        Ok(freed)
    }

    pub(crate) async fn abort(&self, bucket: &str, key: &str, id: &str) -> Result<Freed> {
        let mut db = self.writer.lock().await;
        let mut transaction = db.begin_with("BEGIN IMMEDIATE").await?;
        require_bucket(&mut transaction, bucket).await?;
        require_upload(&mut transaction, bucket, key, id).await?;
        let freed = drop_upload(&mut transaction, id).await?;
        transaction.commit().await?;
        Ok(freed)
    }

    /// Unfinished uploads by key and id.
    pub(crate) async fn uploads(&self, request: &UploadListing<'_>) -> Result<Vec<Upload>> {
        self.bucket(request.bucket).await?;
        let rows = sqlx::query(
            "SELECT * FROM uploads WHERE bucket = ?1 AND substr(key, 1, length(?2)) = ?2 \
             AND (key > ?3 OR (key = ?3 AND ?4 IS NOT NULL AND id > ?4)) ORDER BY key, id LIMIT ?5",
        )
        .bind(request.bucket)
        .bind(request.prefix.as_bytes())
        .bind(request.key_marker.as_bytes())
        .bind(request.id_marker)
        .bind(i64::try_from(request.limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(upload).collect()
    }
}
