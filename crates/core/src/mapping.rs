//! Which partitions of an asset follow from which partitions of another.
//!
//! `upstream` is what is needed, `downstream` what needs it. Two mappings turn into one another: `d` is among the
//! downstream keys of `u` where `u` is among the upstream keys of `d`.

use std::collections::{BTreeMap, BTreeSet};

use catchment_model::{Code, Problem};
use serde::{Deserialize, Serialize};

use crate::partitions::{
    MultiKey, PartitionContext, PartitionSubset, PartitionsDefinition, TimeWindow, TimeWindowPartitions, product,
};

#[cfg(test)]
mod tests;

/// How partitions of a downstream asset follow from those of an upstream one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartitionMapping {
    /// The same key.
    Identity,
    /// The upstream windows that overlap the downstream one.
    TimeWindow {
        /// Moves the start of the downstream window by so many of its windows.
        #[serde(default)]
        start_offset: i32,
        /// Moves its end by so many of its windows.
        #[serde(default)]
        end_offset: i32,
        /// Windows that the upstream asset does not have are left out, not reported as missing.
        #[serde(default)]
        allow_nonexistent_upstream_partitions: bool,
    },
    /// All upstream partitions.
    All,
    /// The last upstream partition.
    Last,
    /// As listed.
    Static {
        /// Downstream keys by upstream key.
        map: BTreeMap<String, BTreeSet<String>>,
    },
    /// Dimension by dimension. A dimension that is not named goes with all keys of the other side.
    Multi {
        /// By upstream dimension.
        dimensions: BTreeMap<String, DimensionMapping>,
    },
    /// These upstream partitions, whatever the downstream one.
    Specific {
        /// The keys.
        keys: BTreeSet<String>,
    },
    /// One side has two dimensions, and one of these follows from the other side.
    MultiToSingle {
        /// The dimension; where it is missing, the one that fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dimension: Option<String>,
    },
}

/// How a downstream dimension follows from an upstream one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DimensionMapping {
    /// The downstream dimension.
    pub dimension: String,
    /// How its keys follow.
    pub mapping: Box<PartitionMapping>,
}

/// What a downstream asset needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamPartitions {
    /// The partitions that are there.
    pub subset: PartitionSubset,
    /// The keys that it needs and that are not there.
    pub missing: BTreeSet<String>,
}

/// The two sides of a mapping. An asset without partitions has no definition.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// What is needed.
    pub upstream: Option<&'a PartitionsDefinition>,
    /// What needs it.
    pub downstream: Option<&'a PartitionsDefinition>,
}

impl PartitionMapping {
    /// The windows that overlap.
    pub const OVERLAP: Self =
        Self::TimeWindow { start_offset: 0, end_offset: 0, allow_nonexistent_upstream_partitions: false };

    /// The mapping where none was named: the same keys for equal definitions, overlap for time windows, the dimension
    /// that fits, else the dimensions of the same name, all for what has no partitions on a side, else the same key.
    pub fn default_of(sides: Sides<'_>) -> Self {
        let (Some(up), Some(down)) = (sides.upstream, sides.downstream) else { return Self::All };
        match (up, down) {
            _ if up == down => Self::Identity,
            (PartitionsDefinition::TimeWindow(_), PartitionsDefinition::TimeWindow(_)) => Self::OVERLAP,
            (PartitionsDefinition::Multi { dimensions: ups }, PartitionsDefinition::Multi { dimensions: downs }) => {
                let shared = ups.iter().filter_map(|(name, up)| {
                    let sides = Sides { upstream: Some(up), downstream: Some(downs.get(name)?) };
                    let mapping = Box::new(Self::default_of(sides));
                    Some((name.clone(), DimensionMapping { dimension: name.clone(), mapping }))
                });
                let dimensions: BTreeMap<_, _> = shared.collect();
                if dimensions.is_empty() { Self::Identity } else { Self::Multi { dimensions } }
            }
            (PartitionsDefinition::Multi { .. }, single) if shared_dimension(up, single, None).is_ok() => {
                Self::MultiToSingle { dimension: None }
            }
            (single, PartitionsDefinition::Multi { .. }) if shared_dimension(down, single, None).is_ok() => {
                Self::MultiToSingle { dimension: None }
            }
            _ => Self::Identity,
        }
    }

