//! How the resources are built: each when it is first needed, once a process.

use std::path::PathBuf;
use std::sync::Arc;

use catchment::ResourceContext;
use catchment_compute::{Recipes, SedonaEngine, SpatialEngine};
use catchment_gdal::Worker;
use catchment_lake::Lake;
use catchment_ledger::{Ledger, SqliteLedger};
use catchment_model::{Code, Problem};
use catchment_settings::credentials::S3Credentials;
use catchment_store::{Store, StoreConfig};

/// The landing zone's bucket.
pub(crate) fn landing(context: &ResourceContext) -> Result<Store, Problem> {
    store(context, context.environment().landing_bucket.clone())
}

/// The ledger.
pub(crate) async fn ledger(context: ResourceContext) -> Result<Arc<dyn Ledger>, Problem> {
    Ok(Arc::new(SqliteLedger::open(&context.home().ledger_db()).await?))
}

/// The lake's bucket with its ledger.
pub(crate) async fn lake(context: ResourceContext) -> Result<Lake, Problem> {
    let store = store(&context, context.environment().lake_bucket.clone())?;
    Ok(Lake::new(store, context.resource::<dyn Ledger>("ledger").await?))
}

fn store(context: &ResourceContext, bucket: String) -> Result<Store, Problem> {
    let endpoint = context
        .home()
        .endpoints()
        .map_err(|e| {
            Problem::new(Code::Io, "the endpoints of this home cannot be read")
                .place(context.home().root().display().to_string())
                .cause(e.to_string())
        })?
        .s3
        .ok_or_else(|| {
            Problem::new(Code::Unavailable, "no S3 server was started for this home")
                .place(context.home().root().display().to_string())
                .remedy("start `catchment dev`")
        })?;
    let S3Credentials { access_key, secret_key } =
        S3Credentials::load_or_create(context.home(), context.environment())?;
    Ok(Store::new(StoreConfig { endpoint, access_key, secret_key, bucket }))
}

/// The GDAL worker: the program beside this one.
pub(crate) fn worker() -> Result<Worker, Problem> {
    let own = std::env::current_exe()
        .map_err(|e| Problem::new(Code::Io, "the path of this program is unknown").cause(e.to_string()))?;
    let beside: PathBuf = own.with_file_name("catchment-gdal");
    Ok(Worker::new(beside))
}

/// SedonaDB in this process.
pub(crate) fn engine() -> Result<Arc<dyn SpatialEngine>, Problem> {
    Ok(Arc::new(SedonaEngine::new()?))
}

/// The built-in recipes, and those in the home's folder `recipes` where there is one.
pub(crate) fn recipes(context: &ResourceContext) -> Result<Recipes, Problem> {
    let folder = context.home().root().join("recipes");
    if folder.is_dir() { Recipes::with_folder(&folder) } else { Recipes::built_in() }
}
