//! Removes what no document speaks of: uploads that were never committed, and bytes of deleted versions.

use std::collections::HashMap;
use std::time::Duration;

use catchment_model::{Asset, DatasetId};
use catchment_settings::clock;
use catchment_store::{Listed, StoreError};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;

use crate::{Lake, OnProgress, Progress, Result, layout};

/// How long an upload without a document may lie about, unless told otherwise.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// How to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// Say what would be removed, and remove nothing.
    pub dry_run: bool,
    /// How old garbage must be.
    pub grace: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { dry_run: false, grace: GRACE }
    }
}

/// An object that was, or would be, removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Its key.
    pub key: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Why it is garbage.
    pub why: String,
}

/// What was collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GcReport {
    /// Objects that were looked at.
    pub objects: u64,
    /// Objects of uploads that are under way, or not older than the grace period.
    pub pending: u64,
    /// What was removed, or would be.
    pub removed: Vec<Removed>,
    /// The bytes of it.
    pub bytes: u64,
}

/// What is to become of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A document speaks of it.
    Kept,
    /// It may yet be committed, or is too young to say.
    Pending,
    /// It is garbage, and why.
    Garbage(String),
}

/// Decides over objects. What it asked the ledger about a version is remembered while that version's objects
/// pass (a listing has them together).
pub(crate) struct Judge<'a> {
    lake: &'a Lake,
    now: Timestamp,
    grace: Duration,
    version: Option<((DatasetId, u64), Option<Asset>)>,
    runs: HashMap<String, bool>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(lake: &'a Lake, now: Timestamp, grace: Duration) -> Self {
        Self { lake, now, grace, version: None, runs: HashMap::new() }
    }

    pub(crate) async fn fate(&mut self, object: &Listed) -> Result<Fate> {
        let Some((dataset, version, file)) = layout::parse(&object.key) else {
            return Ok(self.aged(object.last_modified, "it belongs to no version"));
        };
        match self.asset(&dataset, version).await? {
            Some(asset) => {
                if let Some(deleted_at) = asset.deleted_at {
                    return Ok(self.aged(deleted_at, "its version was deleted"));
                }
                let known = file == asset.format.file_name() || file == layout::METADATA || file == layout::STAC_ITEM;
                if known { Ok(Fate::Kept) } else { Ok(self.aged(object.last_modified, "its version has no such file")) }
            }
            None if self.belongs_to_live_run(&object.key).await? => Ok(Fate::Pending),
            None => Ok(self.aged(object.last_modified, "it was uploaded and never committed")),
        }
    }

    fn aged(&self, since: Timestamp, why: &str) -> Fate {
        let age = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        if age >= self.grace { Fate::Garbage(why.to_owned()) } else { Fate::Pending }
    }

    async fn asset(&mut self, dataset: &DatasetId, version: u64) -> Result<Option<Asset>> {
        if let Some(((known, number), asset)) = &self.version
            && (known, *number) == (dataset, version)
        {
            return Ok(asset.clone());
        }
        let asset = self.lake.ledger.asset_version(dataset, version).await?;
        self.version = Some(((dataset.clone(), version), asset.clone()));
        Ok(asset)
    }

    /// Whether the run that uploaded it has not ended, as far as the ledger knows.
    async fn belongs_to_live_run(&mut self, key: &str) -> Result<bool> {
        let run = match self.lake.store.head(key).await {
            Ok(info) => info.metadata.get("run_id").cloned(),
            Err(StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(run) = run else { return Ok(false) };
        if let Some(live) = self.runs.get(&run) {
            return Ok(*live);
        }
        let live = self.lake.ledger.run_doc(&run).await?.is_some_and(|doc| !doc.status.is_final());
        self.runs.insert(run, live);
        Ok(live)
    }
}

impl Lake {
    /// Removes garbage that is older than the grace period and not of a live run. May be cut off and repeated.
    ///
    /// # Errors
    /// Where ledger or store are out of reach; what was removed until then is removed.
    pub async fn gc(&self, options: GcOptions, progress: OnProgress<'_>) -> Result<GcReport> {
        let mut report = GcReport::default();
        let mut judge = Judge::new(self, clock::now(), options.grace);
        let mut objects = self.store.list("");
        while let Some(object) = objects.next().await {
            let object = object?;
            progress(Progress { phase: "objects", done: report.objects, place: &object.key });
            report.objects += 1;
            match judge.fate(&object).await? {
                Fate::Kept => {}
                Fate::Pending => report.pending += 1,
                Fate::Garbage(why) => {
                    if !options.dry_run && !self.remove(&object).await? {
                        report.pending += 1;
                        continue;
                    }
                    report.bytes += object.size;
                    report.removed.push(Removed { key: object.key, bytes: object.size, why });
                }
            }
        }
        Ok(report)
    }

    /// Removes an object that is still the one that was judged; `false` where it was written anew meanwhile.
    async fn remove(&self, object: &Listed) -> Result<bool> {
        match self.store.delete_if_match(&object.key, &object.etag).await {
            Ok(()) => Ok(true),
            Err(StoreError::PreconditionFailed { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
