//! From a staged file to a version.

use std::path::PathBuf;

use catchment_ledger::{Committed, LedgerError, Reservation, new_id};
use catchment_model::documents::{AssetFormat, AssetKind, AssetMetadata, ContentHash, Provenance};
use catchment_model::{ActivityLog, Asset, Bounds, Crs, DatasetId, RunDoc};
use catchment_settings::{clock, failpoint};
use catchment_store::{Attributes, PutMode};
use serde_json::json;

use crate::{Lake, LakeError, Result, iso19115, layout, stac};

/// A finished file in scratch that passed its checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes, 64 lower-case hex digits.
    pub sha256: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// What it holds.
    pub kind: AssetKind,
    /// How it is stored.
    pub format: AssetFormat,
    /// The CRS of its coordinates; none for tables.
    pub crs: Option<Crs>,
    /// Its extent in EPSG:4326, order x, y; none for tables and where there is no geometry.
    pub bounds: Option<Bounds>,
    /// What it is about and how it looks.
    pub metadata: AssetMetadata,
    /// How it was made.
    pub provenance: Provenance,
}

/// What a run shows that it may still commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLease {
    /// The run's UUID, with hyphens.
    pub run_id: String,
    /// The epoch of its lease.
    pub epoch: i64,
}

/// What is to be committed, as what, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitRequest {
    /// The file.
    pub staged: Staged,
    /// The dataset that it becomes a version of.
    pub dataset_id: DatasetId,
    /// The run and its lease.
    pub run: RunLease,
    /// Which output of the run it is: `raw_spatial_asset`.
    pub output: String,
    /// Who is answerable for it, for the activity log.
    pub principal: String,
}

impl Lake {
    /// Commits a staged file. The ledger's insert is the commit point: before it, what was uploaded is garbage;
    /// after it, the version is there. Called again for the same run and output, it answers what is committed
    /// and writes what may still be missing.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] where another process has taken the run over, [`LakeError::Staged`] where the
    /// file is not what was checked, and what ledger and store may answer. Nothing is committed then.
    pub async fn commit(&self, request: CommitRequest) -> Result<Committed> {
        let CommitRequest { staged, dataset_id, run, output, principal } = request;
        if let Some(asset) = self.ledger.committed(&run.run_id, &output).await? {
            self.tell(&asset, &principal).await?;
            return Ok(Committed { asset, already: true });
        }
        let run_doc = self.holder(&run).await?;
        let reserved = self.ledger.reserve_version(&dataset_id, clock::now()).await?;
        failpoint::hit("lake.reserved");

        let asset = describe(&staged, dataset_id, &run, output, reserved, &run_doc)?;
        self.upload(&staged, &asset).await?;
        failpoint::hit("lake.uploaded");

        failpoint::hit("lake.before_commit");
        let committed = self.ledger.commit_asset(asset).await?;
        failpoint::hit("lake.after_commit");
        self.tell(&committed.asset, &principal).await?;
        failpoint::hit("lake.after_activity");
        Ok(committed)
    }

    /// The run's document, if the caller's lease is the newest: spares an upload that could not be committed.
    async fn holder(&self, run: &RunLease) -> Result<RunDoc> {
        let found = self.ledger.run_doc(&run.run_id).await?;
        let found = found.ok_or_else(|| LedgerError::NotFound(format!("run {}: it was not opened", run.run_id)))?;
        if found.lease_epoch != run.epoch {
            let lost = LedgerError::LeaseLost { run: run.run_id.clone(), epoch: run.epoch, newest: found.lease_epoch };
            return Err(lost.into());
        }
        Ok(found)
    }

    async fn upload(&self, staged: &Staged, asset: &Asset) -> Result<()> {
        let attributes = data_attributes(asset);
        let data = self.store.put_file(&asset.s3_key, &staged.path, &attributes, |_| {});
        // None is given up when another fails: what is there afterwards does not depend on who was faster.
        let (stored, described) = futures::join!(data, self.describe_version(asset, staged.crs.as_ref()));
        let stored = stored?;
        if stored.sha256 != staged.sha256 || stored.bytes != staged.bytes {
            return Err(LakeError::Staged {
                path: staged.path.display().to_string(),
                cause: format!(
                    "{} bytes with SHA-256 {} were checked, {} bytes with {} are there",
                    staged.bytes, staged.sha256, stored.bytes, stored.sha256
                ),
            });
        }
        described
    }

    /// Writes the two documents beside the data; may be repeated.
    pub(crate) async fn describe_version(&self, asset: &Asset, crs: Option<&Crs>) -> Result<()> {
        let documents = [
            (layout::METADATA, "application/json", iso19115::document(asset, crs, &self.store.place(&asset.s3_key))),
            (layout::STAC_ITEM, "application/geo+json", stac::item(asset, crs)),
        ];
        for (file, media_type, document) in documents {
            let key = layout::key(&asset.dataset_id, asset.version, file);
            let attributes = Attributes::of_type(media_type)
                .with("mongodb_doc_id", asset.id.to_string())
                .with("run_id", asset.dagster_run_id.as_str());
            self.store.put_bytes(&key, format!("{document:#}\n"), &attributes, PutMode::Overwrite).await?;
        }
        Ok(())
    }

    /// What follows a commit; may be repeated.
    async fn tell(&self, asset: &Asset, principal: &str) -> Result<()> {
        let details = json!({
            "dataset_id": asset.dataset_id,
            "version": asset.version,
            "s3_key": asset.s3_key,
            "content_hash": asset.content_hash,
            "bytes": asset.bytes,
            "run_id": asset.dagster_run_id,
            "output": asset.output,
            "batch_id": asset.provenance.batch_id,
        });
        let entry = ActivityLog {
            id: new_id(asset.created_at),
            timestamp: asset.created_at,
            user: principal.to_owned(),
            action: "asset.commit".into(),
            resource_type: "asset".into(),
            resource_id: asset.id.to_string(),
            details: details.as_object().cloned().unwrap_or_default(),
            event_key: Some(format!("asset.commit:{}:{}", asset.dagster_run_id, asset.output)),
        };
        self.ledger.log_activity(entry).await?;
        Ok(())
    }
}

/// What is kept with the data object: its end of the link between lake and ledger.
pub(crate) fn data_attributes(asset: &Asset) -> Attributes {
    Attributes::of_type(asset.format.media_type())
        .with("mongodb_doc_id", asset.id.to_string())
        .with("run_id", asset.dagster_run_id.as_str())
        .with("content_hash", asset.content_hash.as_str())
}

fn describe(
    staged: &Staged,
    dataset_id: DatasetId,
    run: &RunLease,
    output: String,
    reserved: Reservation,
    run_doc: &RunDoc,
) -> Result<Asset> {
    let content_hash = ContentHash::from_hex(&staged.sha256)
        .map_err(|e| LakeError::Staged { path: staged.path.display().to_string(), cause: e.to_string() })?;
    let now = clock::now();
    Ok(Asset {
        id: reserved.asset_id,
        s3_key: layout::data_key(&dataset_id, reserved.version, staged.format),
        dataset_id,
        version: reserved.version,
        content_hash,
        bytes: staged.bytes,
        run_id: run_doc.id,
        dagster_run_id: run.run_id.clone(),
        output,
        lease_epoch: run.epoch,
        kind: staged.kind,
        format: staged.format,
        crs: staged.crs.as_ref().map(|crs| crs.authority.clone().unwrap_or_else(|| crs.wkt.clone())),
        bounds: staged.bounds,
        metadata: staged.metadata.clone(),
        provenance: staged.provenance.clone(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    })
}
