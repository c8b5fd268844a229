//! Partition keys as text: what they may hold, and how those of two dimensions are joined.

use std::collections::{BTreeMap, BTreeSet};

use catchment_model::{Code, Problem};

use super::PartitionsDefinition;

/// Between the keys of two dimensions.
pub(super) const SEPARATOR: char = '|';

/// Between the two ends of a range, so no key may hold it.
pub(super) const RANGE: &str = "...";

/// What a key of a dimension may not hold.
const RESERVED: [char; 4] = [SEPARATOR, ',', '[', ']'];

/// A key of several dimensions, by dimension.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MultiKey(pub BTreeMap<String, String>);

impl MultiKey {
    /// Takes `a|b` apart. None where the number of parts is not that of the dimensions.
    pub fn parse(key: &str, dimensions: &BTreeMap<String, PartitionsDefinition>) -> Option<Self> {
        let parts: Vec<_> = key.split(SEPARATOR).collect();
        (parts.len() == dimensions.len())
            .then(|| Self(dimensions.keys().cloned().zip(parts.into_iter().map(str::to_owned)).collect()))
    }
}

impl std::fmt::Display for MultiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&join(&self.0.values().cloned().collect::<Vec<_>>()))
    }
}

/// Checks a key: not empty, no control characters, no `...`.
///
/// # Errors
/// `invalid_config` that says what is wrong with it.
pub fn check_key(key: &str) -> Result<(), Problem> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.chars().any(char::is_control) {
        "it holds a control character"
    } else if key.contains(RANGE) {
        "it holds `...`, which stands between the ends of a range"
    } else {
        return Ok(());
    };
    Err(not_allowed(key, why))
}

fn not_allowed(key: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidConfig, format!("`{}` cannot be a partition key", key.escape_debug())).cause(why)
}

pub(super) fn check_keys(keys: &[String]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for key in keys {
        check_key(key)?;
        if !seen.insert(key) {
            return Err(not_allowed(key, "it is there twice"));
        }
    }
    Ok(())
}

pub(super) fn check_dimensions(dimensions: &BTreeMap<String, PartitionsDefinition>) -> Result<(), Problem> {
    let wrong = |what: String| {
        Problem::new(Code::InvalidConfig, what).remedy("use two dimensions, each static, dynamic or of time windows")
    };
    if dimensions.len() != 2 {
        return Err(wrong(format!("{} dimensions make no partitions definition", dimensions.len())));
    }
    for (name, definition) in dimensions {
        definition.validate().map_err(|problem| problem.place(format!("dimension `{name}`")))?;
        match definition {
            PartitionsDefinition::Multi { .. } => {
                return Err(wrong(format!("the dimension `{name}` has dimensions of its own")));
            }
            PartitionsDefinition::Static { keys } => {
                if let Some(key) = keys.iter().find(|key| key.contains(RESERVED)) {
                    return Err(not_allowed(key, "in a dimension a key holds none of `|`, `,`, `[`, `]`")
                        .place(format!("dimension `{name}`")));
                }
            }
            PartitionsDefinition::TimeWindow(_) | PartitionsDefinition::Dynamic { .. } => {}
        }
    }
    Ok(())
}

pub(super) fn join(parts: &[String]) -> String {
    parts.join(&SEPARATOR.to_string())
}

/// Every combination, the first dimension slowest.
pub(crate) fn product(dimensions: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut dimensions = dimensions.into_iter();
    let first = dimensions.next().unwrap_or_default();
    dimensions.fold(first, |left, right| {
        left.iter().flat_map(|a| right.iter().map(move |b| format!("{a}{SEPARATOR}{b}"))).collect()
    })
}
