//! Which assets a selection names: the same language as everywhere else ([`catchment_core::selection`]), for the assets
//! that are made here.

use std::collections::BTreeSet;

use catchment_core::definitions::{AssetSpec, LocationSnapshot};
use catchment_core::selection;
use catchment_model::{Code, Problem};

use crate::definitions::{Definitions, not_found};

impl Definitions {
    /// The keys that a selection names, of assets that are made here; what is wrong with one of its items, `check` says.
    /// See [`asset_job`](crate::asset_job).
    pub(crate) fn select(&self, selection: &[String]) -> BTreeSet<String> {
        let selecting = Selecting::of(self, selection);
        selection.iter().filter_map(|item| selecting.keys(item).ok()).flatten().collect()
    }

    /// What is wrong with a selection: an item that names nothing, or that is not understood.
    pub(crate) fn selection_fault(&self, selection: &[String]) -> Option<Problem> {
        let selecting = Selecting::of(self, selection);
        let none = || not_found("asset", "", &self.asset_keys(), &self.location);
        selection.iter().filter(|item| *item != "*").find_map(|item| match selecting.keys(item) {
            Ok(keys) if !keys.is_empty() => None,
            Ok(_) => Some(Problem { what: format!("`{item}` names no asset of `{}`", self.location), ..none() }),
            Err(_) if !item.contains(['+', ':', '=', ',', '(', ' ', '"', '*']) => {
                Some(not_found("asset", item, &self.asset_keys(), &self.location))
            }
            Err(problem) => Some(Problem { code: Code::InvalidConfig, ..problem }),
        })
    }
}

/// The assets, as far as selections ask of them.
struct Selecting<'a> {
    known: BTreeSet<&'a str>,
    /// Left out where all items are keys.
    snapshot: LocationSnapshot,
}

impl<'a> Selecting<'a> {
    fn of(definitions: &'a Definitions, selection: &[String]) -> Self {
        let known: BTreeSet<&str> = definitions.asset_keys().into_iter().collect();
        let mut snapshot = LocationSnapshot::default();
        if selection.iter().any(|item| item != "*" && !known.contains(item.as_str())) {
            let specs = definitions.assets.iter().flat_map(|asset| {
                let settings = &asset.op.settings;
                asset.specs.iter().map(move |spec| AssetSpec {
                    kinds: settings.kinds.clone(),
                    tags: settings.tags.clone().into_iter().chain(spec.tags.clone()).collect(),
                    ..spec.clone()
                })
            });
            snapshot.assets = specs.collect();
        }
        Self { known, snapshot }
    }

    fn keys(&self, item: &str) -> Result<Vec<String>, Problem> {
        if item == "*" {
            return Ok(self.known.iter().map(|key| (*key).to_owned()).collect());
        }
        // A key needs no quotes here, whatever it is made of.
        if self.known.contains(item) {
            return Ok(vec![item.to_owned()]);
        }
        selection::assets(item, &self.snapshot)
    }
}

#[cfg(test)]
mod tests {
    use catchment_model::{Code, Problem};

    use crate::{Definitions, asset};

    #[asset(kinds = ["file"], tags = [("tier", "raw")])]
    async fn a() -> Result<u32, Problem> {
        Ok(1)
    }

    #[asset(deps = ["a"])]
    async fn b() -> Result<u32, Problem> {
        Ok(1)
    }

    #[asset(deps = ["b"], group = "out")]
    async fn c() -> Result<u32, Problem> {
        Ok(1)
    }

    #[asset(deps = ["c"])]
    async fn d() -> Result<u32, Problem> {
        Ok(1)
    }

    fn selected(item: &str) -> String {
        let definitions = Definitions::new("here").assets([a(), b(), c(), d()]);
        definitions.select(&[item.to_owned()]).into_iter().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_job_selects_assets_in_the_language_of_the_interfaces() {
        for (item, keys) in [
            ("*", "a b c d"),
            ("b", "b"),
            ("+c", "a b c"),
            ("1+c", "b c"),
            ("b+", "b c d"),
            ("b+1", "b c"),
            ("+b+", "a b c d"),
            ("group:out", "c"),
            ("kind:file", "a"),
            ("tag:tier=raw", "a"),
            ("not kind:file and not c", "b d"),
            ("roots(b, c)", "b"),
        ] {
            assert_eq!(selected(item), keys, "{item}");
        }
    }

    #[test]
    fn what_names_nothing_or_is_not_understood_is_said() {
        let definitions = Definitions::new("here").assets([a(), b()]);
        let fault = |item: &str| definitions.selection_fault(&[item.to_owned()]);
        assert!(fault("+b").is_none());
        assert_eq!(fault("x").unwrap().what, "there is no asset `x` in the code location `here`");
        assert_eq!(fault("group:x").unwrap().what, "`group:x` names no asset of `here`");
        assert_eq!(fault("a and (b").unwrap().code, Code::InvalidConfig);
    }
}
