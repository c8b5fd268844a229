//! Sensors, schedules, automation, the queue, retries, backfills, freshness, alerts and retention, step by step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod automation;
mod backfills;
mod followed;
mod freshness;
mod leftovers;
mod queue;
mod retention;
mod retries;
mod schedules;
mod sensors;
mod stage;
mod together;
