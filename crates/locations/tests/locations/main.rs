//! The registry against code servers that do what a test wants.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod code_server;
mod registry;
mod support;
