//! What is done to vector data between a reader and the lake: recipes, and the spatial SQL engine they run on.
//!
//! Here: recipes as files, checked when loaded ([`recipe`]); their rendering to one SQL statement for each
//! dialect ([`sql`]); the engine's interface ([`engine`]) and its implementation on SedonaDB ([`sedona`]);
//! PROJ with a record of which operation was used ([`proj`]); the Hilbert curve that files are sorted along
//! ([`hilbert`]).
//!
//! Not here: reading files (crate `gdal`), writing them (crate `formats`), or knowing where they go (crates
//! `store` and `lake`). GEOS and PROJ are touched in this crate alone, each in one module.

pub mod engine;
mod geos;
pub mod hilbert;
pub mod proj;
pub mod recipe;
pub mod sedona;
pub mod sql;

pub use engine::{CrsOperation, Limits, Report, SpatialEngine, TransformJob, Transformed};
pub use recipe::{AppliesTo, Recipe, Recipes};
pub use sedona::SedonaEngine;
