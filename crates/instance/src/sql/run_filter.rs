//! Which runs: statements for pages, counts and the completion of tags.

use sqlx::AnyPool;
use sqlx::Row as _;

use super::run_rows::RUN_COLUMNS;
use super::{Dialect, Sql};
use crate::{Result, RunFilter};

/// A page of runs, newest first, before the place `before`.
pub(super) fn page(_dialect: Dialect, filter: &RunFilter, before: Option<i64>, limit: u32) -> Sql {
    let mut sql = Sql::new(format!("SELECT {RUN_COLUMNS} FROM runs WHERE 1 = 1"));
    conditions(&mut sql, filter);
    if let Some(before) = before {
        sql.push(" AND seq < ").bind(before);
    }
    sql.push(" ORDER BY seq DESC LIMIT ").bind(i64::from(limit));
    sql
}

/// How many runs there are.
pub(super) fn count(filter: &RunFilter) -> Sql {
    let mut sql = Sql::new("SELECT count(*) FROM runs WHERE 1 = 1");
    conditions(&mut sql, filter);
    sql
}

fn conditions(sql: &mut Sql, filter: &RunFilter) {
    if !filter.run_ids.is_empty() {
        sql.push(" AND run_id IN ").bind_list(filter.run_ids.iter().map(ToString::to_string));
    }
    if !filter.statuses.is_empty() {
        sql.push(" AND status IN ").bind_list(filter.statuses.iter().map(|s| s.as_str()));
    }
    for (column, value) in
        [("job_name", &filter.job_name), ("location", &filter.location), ("partition_key", &filter.partition_key)]
    {
        if let Some(value) = value {
            sql.push(" AND ").push(column).push(" = ").bind(value.as_str());
        }
    }
    for (key, value) in &filter.tags {
        sql.push(" AND seq IN (SELECT seq FROM run_tags WHERE key = ").bind(key.as_str());
        sql.push(" AND value = ").bind(value.as_str()).push(")");
    }
    if let Some(after) = filter.created_after {
        sql.push(" AND created_at >= ").bind(after.as_microsecond());
    }
    if let Some(before) = filter.created_before {
        sql.push(" AND created_at < ").bind(before.as_microsecond());
    }
}

/// Keys of tags, or values of one, that begin with `prefix`. Each answer is one step through the index, however many
/// runs share it.
pub(super) async fn tags(db: &AnyPool, key: Option<&str>, prefix: &str, limit: u32) -> Result<Vec<String>> {
    let column = if key.is_some() { "value" } else { "key" };
    let mut found: Vec<String> = Vec::new();
    while found.len() < limit as usize {
        let mut sql = Sql::new(format!("SELECT {column} FROM run_tags WHERE "));
        if let Some(key) = key {
            sql.push("key = ").bind(key).push(" AND ");
        }
        match found.last() {
            Some(last) => sql.push(column).push(" > ").bind(last.as_str()),
            None => sql.push(column).push(" >= ").bind(prefix),
        };
        sql.push(&format!(" ORDER BY {column} LIMIT 1"));
        let next: Option<String> = sql.optional(db).await?.map(|row| row.try_get(0)).transpose()?;
        match next {
            Some(next) if next.starts_with(prefix) => found.push(next),
            _ => break,
        }
    }
    Ok(found)
}
