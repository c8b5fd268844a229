//! Versions in the lake, taken from its ledger.

use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::metadata::Metadata;
use catchment_model::{Code, Problem};

use super::{IoManager, OutputContext, not_kept};
use crate::output::{OutputStore, SharedValue};

/// The name that events call it by where no output names it.
pub(crate) const NAME: &str = "catchment/lake";

/// Takes versions that were committed to the lake: an asset that returns [`Staged`](crate::Staged) is, for assets
/// downstream in a later run, the newest version of the dataset that is the partition, as the ledger has it then. What
/// was deleted is not there any more. It is the IO manager of such outputs where they name no other; there is nothing to
/// keep, for they are committed already.
#[derive(Clone)]
pub struct LakeIoManager {
    store: Arc<dyn OutputStore>,
}

impl LakeIoManager {
    /// What was committed to this store.
    pub fn new(store: Arc<dyn OutputStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl IoManager for LakeIoManager {
    async fn handle_output(&self, _: &OutputContext, _: &SharedValue) -> Result<Metadata, Problem> {
        Ok(Metadata::new())
    }

    async fn load_input(&self, context: &OutputContext) -> Result<SharedValue, Problem> {
        let (found, place) = match (&context.asset_key, &context.partition) {
            (Some(key), Some(dataset_id)) => {
                (self.store.newest(dataset_id, key).await?, format!("dataset {dataset_id}, output {key}"))
            }
            (Some(key), None) => {
                return Err(Problem::new(Code::InvalidInput, format!("no dataset of `{key}` is named"))
                    .place(format!("asset {key}"))
                    .cause("a version in the lake is that of the dataset that is its partition")
                    .remedy("launch the run with a partition, or map the partitions of the two assets"));
            }
            (None, _) => {
                let (run_id, output) = (context.run_id, &context.step_key);
                (self.store.committed(run_id, output).await?, format!("run {run_id}, output {output}"))
            }
        };
        match found {
            Some(committed) => Ok(Arc::new(committed)),
            None => Err(not_kept(context, &place)),
        }
    }
}
