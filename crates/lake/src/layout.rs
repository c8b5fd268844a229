//! Which key belongs to which version: `<dataset_id>/v<version>/<file>`.

use catchment_model::DatasetId;
use catchment_model::documents::AssetFormat;

/// The description of a version after ISO 19115.
pub const METADATA: &str = "metadata.json";
/// The description of a version as a STAC item.
pub const STAC_ITEM: &str = "stac-item.json";

/// The key of a file of a version.
pub fn key(dataset_id: &DatasetId, version: u64, file: &str) -> String {
    format!("{dataset_id}/v{version}/{file}")
}

/// The key of a version's data.
pub fn data_key(dataset_id: &DatasetId, version: u64, format: AssetFormat) -> String {
    key(dataset_id, version, format.file_name())
}

/// The version that a key belongs to, and the file's name in it; `None` for a key that no version has.
pub fn parse(key: &str) -> Option<(DatasetId, u64, &str)> {
    let mut parts = key.splitn(3, '/');
    let dataset_id = DatasetId::new(parts.next()?).ok()?;
    let number = parts.next()?.strip_prefix('v')?;
    let canonical = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
    let version = number.parse().ok().filter(|_| canonical)?;
    Some((dataset_id, version, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::{METADATA, key, parse};

    #[test]
    fn a_key_and_its_version_are_found_from_each_other() {
        let dataset = "parcels.2026".parse().unwrap();
        let text = key(&dataset, 12, METADATA);
        assert_eq!(text, "parcels.2026/v12/metadata.json");
        assert_eq!(parse(&text), Some((dataset, 12, METADATA)));
        for foreign in ["readme.txt", "a/b/c", "a/v0/x", "a/v01/x", "a/v+1/x", "../v1/x", "a/v1"] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }
}
