//! The code locations of the workspace. Their clients, and who looks after each of them, are `catchment-locations`.

mod keeper;

pub use catchment_locations::{
    Described, Evaluated, LocationClient, LocationError, LocationState, Locations, Result, RunCommand, SharedLocations,
};
pub(crate) use keeper::Keeper;
