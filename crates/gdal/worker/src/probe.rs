//! Shows what confines the worker on this machine.

use std::process::ExitCode;

/// `catchment-gdal sandbox`.
pub(crate) fn run(_arguments: &[&str]) -> ExitCode {
    ExitCode::SUCCESS
}
