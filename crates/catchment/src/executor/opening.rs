//! The run in the ledger: opened beside the first steps, and before the first commit.

use catchment_model::Problem;
use tokio::sync::OnceCell;

use crate::definitions::OUTPUT_STORE;
use crate::output::{OpenRun, OutputStore};
use crate::resource::Resources;

/// The opening of a run in the ledger: done once, by whoever needs it first, and tried again where it failed.
#[derive(Default)]
pub(crate) struct Opening {
    /// What the ledger is told, and by whom; none where the run commits nothing.
    run: Option<(OpenRun, Resources)>,
    done: OnceCell<()>,
}

impl Opening {
    /// The opening of this run.
    pub(crate) fn of(run: OpenRun, resources: Resources) -> Self {
        let commits = !run.expected_outputs.is_empty();
        Self { run: commits.then_some((run, resources)), done: OnceCell::new() }
    }

    /// Waits until the ledger knows of the run.
    ///
    /// # Errors
    /// Of the output store; the next call tries again.
    pub(crate) async fn done(&self) -> Result<(), Problem> {
        let Some((run, resources)) = &self.run else { return Ok(()) };
        let open = async || resources.get::<dyn OutputStore>(OUTPUT_STORE).await?.open_run(run.clone()).await;
        self.done.get_or_try_init(open).await.copied()
    }
}
