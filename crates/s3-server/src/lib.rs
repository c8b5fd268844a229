//! The embedded S3 server, for installations without MinIO: a folder, served over HTTP to any S3 client.
//!
//! - `index` is the truth of what exists: buckets, objects, uploads (SQLite, `index.db`);
//! - `blobs` holds bytes in files under names that no client chooses, so a key never touches the file system;
//! - `body` receives an upload: bounded memory, digests as it passes, synced before it counts; `read` answers one;
//! - `api` is S3's operations on these; `conditions`, `checksums` and `attributes` are their vocabulary;
//! - [`keys`] are the named keys and their roles, `access` applies them;
//! - [`server`] is the process: lock, port, connections, sweep.
//!
//! A put is a blob file, synced with its folder, and then one transaction of the index: an object is visible
//! whole or not at all, and what was answered with success is on disk. Blobs that no transaction took in are
//! swept at the next start.
//!
//! Wire format and signatures are `s3s`'s. Not here: the S3 *client* (`catchment-store`), and anything that knows
//! what a manifest says; only that a new object under `manifests/` wakes the daemon.

mod access;
mod api;
mod attributes;
mod blobs;
mod body;
mod checksums;
mod conditions;
mod index;
pub mod keys;
mod read;
pub mod server;

pub use attributes::PRINCIPAL_METADATA;
pub use server::{Config, Server, serve};
