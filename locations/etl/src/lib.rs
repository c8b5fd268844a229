//! The code location `etl_pipelines`: what becomes of a file between the landing zone and the lake.
//!
//! [`definitions`] lists everything. [`manifest_sensor`] admits what [`admission`] allows, [`claims`] finishes what was
//! admitted or refused, [`assets`] are the steps of a run, [`vector`] is the path of a vector file.
//!
//! Not here: the parts that it is glued from (crates `gdal`, `compute`, `formats`, `store`, `lake`), or when things run.

pub mod admission;
pub mod assets;
pub mod claims;
pub mod definitions;
pub mod manifest_sensor;
mod resources;
pub mod vector;
