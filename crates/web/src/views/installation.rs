//! What the API answers about the installation itself: keys, parts, health, long work.

use catchment_model::Problem;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A key of the S3 server, without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    /// Whose it is.
    pub name: String,
    /// The public half.
    pub access_key: String,
    /// `admin`, `uploader` or `reader`.
    pub role: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The half that signs; shown once, when the key is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<String>,
}

/// The named keys of the S3 server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// The keys, in the order in which they were made.
    pub keys: Vec<KeyView>,
}

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NewKey {
    /// Whose it is: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, other than `admin`.
    pub name: String,
    /// `uploader` (reads and writes the landing zone, reads the lake) or `reader` (reads the lake).
    pub role: String,
}

/// What this installation is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceView {
    /// The version of the server.
    pub version: String,
    /// The home folder.
    pub home: String,
    /// The bucket that users write to.
    pub landing_bucket: String,
    /// The bucket that users read.
    pub lake_bucket: String,
    /// Where the S3 server is.
    pub s3_url: Option<String>,
    /// The time of the server.
    pub now: Timestamp,
}

/// How the parts are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether every part is well.
    pub healthy: bool,
    /// The parts: `state`, `ledger`, `s3`, `daemon`, and each code location by its name.
    pub parts: Vec<PartHealth>,
}

/// How one part is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartHealth {
    /// Which one.
    pub name: String,
    /// Whether it is well.
    pub healthy: bool,
    /// What was found, in words.
    pub detail: String,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// One line of the answer of a long work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WorkLine {
    /// How far it is.
    Progress {
        /// What is being looked at.
        stage: String,
        /// How many are done.
        done: u64,
        /// How many there are, where that is known.
        total: Option<u64>,
    },
    /// It is done.
    Report {
        /// What came of it.
        report: Value,
    },
    /// It failed.
    Problem {
        /// Why.
        problem: Problem,
    },
}
