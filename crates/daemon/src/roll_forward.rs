//! The events that a run's process was about to write when it was lost after its last commit: the same as it would have
//! written, made of what the ledger holds.

use std::collections::{BTreeMap, HashSet};

use catchment_core::definitions::{AssetSpec, LocationSnapshot};
use catchment_core::{Event, EventKind, Level, NewEvent, Run, metadata};
use catchment_instance::Lease;
use catchment_model::{Asset, Problem};
use serde_json::{Value, json};

use crate::Daemon;

/// Writes the materialisations that are missing, and why the daemon does.
pub(crate) async fn write_missing_events(
    daemon: &Daemon,
    run: &Run,
    lease: Lease,
    assets: &[Asset],
    why: &str,
) -> Result<(), Problem> {
    let location = daemon.context.locations.get(&run.location);
    let snapshot = location.and_then(|location| location.snapshot.clone());
    let past = daemon.run_events(lease.run_id).await?;
    let made = past.iter().filter(|event| event.event.kind == EventKind::AssetMaterialization);
    let written: HashSet<&str> = made.filter_map(|event| event.event.asset_key()).collect();
    let now = daemon.context.now();
    let event = |kind, step_key, level, message, data| NewEvent {
        run_id: lease.run_id,
        timestamp: now,
        kind,
        step_key,
        level,
        message,
        data,
    };
    let mut events = vec![event(
        EventKind::EngineEvent,
        None,
        Level::Warning,
        format!("The run's process was lost ({why}) after all its outputs had been committed"),
        Value::Null,
    )];
    for asset in assets.iter().filter(|asset| !written.contains(asset.output.as_str())) {
        let spec = snapshot.as_ref().and_then(|snapshot| snapshot.asset(&asset.output));
        let inputs = match (&snapshot, spec) {
            (Some(snapshot), Some(spec)) => input_versions(daemon, run, snapshot, spec, &past, assets).await?,
            _ => BTreeMap::new(),
        };
        events.push(event(
            EventKind::AssetMaterialization,
            Some(spec.map_or_else(|| asset.output.clone(), |spec| spec.step.clone())),
            Level::Info,
            format!("Materialized {} as {} version {}", asset.output, asset.dataset_id, asset.version),
            json!({
                "asset_key": asset.output,
                "partition": run.partition_key,
                "metadata": metadata::of_version(asset),
                "data_version": asset.content_hash.hex(),
                "data_version_is_user_provided": true,
                "code_version": spec.and_then(|spec| spec.code_version.as_ref()),
                "input_data_versions": inputs,
            }),
        ));
    }
    daemon.context.instance.append(&events, Some(lease)).await?;
    Ok(())
}

/// The data versions of what an asset was made of: as the run itself made it, else the newest. An upstream asset with
/// other partitions is left out: which of them was read only the process knew.
async fn input_versions(
    daemon: &Daemon,
    run: &Run,
    snapshot: &LocationSnapshot,
    asset: &AssetSpec,
    past: &[Event],
    committed: &[Asset],
) -> Result<BTreeMap<String, String>, Problem> {
    let instance = &daemon.context.instance;
    let mut versions = BTreeMap::new();
    for key in &asset.deps {
        let own = committed.iter().find(|asset| asset.output == *key).map(|asset| asset.content_hash.hex().to_owned());
        let said = past
            .iter()
            .rev()
            .map(|event| &event.event)
            .find(|event| event.kind == EventKind::AssetMaterialization && event.asset_key() == Some(key.as_str()));
        let said = said.and_then(|event| event.data["data_version"].as_str()).map(str::to_owned);
        let partitions = snapshot.asset(key).and_then(|upstream| upstream.partitions.as_ref());
        let (version, id) = match (said.or(own), partitions, &run.partition_key) {
            (Some(version), _, _) => (Some(version), None),
            (None, None, _) => {
                let record = instance.assets(std::slice::from_ref(key), None, 1).await?.pop();
                record.map_or((None, None), |record| (record.data_version, record.materialized))
            }
            (None, Some(_), Some(partition)) if partitions == asset.partitions.as_ref() => {
                let state = instance.asset_partitions(key, std::slice::from_ref(partition)).await?.pop();
                state.map_or((None, None), |state| (state.data_version, state.materialized))
            }
            _ => (None, None),
        };
        if let Some(version) = version.or(id.map(|(id, _)| id.to_string())) {
            versions.insert(key.clone(), version);
        }
    }
    Ok(versions)
}
