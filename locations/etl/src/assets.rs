//! The assets of the pipeline.

use std::sync::Arc;
use std::time::Duration;

use catchment::{AssetContext, Config, Input, Res, Staged};
use catchment_compute::{Recipes, SpatialEngine};
use catchment_gdal::Worker;
use catchment_model::Problem;
use catchment_store::Store;

use crate::admission::{self, Admitted};
use crate::definitions::datasets;
use crate::vector;

/// The manifest of the batch, as it was admitted.
#[catchment::asset(group = "ingest", kinds = ["json"], partitions = datasets)]
pub async fn raw_manifest_json(ctx: AssetContext, config: Config<Admitted>) -> Result<Admitted, Problem> {
    admission::job_for(&config.manifest)?;
    ctx.add_metadata("batch_id", config.manifest.batch_id.clone());
    ctx.add_metadata("intent", config.manifest.intent.clone());
    ctx.add_metadata("uploader", config.manifest.uploader.clone());
    Ok(config.0)
}

/// The batch's vector file in the lake: GeoParquet along the Hilbert curve, by the recipe of its intent.
#[catchment::asset(group = "ingest", kinds = ["geoparquet"], partitions = datasets)]
pub async fn raw_spatial_asset(
    ctx: AssetContext,
    #[from("raw_manifest_json")] admitted: Input<Admitted>,
    landing: Res<Store>,
    gdal: Res<Worker>,
    engine: Res<dyn SpatialEngine>,
    recipes: Res<Recipes>,
) -> Result<Staged, Problem> {
    let scratch = ctx.scratch()?;
    let reported = ctx.clone();
    let tools = vector::Tools {
        landing: &landing,
        worker: &gdal,
        engine: &*engine,
        recipes: &recipes,
        scratch: &scratch,
        on_rows: Arc::new(move |rows, of| reported.progress(rows, of, "rows")),
    };
    let (staged, produced) = vector::stage(tools, &admitted.manifest).await?;
    for check in vector::checks(&produced) {
        ctx.report_check(check);
    }
    let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let [fetched, first_row, written] = produced.seconds;
    ctx.add_metadata("fetched_ms", millis(fetched));
    ctx.add_metadata("first_row_ms", millis(first_row));
    ctx.add_metadata("written_ms", millis(written));
    ctx.add_metadata("worker_peak_mb", produced.summary.peak_rss / 1_000_000);
    ctx.add_metadata("repaired", produced.report.repaired);
    Ok(staged)
}
