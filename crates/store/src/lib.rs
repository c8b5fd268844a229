//! The S3 client, for the embedded server and any other.
//!
//! - [`Store`] is one bucket: bytes and files in ([`put`]) and out ([`get`]), with hashes and entity tags;
//! - [`manage`] is what is done with objects as they lie: list, copy, delete, each also conditionally;
//! - [`sign`] makes presigned addresses (Signature Version 4 in the query).
//!
//! Keys are taken as they are, byte for byte. Transfers go through `object_store` (retries, multipart);
//! conditional deletes and copies, which it does not know, and listings, which it refuses where somebody put a
//! key with empty segments, are signed here. Nothing is looked up at the start: no credential chain, no network.
//!
//! Not here: what the objects mean (`catchment-lake`), the server (`catchment-s3-server`).

mod client;
pub mod error;
pub mod get;
pub mod manage;
pub mod put;
pub mod sign;
mod xml;

pub use client::{Store, StoreConfig};
pub use error::{Result, StoreError};
pub use get::{Fetched, ObjectInfo};
pub use manage::Listed;
pub use put::{Attributes, PutMode, Stored};