    /// The upstream partitions that these downstream ones need.
    ///
    /// # Errors
    /// `invalid_config` where the mapping does not fit the two sides.
    pub fn upstream_keys(
        &self,
        downstream: &PartitionSubset,
        sides: Sides<'_>,
        cx: PartitionContext<'_>,
    ) -> Result<UpstreamPartitions, Problem> {
        if downstream.is_empty() {
            return Ok(UpstreamPartitions::default());
        }
        let Some(up) = sides.upstream else {
            return Ok(UpstreamPartitions { subset: PartitionSubset::unpartitioned(), missing: BTreeSet::new() });
        };
        let needed = match (self, sides.downstream) {
            (Self::Last, _) => up.last_key(cx).into_iter().collect(),
            (Self::Specific { keys }, _) => keys.clone(),
            (Self::All, _) | (_, None) => up.keys(cx).into_iter().collect(),
            (_, Some(down)) => {
                let mut needed = BTreeSet::new();
                for key in downstream.keys() {
                    needed.extend(self.needs(key, up, down, cx)?);
                }
                needed
            }
        };
        let (there, missing): (BTreeSet<_>, BTreeSet<_>) = needed.into_iter().partition(|key| up.contains(key, cx));
        let missing = if self.allows_missing() { BTreeSet::new() } else { missing };
        Ok(UpstreamPartitions { subset: PartitionSubset::of(there), missing })
    }

    /// The downstream partitions that need one of these upstream ones.
    ///
    /// # Errors
    /// `invalid_config` where the mapping does not fit the two sides.
    pub fn downstream_keys(
        &self,
        upstream: &PartitionSubset,
        sides: Sides<'_>,
        cx: PartitionContext<'_>,
    ) -> Result<PartitionSubset, Problem> {
        let touched = match (self, sides.upstream) {
            (Self::Last, Some(up)) => up.last_key(cx).is_some_and(|last| upstream.contains(Some(&last))),
            (Self::Specific { keys }, Some(_)) => keys.iter().any(|key| upstream.contains(Some(key))),
            _ => !upstream.is_empty(),
        };
        let all = |down: Option<&PartitionsDefinition>| match down {
            Some(down) => down.all(cx),
            None => PartitionSubset::unpartitioned(),
        };
        match (self, sides.upstream, sides.downstream) {
            _ if !touched => Ok(PartitionSubset::empty()),
            (Self::Identity, Some(_), Some(down)) => {
                Ok(PartitionSubset::of(upstream.keys().filter(|key| down.contains(key, cx))))
            }
            (Self::Last | Self::Specific { .. } | Self::All, _, down) | (_, None, down) | (_, _, down @ None) => {
                Ok(all(down))
            }
            (_, Some(up), Some(down)) => {
                let mut found = BTreeSet::new();
                for key in upstream.keys() {
                    found.extend(self.needed_by(key, up, down, cx)?);
                }
                found.retain(|key| down.contains(key, cx));
                Ok(PartitionSubset::of(found))
            }
        }
    }

    fn allows_missing(&self) -> bool {
        match self {
            Self::TimeWindow { allow_nonexistent_upstream_partitions, .. } => *allow_nonexistent_upstream_partitions,
            Self::Multi { dimensions } => dimensions.values().any(|dimension| dimension.mapping.allows_missing()),
            _ => false,
        }
    }

