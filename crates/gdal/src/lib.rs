//! The way to GDAL: what the worker and its callers say to each other, and the caller's side of it.
//!
//! One file is read by one child process, `catchment-gdal`, which links libgdal, locks itself into a
//! sandbox, and sends the file's features back as Arrow record batches over its pipe. Whatever happens
//! inside GDAL (a crash, a hang, a memory bomb) ends that process and nothing else.
//!
//! Here:
//! - [`format`]: the vector formats that are accepted, under which names, and which files belong to one;
//! - [`protocol`]: request, header, trailer and sandbox report as JSON; [`Limits`];
//! - [`frame`]: how they and the Arrow stream share one pipe, so that a cut pipe is never taken for the end;
//! - [`Worker`] and [`VectorReader`]: starting the process, reading from it, stopping it, and saying in
//!   [`Problem`](catchment_model::problem::Problem)s how it died.
//!
//! Not here: libgdal, any decision about what to do with the rows, any change of coordinates. Geometry is
//! ISO WKB in the Binary column `geom`, in the file's own CRS, always in the order x, y.

mod child;
mod death;
pub mod format;
pub mod frame;
mod pipes;
pub mod protocol;
mod reader;
mod worker;

pub use protocol::{Limits, SandboxReport, Trailer, VectorHeader};
pub use reader::{ReadSummary, VectorReader};
pub use worker::{LineSink, ReadRequest, Worker};

/// The name of the geometry column that the worker sends.
pub const GEOMETRY_COLUMN: &str = "geom";
