//! Which events: statements that read each page from an index, in the order of ids, whatever the filter.
//!
//! A planner that is left alone may read all events of a kind and sort them, or the whole log backwards until enough
//! match. So a filter with several values becomes one ordered, limited read for each, and the pages are merged.

use catchment_core::{EventKind, Level};

use super::Sql;
use super::events::COLUMNS;
use super::rows::corrupt;
use crate::{EventFilter, Result};

const LEVELS: [Level; 4] = [Level::Debug, Level::Info, Level::Warning, Level::Error];

/// Kinds of events that are about an asset: those that `events_of_asset` holds.
const OF_ASSETS: [EventKind; 8] = [
    EventKind::AssetMaterialization,
    EventKind::AssetMaterializationPlanned,
    EventKind::AssetFailedToMaterialize,
    EventKind::AssetObservation,
    EventKind::AssetCheckEvaluation,
    EventKind::AssetCheckEvaluationPlanned,
    EventKind::AssetWiped,
    EventKind::FreshnessStateChange,
];

/// The level of a text.
pub(super) fn level(text: &str) -> Result<Level> {
    LEVELS.into_iter().find(|l| l.as_str() == text).ok_or_else(|| corrupt("level", format!("`{text}` is no level")))
}

/// Events between two ids (the first excluded), oldest first.
pub(super) fn following(after: i64, horizon: i64, kinds: &[EventKind], limit: u32) -> Sql {
    let mut sql = Sql::default();
    let between = |sql: &mut Sql| {
        sql.push("id > ").bind(after).push(" AND id <= ").bind(horizon);
    };
    if kinds.is_empty() {
        sql.push(&format!("SELECT {COLUMNS} FROM events WHERE "));
        between(&mut sql);
    } else {
        merged(&mut sql, kinds, |sql, kind| {
            sql.push("kind = ").bind(kind.as_str());
            // Said in words, so that the planner sees that the index holds them all.
            sql.push(if *kind == EventKind::Log { " AND " } else { " AND kind <> 'LOG' AND " });
            between(sql);
            sql.push(" ORDER BY id LIMIT ").bind(i64::from(limit));
        });
    }
    sql.push(" ORDER BY id LIMIT ").bind(i64::from(limit));
    sql
}

/// A page of events, newest first.
pub(super) fn page(filter: &EventFilter, before: Option<i64>, limit: u32) -> Sql {
    let mut sql = Sql::default();
    let timed = filter.after.is_some() || filter.before.is_some();
    let rest = |sql: &mut Sql| {
        conditions(sql, filter);
        sql.push(" AND id < ").bind(before.unwrap_or(i64::MAX));
        sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    };
    if let (Some(asset), false) = (&filter.asset_key, filter.partitions.is_empty()) {
        merged(&mut sql, &filter.partitions, |sql, partition| {
            sql.push("asset_key = ").bind(asset.as_str()).push(" AND partition = ").bind(partition.as_str());
            rest(sql);
        });
    } else if let Some(asset) = &filter.asset_key {
        let kinds = if filter.kinds.is_empty() { &OF_ASSETS[..] } else { &filter.kinds };
        merged(&mut sql, kinds, |sql, kind| {
            sql.push("asset_key = ").bind(asset.as_str()).push(" AND kind = ").bind(kind.as_str());
            rest(sql);
        });
    } else if filter.run_id.is_none() && !filter.kinds.is_empty() {
        merged(&mut sql, &filter.kinds, |sql, kind| {
            sql.push("kind = ").bind(kind.as_str());
            sql.push(if *kind == EventKind::Log { "" } else { " AND kind <> 'LOG'" });
            rest(sql);
        });
    } else if filter.run_id.is_none() && filter.level < Some(Level::Warning) && timed {
        // The places of a span of time are sorted, then the page's rows are read; `+id` keeps planners from walking
        // through the whole log in its order instead.
        sql.push(&format!("SELECT {COLUMNS} FROM events WHERE id IN (SELECT id FROM events WHERE 1 = 1"));
        conditions(&mut sql, filter);
        sql.push(" AND +id < ").bind(before.unwrap_or(i64::MAX));
        sql.push(" ORDER BY +id DESC LIMIT ").bind(i64::from(limit)).push(")");
    } else {
        sql.push(&format!("SELECT {COLUMNS} FROM events WHERE 1 = 1"));
        rest(&mut sql);
        return sql;
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(i64::from(limit));
    sql
}

/// One read for each value, all of them together.
fn merged<T>(sql: &mut Sql, values: &[T], mut read: impl FnMut(&mut Sql, &T)) {
    sql.push(&format!("SELECT {COLUMNS} FROM ("));
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            sql.push(" UNION ALL ");
        }
        sql.push(&format!("SELECT * FROM (SELECT {COLUMNS} FROM events WHERE "));
        read(sql, value);
        sql.push(&format!(") AS read{n}"));
    }
    sql.push(") AS found");
}

fn conditions(sql: &mut Sql, filter: &EventFilter) {
    if let Some(run_id) = filter.run_id {
        sql.push(" AND run_id = ").bind(run_id.to_string());
    }
    if let Some(step) = &filter.step_key {
        sql.push(" AND step_key = ").bind(step.as_str());
    }
    if filter.run_id.is_some() && !filter.kinds.is_empty() {
        sql.push(" AND kind IN ").bind_list(filter.kinds.iter().map(|k| k.as_str()));
    }
    match filter.level {
        None | Some(Level::Debug) => {}
        Some(Level::Info) => {
            sql.push(" AND level <> 'DEBUG'");
        }
        Some(Level::Warning) => {
            sql.push(" AND level IN ('WARNING', 'ERROR')");
        }
        Some(Level::Error) => {
            sql.push(" AND level IN ('WARNING', 'ERROR') AND level = 'ERROR'");
        }
    }
    if filter.asset_key.is_none() && !filter.partitions.is_empty() {
        sql.push(" AND partition IN ").bind_list(filter.partitions.iter().map(String::as_str));
    }
    if filter.asset_key.is_some() && !filter.partitions.is_empty() && !filter.kinds.is_empty() {
        sql.push(" AND kind IN ").bind_list(filter.kinds.iter().map(|k| k.as_str()));
    }
    if let Some(after) = filter.after {
        sql.push(" AND timestamp >= ").bind(after.as_microsecond());
    }
    if let Some(before) = filter.before {
        sql.push(" AND timestamp < ").bind(before.as_microsecond());
    }
}
