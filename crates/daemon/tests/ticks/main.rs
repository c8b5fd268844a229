//! Sensors, schedules, automation, freshness, alerts and retention, step by step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod automation;
mod followed;
mod freshness;
mod retention;
mod schedules;
mod sensors;
mod stage;
mod together;
