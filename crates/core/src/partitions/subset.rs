//! Sets of partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A set of partitions of one asset: keys, or, of an asset without partitions, its single cell.
///
/// In JSON a list: `["2026-11-01", "2026-11-02"]`, or `[null]` for the single cell. A clone shares the keys, as a
/// condition passes sets of ten years of hours from part to part.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "BTreeSet<Option<String>>", into = "BTreeSet<Option<String>>")]
pub struct PartitionSubset(Arc<BTreeSet<Option<String>>>);

impl From<BTreeSet<Option<String>>> for PartitionSubset {
    fn from(cells: BTreeSet<Option<String>>) -> Self {
        Self(Arc::new(cells))
    }
}

impl From<PartitionSubset> for BTreeSet<Option<String>> {
    fn from(subset: PartitionSubset) -> Self {
        Arc::unwrap_or_clone(subset.0)
    }
}

impl PartitionSubset {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The single cell of an asset without partitions.
    pub fn unpartitioned() -> Self {
        BTreeSet::from([None]).into()
    }

    /// These keys.
    pub fn of<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        keys.into_iter().map(|key| Some(key.into())).collect()
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
        Arc::make_mut(&mut self.0).insert(key);
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
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self.clone(),
            (true, _) => other.clone(),
            _ => self.0.union(&other.0).cloned().collect(),
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        if Arc::ptr_eq(&self.0, &other.0) {
            return self.clone();
        }
        self.0.intersection(&other.0).cloned().collect()
    }

    /// What is here and not there.
    pub fn difference(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return self.clone();
        }
        self.0.difference(&other.0).cloned().collect()
    }
}

impl FromIterator<Option<String>> for PartitionSubset {
    fn from_iter<I: IntoIterator<Item = Option<String>>>(cells: I) -> Self {
        cells.into_iter().collect::<BTreeSet<_>>().into()
    }
}
