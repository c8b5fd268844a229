//! Partitions definitions.

use catchment_core::definitions::{PartitionsKind, PartitionsSpec};

/// The keys by which assets are divided.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionsDefinition(pub(crate) PartitionsSpec);

impl PartitionsDefinition {
    /// A set of keys that grows at run time: sensors add to it.
    pub fn dynamic(name: &str) -> Self {
        Self(PartitionsSpec { name: name.to_owned(), kind: PartitionsKind::Dynamic })
    }

    /// A fixed list of keys.
    pub fn fixed<const N: usize>(name: &str, keys: [&str; N]) -> Self {
        let keys = keys.map(str::to_owned).to_vec();
        Self(PartitionsSpec { name: name.to_owned(), kind: PartitionsKind::Static { keys } })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}
