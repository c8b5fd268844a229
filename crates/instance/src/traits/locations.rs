//! What is known of code locations, also while they are away.

use async_trait::async_trait;
use catchment_core::definitions::LocationSnapshot;
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Result;

/// A code location as it was seen last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LocationRecord {
    /// Its name.
    pub name: String,
    /// Its last definitions; `None` where it never answered.
    pub snapshot: Option<LocationSnapshot>,
    /// When they were loaded.
    pub loaded_at: Option<Timestamp>,
    /// Why it does not answer now (`unavailable`), or what is wrong with its definitions (any other code).
    pub problem: Option<Problem>,
    /// Since when it is as it is: away or here.
    pub since: Timestamp,
}

impl LocationRecord {
    /// Whether it answers.
    pub fn is_here(&self) -> bool {
        self.snapshot.is_some() && self.problem.as_ref().is_none_or(|problem| problem.code != Code::Unavailable)
    }
}

/// Locations.
#[async_trait]
pub trait Locations: Send + Sync {
    /// All of them, in the order of names.
    async fn locations(&self) -> Result<Vec<LocationRecord>>;
    /// Writes one.
    async fn save_location(&self, location: &LocationRecord) -> Result<()>;
    /// Forgets one that the workspace does not list any more.
    async fn forget_location(&self, name: &str) -> Result<()>;
}
