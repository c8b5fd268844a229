//! Partitions: which keys a definition has, in which order, and which time a key stands for.
//!
//! Keys of time windows are made on demand; counting and paging do not make them all.

mod key;
mod ranges;
mod subset;
mod time_window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use catchment_model::{Code, Problem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use key::product;
pub use key::{MultiKey, check_key};
pub use ranges::PartitionRanges;
pub use subset::PartitionSubset;
pub use time_window::{Cadence, TimeWindow, TimeWindowPartitions, TimeWindowSpec};

/// The keys of dynamic partitions, which live in the state store.
pub trait DynamicKeys: Sync {
    /// The keys of the definition of this name, in the order in which they were added.
    fn keys(&self, name: &str) -> Vec<String>;

    /// Whether the definition has this key.
    fn contains(&self, name: &str, key: &str) -> bool {
        self.keys(name).iter().any(|known| known == key)
    }

    /// How many keys it has.
    fn count(&self, name: &str) -> u64 {
        self.keys(name).len() as u64
    }
}

impl DynamicKeys for BTreeMap<String, Vec<String>> {
    fn keys(&self, name: &str) -> Vec<String> {
        self.get(name).cloned().unwrap_or_default()
    }
}

/// What keys depend on besides their definition.
#[derive(Clone, Copy)]
pub struct PartitionContext<'a> {
    /// The present.
    pub now: Timestamp,
    /// The keys of dynamic partitions.
    pub dynamic: &'a dyn DynamicKeys,
}

/// A page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys, in the order that was asked for.
    pub keys: Vec<String>,
    /// Where the next page begins: give it as `cursor`. None at the end.
    pub cursor: Option<String>,
}

/// How an asset or job is divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartitionsDefinition {
    /// A fixed list of keys.
    Static {
        /// The keys, in order.
        keys: Vec<String>,
    },
    /// Windows of time that follow one another without a gap.
    TimeWindow(Box<TimeWindowPartitions>),
    /// A named set of keys that grows and shrinks at run time.
    Dynamic {
        /// Its name in the state store.
        name: String,
    },
    /// Two dimensions; a key is one key of each, as `a|b` in the order of the dimensions' names.
    Multi {
        /// The dimensions by name, none of them `Multi` itself.
        dimensions: BTreeMap<String, PartitionsDefinition>,
    },
}

impl PartitionsDefinition {
    /// A fixed list of keys.
    ///
    /// # Errors
    /// `invalid_config` for a key that is not allowed or is there twice.
    pub fn with_keys<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Result<Self, Problem> {
        let definition = Self::Static { keys: keys.into_iter().map(Into::into).collect() };
        definition.validate()?;
        Ok(definition)
    }

    /// Windows of time.
    ///
    /// # Errors
    /// `invalid_config` as [`TimeWindowPartitions::new`].
    pub fn time_window(spec: TimeWindowSpec) -> Result<Self, Problem> {
        Ok(Self::TimeWindow(Box::new(TimeWindowPartitions::new(spec)?)))
    }

    /// Two dimensions.
    ///
    /// # Errors
    /// `invalid_config` unless there are exactly two, none of them with dimensions of its own, and their keys can
    /// be joined.
    pub fn multi<S: Into<String>>(dimensions: impl IntoIterator<Item = (S, Self)>) -> Result<Self, Problem> {
        let dimensions = dimensions.into_iter().map(|(name, definition)| (name.into(), definition)).collect();
        let definition = Self::Multi { dimensions };
        definition.validate()?;
        Ok(definition)
    }

    /// Checks what serde lets through: keys and dimensions.
    ///
    /// # Errors
    /// `invalid_config` that names the key or dimension.
    pub fn validate(&self) -> Result<(), Problem> {
        match self {
            Self::Static { keys } => key::check_keys(keys),
            Self::TimeWindow(_) | Self::Dynamic { .. } => Ok(()),
            Self::Multi { dimensions } => key::check_dimensions(dimensions),
        }
    }

    /// All keys, in order: as listed, by time, as added, or by the first dimension and then the second.
    pub fn keys(&self, cx: PartitionContext<'_>) -> Vec<String> {
        match self {
            Self::Static { keys } => keys.clone(),
            Self::TimeWindow(windows) => windows.keys(cx.now),
            Self::Dynamic { name } => cx.dynamic.keys(name),
            Self::Multi { dimensions } => key::product(dimensions.values().map(|d| d.keys(cx))),
        }
    }

    /// Whether this key is there.
    pub fn contains(&self, key: &str, cx: PartitionContext<'_>) -> bool {
        match self {
            Self::Static { keys } => keys.iter().any(|known| known == key),
            Self::TimeWindow(windows) => windows.contains(key, cx.now),
            Self::Dynamic { name } => cx.dynamic.contains(name, key),
            Self::Multi { dimensions } => {
                let parts: Vec<_> = key.split(key::SEPARATOR).collect();
                parts.len() == dimensions.len()
                    && dimensions.values().zip(parts).all(|(definition, part)| definition.contains(part, cx))
            }
        }
    }

    /// How many keys there are, without making those of time windows.
    pub fn count(&self, cx: PartitionContext<'_>) -> u64 {
        match self {
            Self::Static { keys } => keys.len() as u64,
            Self::TimeWindow(windows) => windows.count(cx.now),
            Self::Dynamic { name } => cx.dynamic.count(name),
            Self::Multi { dimensions } => dimensions.values().map(|d| d.count(cx)).product(),
        }
    }