    /// The upstream keys that one downstream key needs, there or not.
    fn needs(
        &self,
        key: &str,
        up: &PartitionsDefinition,
        down: &PartitionsDefinition,
        cx: PartitionContext<'_>,
    ) -> Result<Vec<String>, Problem> {
        match self {
            Self::Identity => Ok(vec![key.to_owned()]),
            Self::All => Ok(up.keys(cx)),
            Self::Last => Ok(up.last_key(cx).into_iter().collect()),
            Self::Specific { keys } => Ok(keys.iter().cloned().collect()),
            Self::Static { map } => {
                Ok(map.iter().filter(|(_, downs)| downs.contains(key)).map(|(up, _)| up.clone()).collect())
            }
            Self::TimeWindow { start_offset, end_offset, .. } => {
                let (up, down) = (time_windows(up)?, time_windows(down)?);
                let window = down.window_of(key).and_then(|window| {
                    let start = down.shift(window.start, *start_offset)?;
                    Some(TimeWindow { start, end: down.shift(window.end, *end_offset)? })
                });
                Ok(window.map(|window| up.keys_overlapping(window)).unwrap_or_default())
            }
            Self::Multi { dimensions } => {
                let (ups, downs) = (dimensions_of(up)?, dimensions_of(down)?);
                let Some(MultiKey(parts)) = MultiKey::parse(key, downs) else { return Ok(Vec::new()) };
                let keys = ups.iter().map(|(name, up)| match dimensions.get(name) {
                    None => Ok(up.keys(cx)),
                    Some(DimensionMapping { dimension, mapping }) => {
                        let down = downs.get(dimension).ok_or_else(|| no_dimension(dimension))?;
                        mapping.needs(parts.get(dimension).map_or("", String::as_str), up, down, cx)
                    }
                });
                Ok(product(keys.collect::<Result<Vec<_>, _>>()?))
            }
            Self::MultiToSingle { dimension } => {
                let (name, mapping) = to_single(up, down, dimension.as_deref())?;
                if let PartitionsDefinition::Multi { dimensions: ups } = up {
                    let keys =
                        ups.iter().map(
                            |(other, up)| {
                                if *other == name { mapping.needs(key, up, down, cx) } else { Ok(up.keys(cx)) }
                            },
                        );
                    return Ok(product(keys.collect::<Result<Vec<_>, _>>()?));
                }
                let downs = dimensions_of(down)?;
                let Some(MultiKey(parts)) = MultiKey::parse(key, downs) else { return Ok(Vec::new()) };
                let (Some(part), Some(down)) = (parts.get(&name), downs.get(&name)) else { return Ok(Vec::new()) };
                mapping.needs(part, up, down, cx)
            }
        }
    }

    /// The downstream keys that need one upstream key. May hold keys that are not there now.
    fn needed_by(
        &self,
        key: &str,
        up: &PartitionsDefinition,
        down: &PartitionsDefinition,
        cx: PartitionContext<'_>,
    ) -> Result<Vec<String>, Problem> {
        match self {
            Self::Identity => Ok(vec![key.to_owned()]),
            Self::All => Ok(down.keys(cx)),
            Self::Last if up.last_key(cx).as_deref() != Some(key) => Ok(Vec::new()),
            Self::Specific { keys } if !keys.contains(key) => Ok(Vec::new()),
            Self::Last | Self::Specific { .. } => Ok(down.keys(cx)),
            Self::Static { map } => Ok(map.get(key).into_iter().flatten().cloned().collect()),
            Self::TimeWindow { start_offset, end_offset, .. } => {
                let (up, down) = (time_windows(up)?, time_windows(down)?);
                Ok(up
                    .window_of(key)
                    .map(|window| shifted_onto(window, down, *start_offset, *end_offset))
                    .unwrap_or_default())
            }
            Self::Multi { dimensions } => {
                let (ups, downs) = (dimensions_of(up)?, dimensions_of(down)?);
                let Some(MultiKey(parts)) = MultiKey::parse(key, ups) else { return Ok(Vec::new()) };
                let mut keys: BTreeMap<&String, Vec<String>> = BTreeMap::new();
                for (name, DimensionMapping { dimension, mapping }) in dimensions {
                    let (name, down) = downs
                        .get_key_value(dimension)
                        .ok_or_else(|| no_dimension(dimension))
                        .map(|(found, down)| ((name, found), down))?;
                    let (upstream, found) = name;
                    let up = ups.get(upstream).ok_or_else(|| no_dimension(upstream))?;
                    let part = parts.get(upstream).map_or("", String::as_str);
                    let needed_by = mapping.needed_by(part, up, down, cx)?;
                    // Two upstream dimensions of one downstream dimension: it needs both.
                    keys.entry(found)
                        .and_modify(|known| known.retain(|key| needed_by.contains(key)))
                        .or_insert(needed_by);
                }
                Ok(product(downs.iter().map(|(name, down)| keys.remove(name).unwrap_or_else(|| down.keys(cx)))))
            }
            Self::MultiToSingle { dimension } => {
                let (name, mapping) = to_single(up, down, dimension.as_deref())?;
                if let PartitionsDefinition::Multi { dimensions: ups } = up {
                    let Some(MultiKey(parts)) = MultiKey::parse(key, ups) else { return Ok(Vec::new()) };
                    let (Some(part), Some(up)) = (parts.get(&name), ups.get(&name)) else { return Ok(Vec::new()) };
                    return mapping.needed_by(part, up, down, cx);
                }
                let keys = dimensions_of(down)?.iter().map(|(other, down)| {
                    if *other == name { mapping.needed_by(key, up, down, cx) } else { Ok(down.keys(cx)) }
                });
                Ok(product(keys.collect::<Result<Vec<_>, _>>()?))
            }
        }
    }
}

