//! What is exchanged between the processes of Catchment, and with its users.
//!
//! Here: the [`manifest`] that announces a batch, with its validation; the ledger's [`documents`] and their
//! ids ([`id`]); the [`schemas`] (JSON Schema, draft 2020-12) generated from these types and committed under
//! `schemas/`; addresses of objects ([`s3_path`]); CRS and bounds ([`space`]); what a user reads when
//! something is wrong ([`problem`]).
//!
//! Not here: I/O, clocks, an async runtime, random numbers, or anything spatial that computes. Time and
//! randomness are passed in.

pub mod documents;
pub mod id;
pub mod manifest;
pub mod problem;
pub mod s3_path;
pub mod schemas;
pub mod space;

pub use documents::{ActivityLog, Asset, Dataset, Lineage, ManifestDoc, RejectedManifest, RunDoc, Status};
pub use id::{DatasetId, ObjectId};
pub use manifest::Manifest;
pub use problem::{Code, Fault, Problem};
pub use s3_path::S3Path;
pub use space::{Bounds, Crs};
