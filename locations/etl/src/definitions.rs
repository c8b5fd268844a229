//! The one place to look: all that `etl_pipelines` defines.

use std::sync::Arc;

use catchment::{Definitions, OutputStore, PartitionsDefinition, asset_job};
use catchment_compute::SpatialEngine;
use catchment_ledger::Ledger;
use catchment_store::Store;

use crate::admission::SPATIAL_ASSET_JOB;
use crate::assets::{raw_manifest_json, raw_spatial_asset};
use crate::claims::finish_manifest;
use crate::manifest_sensor::manifest_sensor;
use crate::resources;

/// The partitions of every asset: one for each dataset, added as manifests name them.
pub fn datasets() -> PartitionsDefinition {
    PartitionsDefinition::dynamic("dataset_id")
}

/// The code location `etl_pipelines`.
pub fn definitions() -> Definitions {
    Definitions::new("etl_pipelines")
        .code_version(env!("CARGO_PKG_VERSION"))
        .partitions(datasets())
        .assets([raw_manifest_json(), raw_spatial_asset()])
        .job(
            asset_job(SPATIAL_ASSET_JOB, ["raw_manifest_json", "raw_spatial_asset"])
                .description("Leads the vector file of a manifest into the lake."),
        )
        .sensor(manifest_sensor())
        .on_claims("manifest_sensor", finish_manifest())
        .resource::<Store, _, _>("landing", |context| async move { Ok(Arc::new(resources::landing(&context)?)) })
        .resource::<dyn Ledger, _, _>("ledger", resources::ledger)
        .resource("gdal", |_| async { resources::worker().map(Arc::new) })
        .resource::<dyn SpatialEngine, _, _>("engine", |_| async { resources::engine() })
        .resource("recipes", |context| async move { resources::recipes(&context).map(Arc::new) })
        .output_store(|context| async move { Ok(Arc::new(resources::lake(context).await?) as Arc<dyn OutputStore>) })
}
