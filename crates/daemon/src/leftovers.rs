//! Removes what runs have left in the home that were deleted since: their raw output and their values.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::{RunId, tags};
use catchment_instance::RunFilter;
use catchment_model::{Code, Problem};
use catchment_settings::Home;
use tokio::sync::watch;

use crate::context::Context;
use crate::reconcile::Reconcile;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(600);

/// Removes folders of runs that were deleted.
pub struct Leftovers {
    context: Context,
    home: Home,
}

impl Leftovers {
    /// In this home.
    pub fn new(context: Context, home: Home) -> Self {
        Self { context, home }
    }

    /// Looks once; answers when to look again. Only a folder whose name is the id of a run goes that was deleted in this
    /// state: of one that it never knew, another state may hold the record. Values stay while a run is there that runs that one again, and may take them over.
    ///
    /// # Errors
    /// Those of the state, and `io` where a folder cannot be read or removed.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        for folder in self.of_deleted_runs(&self.home.run_log_root()).await? {
            remove(&folder).await?;
        }
        for folder in self.of_deleted_runs(&self.home.storage_root()).await? {
            if !self.is_run_again(&folder).await? {
                remove(&folder).await?;
            }
        }
        Ok(INTERVAL)
    }

    async fn of_deleted_runs(&self, root: &Path) -> Result<Vec<PathBuf>, Problem> {
        let found = run_folders(root).map_err(|error| failed(root, &error))?;
        let deleted = self.context.instance.deleted_runs(&found).await?;
        Ok(deleted.into_iter().map(|id| root.join(id.to_string())).collect())
    }

    async fn is_run_again(&self, folder: &Path) -> Result<bool, Problem> {
        let id = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for tag in [tags::ROOT_RUN_ID, tags::PARENT_RUN_ID] {
            let filter = RunFilter { tags: vec![(tag.to_owned(), id.to_owned())], ..RunFilter::default() };
            if self.context.instance.count_runs(&filter).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The runs that have a folder here; what has another name is not ours.
fn run_folders(root: &Path) -> io::Result<Vec<RunId>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // A name that is read as an id and written otherwise is somebody else's.
        let id = name.to_str().and_then(|name| name.parse::<RunId>().ok().filter(|id| id.to_string() == name));
        if entry.file_type()?.is_dir() {
            found.extend(id);
        }
    }
    Ok(found)
}

async fn remove(folder: &Path) -> Result<(), Problem> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(folder, &error)),
        _ => {
            tracing::debug!(folder = %folder.display(), "what a deleted run had left was removed");
            Ok(())
        }
    }
}

fn failed(folder: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Io, "what deleted runs have left cannot be removed")
        .place(folder.display().to_string())
        .cause(error.to_string())
        .remedy("see that the daemon's user may read and write there")
}

#[async_trait]
impl Reconcile for Leftovers {
    fn name(&self) -> &str {
        "leftovers"
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        None
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Leftovers::step(self).await
    }
}
