//! What is said of an asset besides its value: how it was made, and how it was found.

use catchment_core::metadata::{ColumnLineage, Metadata, MetadataValue, TableSchema};

macro_rules! about_an_asset {
    ($name:ident) => {
        impl $name {
            /// Nothing yet.
            pub fn new() -> Self {
                Self::default()
            }

            /// Adds metadata; a name that is there already takes the new value.
            pub fn with(mut self, name: impl Into<String>, value: impl Into<MetadataValue>) -> Self {
                self.metadata.insert(name.into(), value.into());
                self
            }

            /// What stands for the asset's content: the same version means the same data.
            pub fn data_version(mut self, version: impl Into<String>) -> Self {
                self.data_version = Some(version.into());
                self
            }

            /// The columns, as the metadata `dagster/column_schema`.
            pub fn column_schema(self, schema: TableSchema) -> Self {
                self.with("dagster/column_schema", schema)
            }
        }
    };
}

/// How an asset was made: its metadata and data version. An asset returns it beside its value,
/// `Result<(T, Materialization), E>`, or alone where there is no value to hand on.
///
/// ```
/// use catchment::{Materialization, Problem, asset};
///
/// #[asset]
/// async fn parcels() -> Result<(Vec<u32>, Materialization), Problem> {
///     Ok((vec![1, 2], Materialization::new().with("rows", 2).data_version("2026-11")))
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Materialization {
    /// Typed metadata by name.
    pub metadata: Metadata,
    /// The data version.
    pub data_version: Option<String>,
}

about_an_asset!(Materialization);

impl Materialization {
    /// Which columns of other assets each column was made of, as the metadata `dagster/column_lineage`.
    pub fn column_lineage(self, lineage: ColumnLineage) -> Self {
        self.with("dagster/column_lineage", lineage)
    }

    /// Adds what another says: its metadata over this one's, and its data version where it has one.
    pub(crate) fn merge(&mut self, other: Self) {
        self.metadata.extend(other.metadata);
        if other.data_version.is_some() {
            self.data_version = other.data_version;
        }
    }
}

/// How an asset was found that this location does not make, or did not make now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Typed metadata by name.
    pub metadata: Metadata,
    /// The data version.
    pub data_version: Option<String>,
}

about_an_asset!(Observation);
