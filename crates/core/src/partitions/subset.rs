//! Sets of partitions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A set of partitions of one asset: keys, or, of an asset without partitions, its single cell.
///
/// In JSON a list: `["2026-11-01", "2026-11-02"]`, or `[null]` for the single cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionSubset(BTreeSet<Option<String>>);

impl PartitionSubset {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The single cell of an asset without partitions.
    pub fn unpartitioned() -> Self {
        Self(BTreeSet::from([None]))
    }

    /// These keys.
    pub fn of<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        Self(keys.into_iter().map(|key| Some(key.into())).collect())
    }

    /// Whether it holds this key, or (`None`) the single cell.
    pub fn contains(&self, key: Option<&str>) -> bool {
        self.0.contains(&key.map(str::to_owned))
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a key, or (`None`) the single cell.
    pub fn insert(&mut self, key: Option<String>) {
        self.0.insert(key);
    }

    /// The partitions, by key; the single cell is `None`.
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    /// The keys, without the single cell.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Option::as_deref)
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What is here and not there.
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }
}

impl FromIterator<Option<String>> for PartitionSubset {
    fn from_iter<I: IntoIterator<Item = Option<String>>>(cells: I) -> Self {
        Self(cells.into_iter().collect())
    }
}
