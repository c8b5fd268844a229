//! The code locations of the workspace: each looked after by a task of its own, so that one that is down, slow or
//! broken never disturbs another and is shown with its error and its last known definitions.
//!
//! - `registry`: what is known of each location;
//! - `code_server`: starts, watches and replaces the code server of a location that is given by a binary;
//! - `keeper`: writes what is known to the state, and passes on who asks for a reload.

mod code_server;
mod keeper;
mod registry;

pub use catchment_locations::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result, RunCommand, SharedLocations,
};
pub(crate) use keeper::Keeper;
pub use keeper::{RELOAD_CURSOR_PREFIX, request_reload};
pub use registry::Registry;
