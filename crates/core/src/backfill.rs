//! Backfills: many partitions of assets or of a job, run in order and under control.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use catchment_model::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The id of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackfillId(pub String);

impl fmt::Display for BackfillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a backfill stands. The names are Dagster's; `PAUSED` is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BackfillStatus {
    /// Runs are asked for as their turn comes.
    Requested,
    /// No further run is asked for until it is resumed; those that exist go on.
    Paused,
    /// Its runs are being cancelled.
    Canceling,
    /// It was cancelled.
    Canceled,
    /// It cannot go on: its runs are being cancelled.
    Failing,
    /// It could not go on.
    Failed,
    /// Every run ended well.
    CompletedSuccess,
    /// Every run has ended, and one at least not well.
    CompletedFailed,
}

impl BackfillStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Requested,
        Self::Paused,
        Self::Canceling,
        Self::Canceled,
        Self::Failing,
        Self::Failed,
        Self::CompletedSuccess,
        Self::CompletedFailed,
    ];

    /// Whether nothing more happens to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Failed | Self::CompletedSuccess | Self::CompletedFailed)
    }

    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Paused => "PAUSED",
            Self::Canceling => "CANCELING",
            Self::Canceled => "CANCELED",
            Self::Failing => "FAILING",
            Self::Failed => "FAILED",
            Self::CompletedSuccess => "COMPLETED_SUCCESS",
            Self::CompletedFailed => "COMPLETED_FAILED",
        }
    }
}

impl FromStr for BackfillStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| format!("`{text}` is no backfill status"))
    }
}

/// How partitions are put into runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum BackfillPolicy {
    /// One run for all partitions, as ranges of keys.
    SingleRun,
    /// Runs of at most so many partitions each.
    MultiRun {
        /// At least 1.
        max_partitions_per_run: u32,
    },
}

impl Default for BackfillPolicy {
    fn default() -> Self {
        Self::MultiRun { max_partitions_per_run: 1 }
    }
}

/// What is to be filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "target", rename_all = "snake_case")]
pub enum BackfillTarget {
    /// A partitioned job.
    Job {
        /// Its name.
        job: String,
        /// The keys, in the order of their runs.
        partitions: Vec<String>,
    },
    /// Assets, level by level.
    Assets {
        /// Their keys.
        assets: Vec<String>,
        /// The keys of the partitions; those that an asset does not have are left out for it. Empty where none of the
        /// assets is partitioned.
        partitions: Vec<String>,
    },
}

/// What it takes to ask for a backfill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewBackfill {
    /// Its id, chosen by the maker: asking again with the same id asks once.
    pub id: BackfillId,
    /// The code location.
    pub location: String,
    /// What is to be filled.
    pub target: BackfillTarget,
    /// How partitions are put into runs; `None` takes each asset's own policy.
    pub policy: Option<BackfillPolicy>,
    /// Run config of every run.
    pub run_config: Value,
    /// Tags of every run.
    pub tags: BTreeMap<String, String>,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
}

/// A backfill as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    /// What was asked for.
    #[serde(flatten)]
    pub request: NewBackfill,
    /// Where it stands.
    pub status: BackfillStatus,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What the daemon notes between two looks at it; `null` before the first.
    pub progress: Value,
    /// Rises with each change; a change is made on the version that it was decided on.
    pub version: i64,
}
