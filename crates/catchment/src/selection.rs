//! Which assets a selection names: keys, groups, kinds, tags, and what is upstream or downstream of them.

use std::collections::{BTreeMap, BTreeSet};

use catchment_core::definitions::AssetSpec;

use crate::definitions::Definitions;

impl Definitions {
    /// The keys that a selection names, of assets that are made here. See [`asset_job`](crate::asset_job).
    pub(crate) fn select(&self, selection: &[String]) -> BTreeSet<String> {
        let specs: Vec<&AssetSpec> = self.assets.iter().flat_map(|asset| &asset.specs).collect();
        let all: BTreeSet<&str> = specs.iter().map(|spec| spec.key.as_str()).collect();
        let mut upstream: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut downstream: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for spec in &specs {
            for dep in spec.deps.iter().filter(|dep| **dep != spec.key) {
                upstream.entry(&spec.key).or_default().push(dep);
                downstream.entry(dep).or_default().push(&spec.key);
            }
        }
        let mut chosen = BTreeSet::new();
        for item in selection {
            let (before, name, after) = parts(item);
            let roots: Vec<&str> =
                specs.iter().filter(|spec| names(name, spec)).map(|spec| spec.key.as_str()).collect();
            for (levels, edges) in [(before, &upstream), (after, &downstream)] {
                reach(&roots, levels, edges, &mut chosen);
            }
            chosen.extend(roots);
        }
        chosen.into_iter().filter(|key| all.contains(key)).map(str::to_owned).collect()
    }

    /// The items of a selection that name nothing.
    pub(crate) fn names_nothing<'a>(&self, selection: &'a [String]) -> Vec<&'a str> {
        let any = |name: &str| self.assets.iter().flat_map(|asset| &asset.specs).any(|spec| names(name, spec));
        selection.iter().map(|item| parts(item).1).filter(|name| *name != "*" && !any(name)).collect()
    }
}

/// How many levels upstream, what, and how many levels downstream.
fn parts(item: &str) -> (usize, &str, usize) {
    if item == "*" {
        return (0, item, 0);
    }
    let levels = |signs: &str| if signs.contains('*') { usize::MAX } else { signs.len() };
    let inner = item.trim_start_matches(['+', '*']);
    let name = inner.trim_end_matches(['+', '*']);
    (levels(&item[..item.len() - inner.len()]), name, levels(&inner[name.len()..]))
}

fn names(name: &str, spec: &AssetSpec) -> bool {
    match name.split_once(':') {
        Some(("group", group)) => spec.group == group,
        Some(("kind", kind)) => spec.kinds.iter().any(|known| known == kind),
        Some(("key", key)) => spec.key == key,
        Some(("owner", owner)) => spec.owners.iter().any(|known| known == owner),
        Some(("tag", tag)) => match tag.split_once('=') {
            Some((key, value)) => spec.tags.get(key).is_some_and(|known| known == value),
            None => spec.tags.contains_key(tag),
        },
        _ => name == "*" || spec.key == name,
    }
}

fn reach<'a>(
    roots: &[&'a str],
    levels: usize,
    edges: &BTreeMap<&'a str, Vec<&'a str>>,
    chosen: &mut BTreeSet<&'a str>,
) {
    let mut seen: BTreeSet<&str> = roots.iter().copied().collect();
    let mut edge: Vec<&str> = roots.to_vec();
    for _ in 0..levels {
        edge = edge.iter().flat_map(|key| edges.get(key).into_iter().flatten().copied()).collect();
        edge.retain(|key| seen.insert(key));
        if edge.is_empty() {
            break;
        }
    }
    chosen.extend(seen);
}
