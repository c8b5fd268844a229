//! Documents in tables: find, insert, replace, list.

use catchment_model::ObjectId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteExecutor};
use sqlx::{Arguments as _, AssertSqlSafe};

use crate::{LedgerError, Page, PageRequest, Result, schema};

/// A value that a statement is given.
pub(super) enum Bind<'a> {
    Text(&'a str),
    Int(i64),
}

impl<'a> From<&'a str> for Bind<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

fn arguments(binds: &[Bind<'_>]) -> Result<SqliteArguments> {
    let mut all = SqliteArguments::default();
    for bind in binds {
        match bind {
            Bind::Text(text) => all.add((*text).to_owned()),
            Bind::Int(number) => all.add(*number),
        }
        .map_err(|e| LedgerError::Database(e.to_string()))?;
    }
    Ok(all)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| LedgerError::Corrupt(e.to_string()))
}

/// The one document of `collection` for which `condition` holds. Both are the program's own text.
pub(super) async fn find<T: DeserializeOwned>(
    db: impl SqliteExecutor<'_>,
    collection: &'static str,
    condition: &'static str,
    binds: &[Bind<'_>],
) -> Result<Option<T>> {
    let sql = AssertSqlSafe(format!("SELECT doc FROM {collection} WHERE {condition} LIMIT 1"));
    let found: Option<String> =
        sqlx::query_scalar_with::<Sqlite, String, _>(sql, arguments(binds)?).fetch_optional(db).await?;
    found.as_deref().map(read).transpose()
}

/// All documents of `collection` for which `condition` (with its `ORDER BY`) holds.
pub(super) async fn all<T: DeserializeOwned>(
    db: impl SqliteExecutor<'_>,
    collection: &'static str,
    condition: &'static str,
    binds: &[Bind<'_>],
) -> Result<Vec<T>> {
    let sql = AssertSqlSafe(format!("SELECT doc FROM {collection} WHERE {condition}"));
    let found = sqlx::query_scalar_with::<Sqlite, String, _>(sql, arguments(binds)?).fetch_all(db).await?;
    found.iter().map(|text| read(text)).collect()
}

/// Inserts a document that was checked against its schema.
pub(super) async fn insert(
    db: impl SqliteExecutor<'_>,
    collection: &'static str,
    id: ObjectId,
    doc: &impl Serialize,
) -> Result<()> {
    let text = schema::checked(collection, doc)?;
    let sql = AssertSqlSafe(format!("INSERT INTO {collection} (id, doc) VALUES (?, ?)"));
    let done = sqlx::query(sql).bind(id.to_string()).bind(text).execute(db).await;
    match done {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
            Err(LedgerError::Conflict(format!("a document of `{collection}` with the same key ({})", e.message())))
        }
        Err(e) => Err(e.into()),
    }
}

/// Replaces a document by one that was checked against its schema.
pub(super) async fn replace(
    db: impl SqliteExecutor<'_>,
    collection: &'static str,
    id: ObjectId,
    doc: &impl Serialize,
) -> Result<()> {
    let text = schema::checked(collection, doc)?;
    let sql = AssertSqlSafe(format!("UPDATE {collection} SET doc = ? WHERE id = ?"));
    let done = sqlx::query(sql).bind(text).bind(id.to_string()).execute(db).await?;
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(LedgerError::NotFound(format!("document {id} in `{collection}`"))),
    }
}

/// A page of the documents for which `condition` holds.
pub(super) async fn page<T: DeserializeOwned>(
    db: impl SqliteExecutor<'_>,
    collection: &'static str,
    condition: &'static str,
    binds: Vec<Bind<'_>>,
    request: PageRequest,
) -> Result<Page<T>> {
    let (edge, order) = if request.newest_first { ("<", "DESC") } else { (">", "ASC") };
    let after = request.after.map(|id| id.to_string());
    let mut binds = binds;
    let mut sql = format!("SELECT id, doc FROM {collection} WHERE {condition}");
    if let Some(after) = &after {
        sql.push_str(&format!(" AND id {edge} ?"));
        binds.push(Bind::Text(after));
    }
    sql.push_str(&format!(" ORDER BY id {order} LIMIT ?"));
    binds.push(Bind::Int(i64::from(request.limit) + 1));
    let mut rows: Vec<(String, String)> =
        sqlx::query_as_with::<Sqlite, (String, String), _>(AssertSqlSafe(sql), arguments(&binds)?)
            .fetch_all(db)
            .await?;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = match rows.last() {
        Some((id, _)) if more => Some(id.parse().map_err(|_| LedgerError::Corrupt(format!("the id `{id}`")))?),
        _ => None,
    };
    let items = rows.iter().map(|(_, text)| read(text)).collect::<Result<_>>()?;
    Ok(Page { items, next })
}
