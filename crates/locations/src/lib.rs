//! Clients of code locations.
//!
//! Here: what a code location can be asked ([`LocationClient`]), a workspace of them as others see it ([`Locations`],
//! behind traits so that a simulation can stand in), and gRPC to ask one over TCP or a Unix socket ([`GrpcClient`]).
//!
//! Not here: the code server itself (`catchment`), the messages (`catchment-proto`), and who keeps an eye on the
//! locations of a workspace and starts their code servers (`catchment-daemon`).

mod client;
mod grpc;

pub use client::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result, RunCommand, SharedLocations,
};
pub use grpc::GrpcClient;
