//! What the tests of several crates start.
//!
//! Here: a PostgreSQL server, one for each test program, with a database for each test ([`postgres`]).
//!
//! Not here: anything that a program needs which is not a test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod postgres;