    /// The first key.
    pub fn first_key(&self, cx: PartitionContext<'_>) -> Option<String> {
        match self {
            Self::Static { keys } => keys.first().cloned(),
            Self::TimeWindow(windows) => windows.first_key(cx.now),
            Self::Dynamic { name } => cx.dynamic.keys(name).into_iter().next(),
            Self::Multi { dimensions } => {
                let parts: Option<Vec<_>> = dimensions.values().map(|d| d.first_key(cx)).collect();
                parts.map(|parts| key::join(&parts))
            }
        }
    }

    /// The last key: of time windows the newest.
    pub fn last_key(&self, cx: PartitionContext<'_>) -> Option<String> {
        match self {
            Self::Static { keys } => keys.last().cloned(),
            Self::TimeWindow(windows) => windows.last_key(cx.now),
            Self::Dynamic { name } => cx.dynamic.keys(name).pop(),
            Self::Multi { dimensions } => {
                let parts: Option<Vec<_>> = dimensions.values().map(|d| d.last_key(cx)).collect();
                parts.map(|parts| key::join(&parts))
            }
        }
    }

    /// The time that a key stands for: of a key with dimensions, that of its only time dimension.
    pub fn window_of(&self, key: &str) -> Option<TimeWindow> {
        match self {
            Self::TimeWindow(windows) => windows.window_of(key),
            Self::Multi { dimensions } => {
                let (name, windows) = self.time_dimension()?;
                let place = dimensions.keys().position(|known| known == name)?;
                windows.window_of(key.split(key::SEPARATOR).nth(place)?)
            }
            Self::Static { .. } | Self::Dynamic { .. } => None,
        }
    }

    /// The keys from `start` to `end`, both included. With dimensions: those between the two in each dimension.
    ///
    /// # Errors
    /// `not_found` for a key that is not there, `invalid_input` where `end` comes before `start`.
    pub fn range(&self, start: &str, end: &str, cx: PartitionContext<'_>) -> Result<Vec<String>, Problem> {
        for key in [start, end] {
            if !self.contains(key, cx) {
                return Err(Problem::new(Code::NotFound, format!("there is no partition `{key}`"))
                    .place(format!("the range {start}...{end}"))
                    .remedy("list the partitions, and name two of them"));
            }
        }
        let keys = match self {
            Self::TimeWindow(windows) => windows.range(start, end),
            Self::Multi { dimensions } => {
                let parts = dimensions.values().zip(start.split(key::SEPARATOR)).zip(end.split(key::SEPARATOR));
                let ranges = parts.map(|((definition, start), end)| definition.range(start, end, cx));
                return Ok(key::product(ranges.collect::<Result<Vec<_>, _>>()?));
            }
            Self::Static { .. } | Self::Dynamic { .. } => {
                let keys = self.keys(cx);
                let place = |key: &str| keys.iter().position(|known| known == key);
                match (place(start), place(end)) {
                    (Some(first), Some(last)) if first <= last => keys[first..=last].to_vec(),
                    _ => Vec::new(),
                }
            }
        };
        if keys.is_empty() {
            return Err(Problem::new(Code::InvalidInput, format!("`{end}` comes before `{start}`"))
                .remedy("give the earlier partition first"));
        }
        Ok(keys)
    }

    /// At most `limit` keys after the cursor (the last key of the page before), in order or, `descending`, from
    /// the end. Of time windows only these keys are made.
    ///
    /// # Errors
    /// `not_found` where the cursor is no key (any more).
    pub fn page(
        &self,
        cursor: Option<&str>,
        limit: usize,
        descending: bool,
        cx: PartitionContext<'_>,
    ) -> Result<KeyPage, Problem> {
        let gone = |cursor: &str| {
            Problem::new(Code::NotFound, format!("there is no partition `{cursor}` to go on from"))
                .remedy("begin again with the first page")
        };
        // One more than asked for says whether there is a next page.
        let mut keys = if let Self::TimeWindow(windows) = self {
            windows.page(cursor, limit + 1, descending, cx.now).ok_or_else(|| gone(cursor.unwrap_or_default()))?
        } else {
            let mut keys = self.keys(cx);
            if descending {
                keys.reverse();
            }
            if let Some(cursor) = cursor {
                let place = keys.iter().position(|key| key == cursor).ok_or_else(|| gone(cursor))?;
                keys.drain(..=place);
            }
            keys.truncate(limit + 1);
            keys
        };
        let more = keys.len() > limit;
        keys.truncate(limit);
        Ok(KeyPage { cursor: keys.last().filter(|_| more).cloned(), keys })
    }

    /// The time windows of this definition, or of its only time dimension.
    pub fn time_windows(&self) -> Option<&TimeWindowPartitions> {
        match self {
            Self::TimeWindow(windows) => Some(windows.as_ref()),
            Self::Multi { .. } => self.time_dimension().map(|(_, windows)| windows),
            Self::Static { .. } | Self::Dynamic { .. } => None,
        }
    }

    /// The only dimension of time windows, with its name.
    pub fn time_dimension(&self) -> Option<(&str, &TimeWindowPartitions)> {
        let Self::Multi { dimensions } = self else { return None };
        let mut found = dimensions.iter().filter_map(|(name, definition)| match definition {
            Self::TimeWindow(windows) => Some((name.as_str(), windows.as_ref())),
            _ => None,
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// All keys as a set; for what is not partitioned, see [`PartitionSubset::unpartitioned`].
    pub fn all(&self, cx: PartitionContext<'_>) -> PartitionSubset {
        PartitionSubset::of(self.keys(cx))
    }
}
