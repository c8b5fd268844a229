//! What is exchanged between the processes of Catchment, and with its users.
//!
//! Here: what a user reads when something is wrong ([`problem`]), CRS and bounds ([`space`]).
//!
//! Not here: I/O, clocks, an async runtime, or anything spatial that computes.

pub mod problem;
pub mod space;

pub use problem::{Code, Fault, Problem};
pub use space::{Bounds, Crs};
