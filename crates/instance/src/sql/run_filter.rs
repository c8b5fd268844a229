//! Which runs: statements for pages, counts and the completion of tags.

use catchment_core::RunStatus;

use super::Sql;
use super::run_rows::RUN_COLUMNS;
use crate::RunFilter;

/// A page of runs, newest first, before the place `before`.
///
/// Where a planner may read and sort all that a filter finds, the page is cut out of one index first, and only its rows
/// are read: of one tag, in the order of the index; of a span of time, by sorting places (`+seq` keeps planners from
/// walking through all runs in their order instead).
pub(super) fn page(filter: &RunFilter, before: Option<i64>, limit: u32) -> Sql {
    let before = before.unwrap_or(i64::MAX);
    let mut sql = Sql::new(format!("SELECT {RUN_COLUMNS} FROM runs WHERE "));
    let rest = RunFilter { tags: Vec::new(), created_after: None, created_before: None, ..filter.clone() };
    let alone = rest == RunFilter::default();
    let timed = filter.created_after.is_some() || filter.created_before.is_some();
    match filter.tags.as_slice() {
        [(key, value)] if alone && !timed => {
            sql.push("seq IN (SELECT seq FROM run_tags WHERE key = ").bind(key.as_str());
            sql.push(" AND value = ").bind(value.as_str()).push(" AND seq < ").bind(before);
            sql.push(" ORDER BY seq DESC LIMIT ").bind(i64::from(limit)).push(")");
        }
        [] if alone && timed => {
            sql.push("seq IN (SELECT seq FROM runs WHERE 1 = 1");
            conditions(&mut sql, filter);
            sql.push(" AND +seq < ").bind(before);
            sql.push(" ORDER BY +seq DESC LIMIT ").bind(i64::from(limit)).push(")");
        }
        _ => {
            sql.push("seq < ").bind(before);
            conditions(&mut sql, filter);
        }
    }
    sql.push(" ORDER BY seq DESC LIMIT ").bind(i64::from(limit));
    sql
}

/// How many runs there are. Those of one tag are counted in its index.
pub(super) fn count(filter: &RunFilter) -> Sql {
    let rest = RunFilter { tags: Vec::new(), ..filter.clone() };
    if let [(key, value)] = filter.tags.as_slice()
        && rest == RunFilter::default()
    {
        let mut sql = Sql::new("SELECT count(*) FROM run_tags WHERE key = ");
        sql.bind(key.as_str()).push(" AND value = ").bind(value.as_str());
        return sql;
    }
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
    // Nearly all runs end well. The others are few: each is asked for its tags, of which nearly all runs may have some.
    let few = !filter.statuses.is_empty() && !filter.statuses.contains(&RunStatus::Success);
    for (key, value) in &filter.tags {
        sql.push(if few {
            " AND EXISTS (SELECT 1 FROM run_tags AS t WHERE t.seq = runs.seq"
        } else {
            " AND seq IN (SELECT t.seq FROM run_tags AS t WHERE 1 = 1"
        });
        sql.push(" AND t.key = ").bind(key.as_str()).push(" AND t.value = ").bind(value.as_str()).push(")");
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
pub(super) fn tags(key: Option<&str>, prefix: &str, limit: u32) -> Sql {
    let column = if key.is_some() { "value" } else { "key" };
    let mut sql = Sql::new("WITH RECURSIVE found (tag) AS (");
    for (from, than) in [("", ">= "), (" FROM found WHERE tag IS NOT NULL", "> tag")] {
        sql.push(&format!("SELECT (SELECT min({column}) FROM run_tags WHERE "));
        if let Some(key) = key {
            sql.push("key = ").bind(key).push(" AND ");
        }
        sql.push(column).push(" ").push(than);
        if from.is_empty() {
            sql.bind(prefix).push(") UNION ALL ");
        } else {
            sql.push(")").push(from);
        }
    }
    sql.push(") SELECT tag FROM found WHERE tag IS NOT NULL LIMIT ").bind(i64::from(limit));
    sql
}
