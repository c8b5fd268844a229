//! Proves that lake and ledger agree, both ways.

use std::collections::BTreeSet;
use std::time::Duration;

use catchment_ledger::PageRequest;
use catchment_model::Asset;
use catchment_settings::clock;
use catchment_store::{ObjectInfo, StoreError};
use futures::StreamExt as _;
use serde::Serialize;

use crate::commit::data_attributes;
use crate::gc::{Fate, Judge};
use crate::{Lake, OnProgress, Progress, Result, layout};

/// How to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Mend what can be mended from the other end: the links in an object's metadata, the documents beside it.
    pub repair: bool,
    /// Compare sizes and metadata only; do not read the bytes.
    pub quick: bool,
    /// How long an upload without a document may lie about.
    pub grace: Duration,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { repair: false, quick: false, grace: crate::gc::GRACE }
    }
}

/// What must hold (DESIGN.md, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// A version that the ledger lists has its object.
    DocumentHasObject,
    /// The stored bytes are those that were committed.
    ContentHash,
    /// The object's user metadata leads back to the document.
    BothEndsLinked,
    /// A version is described beside its data.
    Described,
    /// The run's document lists what the run has committed.
    RunListsAsset,
    /// What has no document is not in the lake.
    ObjectHasDocument,
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What should hold.
    pub invariant: Invariant,
    /// The object.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
    /// Whether it was mended just now.
    pub repaired: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Documents that were compared with their objects.
    pub documents: u64,
    /// Documents of versions that are deleted.
    pub deleted: u64,
    /// Objects in the lake.
    pub objects: u64,
    /// Bytes that were read and hashed.
    pub bytes_hashed: u64,
    /// Objects of uploads that are under way, or not older than the grace period.
    pub pending: u64,
    /// What does not hold.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether all holds, or was mended.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired)
    }

    fn add(&mut self, invariant: Invariant, place: String, what: impl Into<String>, remedy: &str, repaired: bool) {
        self.findings.push(Finding { invariant, place, what: what.into(), remedy: remedy.into(), repaired });
    }
}

const REPAIR: &str = "`catchment lake verify --repair` writes it anew from the ledger";
const RESTORE: &str = "restore the object from a copy, or ingest the batch again under a new batch_id";

impl Lake {
    /// Verifies the whole lake.
    ///
    /// # Errors
    /// Where ledger or store are out of reach; what does not hold is a finding, not an error.
    pub async fn verify(&self, options: VerifyOptions, progress: OnProgress<'_>) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let mut page = PageRequest::oldest(200);
        loop {
            let assets = self.ledger.assets(page).await?;
            for asset in &assets.items {
                progress(Progress { phase: "documents", done: report.documents, place: &asset.s3_key });
                if asset.deleted_at.is_some() {
                    report.deleted += 1;
                } else {
                    self.verify_asset(asset, options, &mut report).await?;
                    report.documents += 1;
                }
            }
            if assets.next.is_none() {
                break;
            }
            page.after = assets.next;
        }
        self.verify_objects(options, progress, &mut report).await?;
        Ok(report)
    }

    async fn verify_asset(&self, asset: &Asset, options: VerifyOptions, report: &mut VerifyReport) -> Result<()> {
        let place = self.store.place(&asset.s3_key);
        let object = match self.store.head(&asset.s3_key).await {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => {
                report.add(Invariant::DocumentHasObject, place, "the object is not there", RESTORE, false);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if object.size != asset.bytes {
            let what = format!("it has {} bytes, {} were committed", object.size, asset.bytes);
            report.add(Invariant::ContentHash, place, what, RESTORE, false);
            return Ok(());
        }
        if !options.quick {
            let found = self.store.hash(&asset.s3_key, |_| {}).await?;
            report.bytes_hashed += found.bytes;
            if found.sha256 != asset.content_hash.hex() {
                let what = format!("its SHA-256 is {}, {} was committed", found.sha256, asset.content_hash.hex());
                report.add(Invariant::ContentHash, place, what, RESTORE, false);
                return Ok(());
            }
        }
        self.verify_links(asset, &object, options, report).await?;
        self.verify_documents(asset, options, report).await?;
        let run = self.ledger.run_doc(&asset.dagster_run_id).await?;
        if !run.is_some_and(|run| run.id == asset.run_id && run.asset_ids.contains(&asset.id)) {
            let remedy = "restore the ledger from a copy; the version itself is whole";
            let what = format!("the document of run {} does not list it", asset.dagster_run_id);
            report.add(Invariant::RunListsAsset, place, what, remedy, false);
        }
        Ok(())
    }

    async fn verify_links(
        &self,
        asset: &Asset,
        object: &ObjectInfo,
        options: VerifyOptions,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let wanted = data_attributes(asset);
        let wrong: Vec<_> = wanted
            .metadata
            .iter()
            .filter(|(name, value)| object.metadata.get(name) != Some(value))
            .map(|(name, value)| {
                let found = object.metadata.get(name).map_or("missing", String::as_str);
                format!("{name} is {found} instead of {value}")
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        if options.repair {
            self.store.replace_attributes(&asset.s3_key, &object.etag, &wanted).await?;
        }
        let place = self.store.place(&asset.s3_key);
        report.add(Invariant::BothEndsLinked, place, wrong.join("; "), REPAIR, options.repair);
        Ok(())
    }

    async fn verify_documents(&self, asset: &Asset, options: VerifyOptions, report: &mut VerifyReport) -> Result<()> {
        let mut missing = Vec::new();
        for file in [layout::METADATA, layout::STAC_ITEM] {
            let key = layout::key(&asset.dataset_id, asset.version, file);
            match self.store.head(&key).await {
                Ok(_) => {}
                Err(StoreError::NotFound { .. }) => missing.push(key),
                Err(error) => return Err(error.into()),
            }
        }
        if !missing.is_empty() && options.repair {
            self.describe_version(asset, None).await?;
        }
        for key in missing {
            let place = self.store.place(&key);
            report.add(Invariant::Described, place, "the object is not there", REPAIR, options.repair);
        }
        Ok(())
    }

    async fn verify_objects(
        &self,
        options: VerifyOptions,
        progress: OnProgress<'_>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let mut judge = Judge::new(self, clock::now(), options.grace);
        let mut objects = self.store.list("");
        let mut orphans = BTreeSet::new();
        while let Some(object) = objects.next().await {
            let object = object?;
            progress(Progress { phase: "objects", done: report.objects, place: &object.key });
            report.objects += 1;
            match judge.fate(&object).await? {
                Fate::Kept => {}
                Fate::Pending => report.pending += 1,
                Fate::Garbage(why) => {
                    orphans.insert((self.store.place(&object.key), why));
                }
            }
        }
        for (place, why) in orphans {
            let remedy = "`catchment lake gc` removes it";
            report.add(Invariant::ObjectHasDocument, place, why, remedy, false);
        }
        Ok(())
    }
}
