//! The sandbox.

use std::path::PathBuf;

use catchment_gdal::protocol::{Limits, SandboxReport};

/// What the process may do from now on.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// The files that it may read.
    pub(crate) inputs: Vec<PathBuf>,
    /// The one folder that it may write to.
    pub(crate) scratch: PathBuf,
    /// What it may use up.
    pub(crate) limits: Limits,
}

/// Locks the process in.
pub(crate) fn enter(policy: &Policy) -> SandboxReport {
    SandboxReport::default()
}
