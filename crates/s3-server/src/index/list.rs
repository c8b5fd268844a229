//! Listing: ordered range scans that jump over what a common prefix stands for.

use sqlx::Row as _;

use super::{Index, Result, text, unsigned};

/// What to list. Keys compare bytewise.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListRequest<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    /// Only what comes after this key.
    pub(crate) after: Option<&'a str>,
    /// Only what comes after every key with this prefix.
    pub(crate) after_prefix: Option<&'a str>,
    pub(crate) limit: usize,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Object { key: String, size: u64, etag: String, modified_ms: i64, algorithms: Vec<&'static str> },
    Prefix(String),
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) truncated: bool,
}

/// Where a scan stands: the next key must be at least (or more than) these bytes.
#[derive(Debug, Clone)]
struct Position {
    bytes: Vec<u8>,
    inclusive: bool,
}

impl Position {
    /// After every key that begins with `prefix`; `None` where there can be none.
    fn past(prefix: &[u8]) -> Option<Self> {
        let mut bytes = prefix.to_vec();
        while let Some(last) = bytes.pop() {
            if last < 0xff {
                bytes.push(last + 1);
                return Some(Self { bytes, inclusive: true });
            }
        }
        None
    }
}

impl Index {
    /// One page of objects and common prefixes, in bytewise order.
    pub(crate) async fn list(&self, request: &ListRequest<'_>) -> Result<Listing> {
        self.bucket(request.bucket).await?;
        let mut listing = Listing::default();
        if request.limit == 0 {
            return Ok(listing);
        }
        let prefix = request.prefix.as_bytes();
        let end = Position::past(prefix).map(|p| p.bytes);
        let Some(mut position) = start(request) else { return Ok(listing) };
        let mut batch = if request.delimiter.is_some() { 64 } else { request.limit + 1 };
        loop {
            let rows = self.page(request.bucket, &position, end.as_deref(), batch).await?;
            let more = rows.len() == batch;
            let mut skipping: Option<String> = None;
            for row in &rows {
                let key = text(row, "key")?;
                if skipping.as_ref().is_some_and(|p| key.starts_with(p.as_str())) {
                    continue;
                }
                if listing.entries.len() == request.limit {
                    listing.truncated = true;
                    return Ok(listing);
                }
                skipping = common_prefix(&key, request);
                listing.entries.push(match &skipping {
                    Some(prefix) => Entry::Prefix(prefix.clone()),
                    None => Entry::Object {
                        size: unsigned(row, "size")?,
                        etag: row.try_get("etag")?,
                        modified_ms: row.try_get("modified_ms")?,
                        algorithms: algorithms(row.try_get("checksums")?),
                        key: key.clone(),
                    },
                });
                position = Position { bytes: key.into_bytes(), inclusive: false };
            }
            if !more {
                return Ok(listing);
            }
            if let Some(prefix) = skipping {
                match Position::past(prefix.as_bytes()) {
                    Some(next) => position = next,
                    None => return Ok(listing),
                }
            }
            batch = (batch * 2).min(1001);
        }
    }

    async fn page(
        &self,
        bucket: &str,
        from: &Position,
        end: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>> {
        let sql = match (from.inclusive, end.is_some()) {
            (true, true) => SQL[0],
            (true, false) => SQL[1],
            (false, true) => SQL[2],
            (false, false) => SQL[3],
        };
        let mut query = sqlx::query(sql).bind(bucket).bind(from.bytes.as_slice());
        if let Some(end) = end {
            query = query.bind(end);
        }
        Ok(query.bind(i64::try_from(count).unwrap_or(i64::MAX)).fetch_all(&self.readers).await?)
    }
}

const SQL: [&str; 4] = [
    "SELECT key, size, etag, modified_ms, checksums FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
    "SELECT key, size, etag, modified_ms, checksums FROM objects WHERE bucket = ? AND key >= ? ORDER BY key LIMIT ?",
    "SELECT key, size, etag, modified_ms, checksums FROM objects WHERE bucket = ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
    "SELECT key, size, etag, modified_ms, checksums FROM objects WHERE bucket = ? AND key > ? ORDER BY key LIMIT ?",
];

/// The furthest of: the prefix itself, after the marker, past the prefix that was listed last.
fn start(request: &ListRequest<'_>) -> Option<Position> {
    let mut position = Position { bytes: request.prefix.as_bytes().to_vec(), inclusive: true };
    if let Some(after) = request.after.map(str::as_bytes).filter(|a| *a >= position.bytes.as_slice()) {
        position = Position { bytes: after.to_vec(), inclusive: false };
    }
    if let Some(prefix) = request.after_prefix {
        let past = Position::past(prefix.as_bytes())?;
        if past.bytes > position.bytes {
            position = past;
        }
    }
    Some(position)
}

/// What stands for `key` where it has the delimiter after the prefix.
pub(crate) fn common_prefix(key: &str, request: &ListRequest<'_>) -> Option<String> {
    let delimiter = request.delimiter.filter(|d| !d.is_empty())?;
    let rest = key.strip_prefix(request.prefix)?;
    let at = rest.find(delimiter)?;
    Some(key[..request.prefix.len() + at + delimiter.len()].to_owned())
}

/// The names of the algorithms in the JSON of an object's checksums.
fn algorithms(json: &str) -> Vec<&'static str> {
    serde_json::from_str::<crate::checksums::Checksums>(json)
        .map(|sums| sums.algorithms().map(crate::checksums::Algorithm::name).collect())
        .unwrap_or_default()
}
