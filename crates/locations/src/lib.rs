//! Code locations, seen from the control plane.
//!
//! Here: what a code location can be asked ([`LocationClient`]) and a workspace of them as others see it
//! ([`Locations`]), behind traits so that a simulation can stand in; gRPC to ask one over TCP or a Unix socket
//! ([`GrpcClient`]); the registry that looks after each location by a task of its own ([`Registry`]), so that one that
//! is down, slow or broken never disturbs another and is shown with its error and its last known definitions; the
//! code servers of those that are given by a binary (`code_server`); and a process that is started and watched
//! ([`service`]).
//!
//! Not here: the code server itself (`catchment`), the messages (`catchment-proto`), the state, and what is done with
//! what a location defines (`catchment-daemon`).

mod backoff;
mod client;
mod code_server;
mod grpc;
mod registry;
pub mod service;

pub use client::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result, RunCommand, SharedLocations,
};
pub use grpc::GrpcClient;
pub use registry::Registry;

/// The name of the cursor in the state that says when a reload of a location was asked for last, in microseconds since
/// 1970: whoever sets it higher, and gives the daemon a hint, has the location loaded again.
pub fn reload_cursor(location: &str) -> String {
    format!("reload/{location}")
}
