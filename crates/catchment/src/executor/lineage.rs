//! Data versions: what stands for the content of an asset, and of what it was made.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use catchment_instance::SharedInstance;
use catchment_model::Problem;
use catchment_model::documents::ContentHash;
use jiff::Timestamp;

/// The data versions that a run knows: those of its own assets and of those that it takes from others.
#[derive(Debug, Default)]
pub(crate) struct Lineage(Mutex<BTreeMap<String, String>>);

impl Lineage {
    /// With the newest data versions of assets that the run does not make, of the given partition where one is given.
    /// One without a data version is known by the id of its newest materialisation.
    pub(crate) async fn of(
        instance: &SharedInstance,
        assets: &BTreeMap<String, Option<String>>,
    ) -> Result<Self, Problem> {
        let mut known = BTreeMap::new();
        let mut note = |key: String, version: Option<String>, materialized: Option<(i64, Timestamp)>| {
            known.extend(version.or(materialized.map(|(id, _)| id.to_string())).map(|version| (key, version)));
        };
        let whole: Vec<String> =
            assets.iter().filter(|(_, key)| key.is_none()).map(|(asset, _)| asset.clone()).collect();
        if !whole.is_empty() {
            let limit = u32::try_from(whole.len()).unwrap_or(u32::MAX);
            for record in instance.assets(&whole, None, limit).await? {
                note(record.asset_key, record.data_version, record.materialized);
            }
        }
        for (asset, partition) in assets {
            let Some(partition) = partition else { continue };
            for state in instance.asset_partitions(asset, std::slice::from_ref(partition)).await? {
                note(asset.clone(), state.data_version, state.materialized);
            }
        }
        Ok(Self(Mutex::new(known)))
    }

    /// The data versions of these assets, as far as they are known.
    pub(crate) fn versions<'a>(&self, assets: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assets.into_iter().filter_map(|key| Some((key.to_owned(), known.get(key)?.clone()))).collect()
    }

    /// Notes the data version of an asset that was just made.
    pub(crate) fn made(&self, asset: &str, version: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(asset.to_owned(), version.to_owned());
    }
}

/// The data version of an asset whose code does not give one: the SHA-256 of the version of its code (of the run's id,
/// where it has none: it is new each time) and those of its inputs in the order of their keys, as Dagster computes it.
pub(crate) fn derived(code_version: &str, inputs: &BTreeMap<String, String>) -> String {
    let text: String = std::iter::once(code_version).chain(inputs.values().map(String::as_str)).collect();
    ContentHash::of(text.as_bytes()).hex().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::derived;

    #[test]
    fn a_derived_version_follows_code_and_inputs_and_nothing_else() {
        let inputs = |version: &str| BTreeMap::from([("a".to_owned(), version.to_owned())]);
        assert_eq!(derived("1", &inputs("x")), derived("1", &inputs("x")));
        assert_ne!(derived("1", &inputs("x")), derived("1", &inputs("y")));
        assert_ne!(derived("1", &inputs("x")), derived("2", &inputs("x")));
        // SHA-256 of `1x`.
        assert_eq!(derived("1", &inputs("x")), "a048e640908046be06e00eab37742b5d5ff80964af58cfd22f7cb2de4dfe375f");
    }
}
