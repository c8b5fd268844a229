//! What the lake's files look like, as streams of Arrow record batches.
//!
//! Here: the GeoParquet 1.1 writer ([`geoparquet`]), the schema of columns that the ledger keeps
//! ([`columns`]), the scanner of well-known binary that both need ([`wkb`]), and the pump that leads a
//! stream into a writer with back-pressure ([`pump`]).
//!
//! Not here: anything that computes on geometry (crate `compute`), GDAL (crate `gdal`), or knows where a
//! file goes (crates `store` and `lake`). No GEOS and no PROJ.

pub mod columns;
pub mod geoparquet;
mod hashing;
pub mod pump;
pub mod wkb;

pub use columns::column_schema;
pub use geoparquet::{GeoOptions, GeoParquetWriter, Written};
pub use pump::write_stream;