/// The downstream windows whose shifted windows overlap `window`.
///
/// Window `i` of the ticks `t` needs `t(i + start)..t(i + 1 + end)`. With `a` the window that holds the first instant of
/// `window` and `b` the one that holds its last, that overlaps from `a - end` to `b - start`.
fn shifted_onto(window: TimeWindow, down: &TimeWindowPartitions, start: i32, end: i32) -> Vec<String> {
    if start > end {
        return Vec::new();
    }
    let bounds = || {
        let first = down.schedule().last_at_or_before(window.start)?;
        let last = down.schedule().previous_before(window.end)?;
        Some((down.shift(first, end.checked_neg()?)?, down.shift(last, start.checked_neg()?)?))
    };
    let Some((first, last)) = bounds() else { return Vec::new() };
    let until = down.schedule().next_after(last).unwrap_or(last);
    down.keys_overlapping(TimeWindow { start: first, end: until })
}

fn time_windows(definition: &PartitionsDefinition) -> Result<&TimeWindowPartitions, Problem> {
    match definition {
        PartitionsDefinition::TimeWindow(windows) => Ok(windows),
        _ => Err(does_not_fit("a time window mapping needs time windows on both sides")),
    }
}

fn dimensions_of(definition: &PartitionsDefinition) -> Result<&BTreeMap<String, PartitionsDefinition>, Problem> {
    match definition {
        PartitionsDefinition::Multi { dimensions } => Ok(dimensions),
        _ => Err(does_not_fit("a mapping of dimensions needs partitions with dimensions")),
    }
}

/// The dimension of a `MultiToSingle` mapping, and how the other side follows from it.
fn to_single(
    up: &PartitionsDefinition,
    down: &PartitionsDefinition,
    named: Option<&str>,
) -> Result<(String, PartitionMapping), Problem> {
    match (up, down) {
        (PartitionsDefinition::Multi { .. }, PartitionsDefinition::Multi { .. }) => {
            Err(does_not_fit("both sides have dimensions"))
        }
        (PartitionsDefinition::Multi { .. }, single) => shared_dimension(up, single, named),
        (single, multi) => shared_dimension(multi, single, named),
    }
}

fn shared_dimension(
    multi: &PartitionsDefinition,
    single: &PartitionsDefinition,
    named: Option<&str>,
) -> Result<(String, PartitionMapping), Problem> {
    let dimensions = dimensions_of(multi)?;
    let mapping = |definition: &PartitionsDefinition| match (definition, single) {
        _ if definition == single => Some(PartitionMapping::Identity),
        (PartitionsDefinition::TimeWindow(_), PartitionsDefinition::TimeWindow(_)) => Some(PartitionMapping::OVERLAP),
        _ => None,
    };
    if let Some(name) = named {
        let definition = dimensions.get(name).ok_or_else(|| no_dimension(name))?;
        let mapping = mapping(definition).ok_or_else(|| {
            does_not_fit("the dimension has other partitions than the other side").place(name.to_owned())
        })?;
        return Ok((name.to_owned(), mapping));
    }
    let equal = dimensions.iter().find(|(_, definition)| *definition == single);
    let time = || multi.time_dimension().and_then(|(name, _)| dimensions.get_key_value(name));
    let (name, definition) =
        equal.or_else(time).ok_or_else(|| does_not_fit("no dimension has the partitions of the other side"))?;
    let mapping =
        mapping(definition).ok_or_else(|| does_not_fit("no dimension has the partitions of the other side"))?;
    Ok((name.clone(), mapping))
}

fn no_dimension(name: &str) -> Problem {
    does_not_fit("the mapping names a dimension that is not there").place(name.to_owned())
}

fn does_not_fit(why: &str) -> Problem {
    Problem::new(Code::InvalidConfig, "the partition mapping does not fit its assets")
        .cause(why)
        .remedy("choose another partition mapping for this dependency")
}
