//! How many steps may work at once, in all and by tag. Pure.

use std::collections::BTreeMap;

use catchment_core::queue::{TagLimit, TagValue};
use serde_json::Value;

/// What bounds the steps of a run that work at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// All of them; at least one.
    pub(crate) max_concurrent: usize,
    /// Those with a tag.
    pub(crate) tags: Vec<TagLimit>,
}

impl Limits {
    /// The limits of a run: what its config says (`execution.config`, or as Dagster's `multiprocess` executor has it),
    /// else `job`, else as many steps as there are cores.
    pub(crate) fn of(run_config: &Value, job: Option<usize>) -> Self {
        let config = run_config.get("execution").and_then(|execution| execution.get("config"));
        let config = config.map(|config| config.get("multiprocess").unwrap_or(config));
        let number = |field: &Value| field.as_u64().and_then(|number| usize::try_from(number).ok());
        let named = config.and_then(|config| number(config.get("max_concurrent")?)).filter(|named| *named > 0);
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        let tags = config.and_then(|config| config.get("tag_concurrency_limits")?.as_array());
        let tag = |limit: &Value| {
            let value = match limit.get("value") {
                None | Some(Value::Null) => TagValue::Any,
                Some(Value::String(value)) => TagValue::Is(value.clone()),
                Some(_) => TagValue::PerUniqueValue,
            };
            // A limit of nothing would let the run wait for ever.
            let number = number(limit.get("limit")?)?.max(1);
            Some(TagLimit { key: limit.get("key")?.as_str()?.to_owned(), value, limit: number })
        };
        let tags = tags.into_iter().flatten().filter_map(tag).collect();
        Self { max_concurrent: named.or(job).unwrap_or_else(cores).max(1), tags }
    }
}

/// How much of the limits is in use.
#[derive(Debug)]
pub(crate) struct Used {
    limits: Limits,
    steps: usize,
    /// For each limit by tag: the steps under the name that they count by.
    tagged: Vec<BTreeMap<String, usize>>,
}

impl Used {
    /// Nothing is in use.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { steps: 0, tagged: vec![BTreeMap::new(); limits.tags.len()], limits }
    }

    /// Whether no step works.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Whether no further step may start, whatever its tags.
    pub(crate) fn is_full(&self) -> bool {
        self.steps >= self.limits.max_concurrent.max(1)
    }

    /// Whether the limits by tag allow a step with these tags.
    pub(crate) fn allows(&self, tags: &BTreeMap<String, String>) -> bool {
        self.limits.tags.iter().zip(&self.tagged).all(|(limit, used)| {
            counts(limit, tags).is_none_or(|name| used.get(name).copied().unwrap_or(0) < limit.limit)
        })
    }

    /// A step with these tags starts.
    pub(crate) fn take(&mut self, tags: &BTreeMap<String, String>) {
        self.steps += 1;
        for (limit, used) in self.limits.tags.iter().zip(&mut self.tagged) {
            if let Some(name) = counts(limit, tags) {
                *used.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// A step with these tags has ended.
    pub(crate) fn give_back(&mut self, tags: &BTreeMap<String, String>) {
        self.steps = self.steps.saturating_sub(1);
        for (limit, used) in self.limits.tags.iter().zip(&mut self.tagged) {
            if let Some(count) = counts(limit, tags).and_then(|name| used.get_mut(name)) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// Under which name a step counts against a limit, if it does.
fn counts<'a>(limit: &TagLimit, tags: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let value = tags.get(&limit.key)?;
    match &limit.value {
        TagValue::Any => Some(""),
        TagValue::PerUniqueValue => Some(value),
        TagValue::Is(only) => (only == value).then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use catchment_core::queue::{TagLimit, TagValue};
    use serde_json::json;

    use super::Limits;

    #[test]
    fn a_run_says_how_many_steps_work_at_once_else_its_job_does() {
        assert_eq!(Limits::of(&json!({"execution": {"config": {"max_concurrent": 3}}}), Some(7)).max_concurrent, 3);
        let dagster = json!({"execution": {"config": {"multiprocess": {"max_concurrent": 3}}}});
        assert_eq!(Limits::of(&dagster, Some(7)).max_concurrent, 3);
        assert_eq!(Limits::of(&json!({}), Some(7)).max_concurrent, 7);
        assert!(Limits::of(&json!({}), None).max_concurrent > 0);
    }

    #[test]
    fn limits_by_tag_are_written_as_in_dagster() {
        let limits = json!([
            {"key": "db", "limit": 2},
            {"key": "db", "value": "x", "limit": 1},
            {"key": "host", "value": {"applyLimitPerUniqueValue": true}, "limit": 4},
        ]);
        let limits = Limits::of(&json!({"execution": {"config": {"tag_concurrency_limits": limits}}}), None).tags;
        let limit = |key: &str, value, limit| TagLimit { key: key.into(), value, limit };
        let expected = [
            limit("db", TagValue::Any, 2),
            limit("db", TagValue::Is("x".into()), 1),
            limit("host", TagValue::PerUniqueValue, 4),
        ];
        assert_eq!(limits, expected);
    }
}
