//! x
pub mod flaky;
pub mod world;
