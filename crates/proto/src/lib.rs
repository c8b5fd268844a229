//! gRPC between the control plane and code locations.
//!
//! Here: the generated client and server of `catchment.location.v1` and the number of the protocol. Not here: what the
//! messages mean; that is `catchment-core`, whose types travel as JSON in them.

/// Version 1 of the protocol.
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::allow_attributes_without_reason,
        unreachable_pub,
        reason = "generated from location.proto, which is documented"
    )]
    tonic::include_proto!("catchment.location.v1");
}

/// The version of the protocol that this build speaks. A location that answers another is shown with that error.
pub const PROTOCOL_VERSION: u32 = 1;
