//! Each kind of definition, from its attribute to what it does, without a server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests may fail the test")]

mod assets;
mod configuration;
mod graphs;
mod instigators;
mod values;
