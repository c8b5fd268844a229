//! Runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use catchment_model::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a run: a UUID, written with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new random id (UUID version 4).
    pub fn random() -> Self {
        SEEDED.with_borrow_mut(|seeded| match seeded {
            None => Self(Uuid::new_v4()),
            Some(sequence) => Self(uuid::Builder::from_random_bytes(sequence.next().to_be_bytes()).into_uuid()),
        })
    }

    /// What stands in an event that belongs to no run: one that was reported from outside, or by a sensor.
    pub const NONE: Self = Self(Uuid::nil());
}

thread_local! {
    static SEEDED: RefCell<Option<Sequence>> = const { RefCell::new(None) };
}

/// From now on, the ids that [`RunId::random`] gives on this thread follow from a seed: for simulations that are to be
/// played again.
pub fn seed_run_ids(seed: u64) {
    SEEDED.set(Some(Sequence { seed, count: 0 }));
}

/// Numbers that look random and are not.
struct Sequence {
    seed: u64,
    count: u64,
}

impl Sequence {
    /// The next one: a mix (SplitMix64) of the seed and of how many there were before.
    fn next(&mut self) -> u128 {
        let mix = |n: u64| {
            let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ (n >> 31)
        };
        self.count += 1;
        let high = mix(mix(self.seed).wrapping_add(self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        u128::from(high) << 64 | u128::from(mix(high))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// Where a run stands. The names are Dagster's, in upper case in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Made, not yet given to the queue.
    NotStarted,
    /// Waits for its turn.
    Queued,
    /// Its process is being started.
    Starting,
    /// Its process works.
    Started,
    /// Ended well.
    Success,
    /// Ended with an error.
    Failure,
    /// Was asked to end early.
    Canceling,
    /// Ended early, as asked.
    Canceled,
    /// Kept by someone outside, who reports what becomes of it.
    Managed,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NotStarted,
        Self::Queued,
        Self::Starting,
        Self::Started,
        Self::Success,
        Self::Failure,
        Self::Canceling,
        Self::Canceled,
        Self::Managed,
    ];

    /// Whether nothing more happens to a run in this status.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Canceled)
    }

    /// Whether a run in this status counts against the limit of concurrent runs.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Starting | Self::Started | Self::Canceling)
    }

    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Queued => "QUEUED",
            Self::Starting => "STARTING",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Canceling => "CANCELING",
            Self::Canceled => "CANCELED",
            Self::Managed => "MANAGED",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| format!("`{text}` is no run status"))
    }
}

/// What of a job a run is about. Empty: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// These assets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<String>,
    /// These checks, as `<asset>:<check>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
    /// These steps; what they need from others is taken from the parent run. The assets and checks beside them say which
    /// of theirs these steps make; a step none of whose is named makes all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

impl Selection {
    /// Whether it is about everything.
    pub fn is_everything(&self) -> bool {
        self.assets.is_empty() && self.checks.is_empty() && self.steps.is_empty()
    }
}

/// What names a run for ever: a second run with the same scope and key is never made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// Who asks: `sensor:<location>/<name>`, `schedule:<location>/<name>`, `backfill:<id>`, `retry:<run id>`.
    pub scope: String,
    /// What is asked for.
    pub key: String,
}

/// What it takes to make a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// Its id, chosen by the maker.
    pub run_id: RunId,
    /// The job to run.
    pub job_name: String,
    /// The code location that defines the job.
    pub location: String,
    /// Run config, checked against the job's schema before the run is made.
    pub run_config: serde_json::Value,
    /// Tags, reserved ones among them ([`crate::tags`]).
    pub tags: BTreeMap<String, String>,
    /// The partition, also in the tag `dagster/partition`.
    pub partition_key: Option<String>,
    /// What of the job is to run.
    #[serde(default)]
    pub selection: Selection,
    /// The run that it re-executes, also in the tag `dagster/parent_run_id`.
    #[serde(default)]
    pub parent_run_id: Option<RunId>,
    /// The first run of the chain of re-executions, also in the tag `dagster/root_run_id`.
    #[serde(default)]
    pub root_run_id: Option<RunId>,
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run_id: RunId,
    /// The job.
    pub job_name: String,
    /// The code location that defines the job.
    pub location: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Run config.
    pub run_config: serde_json::Value,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The partition.
    pub partition_key: Option<String>,
    /// What of the job is to run.
    #[serde(default)]
    pub selection: Selection,
    /// The run that it re-executes.
    #[serde(default)]
    pub parent_run_id: Option<RunId>,
    /// The first run of the chain of re-executions.
    #[serde(default)]
    pub root_run_id: Option<RunId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its process was asked for (STARTING).
    pub launched_at: Option<Timestamp>,
    /// When its process began (STARTED).
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The epoch of the newest lease: rises each time that the run is handed to a process or taken from one.
    pub lease_epoch: i64,
    /// Until when the process that holds the lease is believed to live.
    pub lease_until: Option<Timestamp>,
    /// What the launcher knows the process that holds the lease by, once it is noted. Only the launcher reads it.
    pub process: Option<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
}
