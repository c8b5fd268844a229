//! Writes what is known of the locations to the state, where the web server reads it, and passes on requests to load
//! one again, which come the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_instance::{LocationRecord, SharedInstance};
use catchment_locations::LocationState;
use catchment_model::Problem;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::context::Context;
use crate::reconcile::Reconcile;

/// The names of the cursors that say when a reload was asked for last, before the name of the location.
pub const RELOAD_CURSOR_PREFIX: &str = "reload/";
/// Between two looks; a change and a request come with a hint.
const INTERVAL: Duration = Duration::from_secs(5);

/// Asks the leading daemon to load a location again. Give it a hint afterwards.
///
/// # Errors
/// Where the state cannot be written.
pub async fn request_reload(instance: &SharedInstance, location: &str, now: Timestamp) -> Result<(), Problem> {
    let cursor = format!("{RELOAD_CURSOR_PREFIX}{location}");
    Ok(instance.set_follow_cursor(&cursor, now.as_microsecond()).await?)
}

/// Keeps the state in step with the registry.
pub(crate) struct Keeper {
    context: Context,
    /// What was written; `None` before the first look.
    written: Option<HashMap<String, Arc<LocationState>>>,
    /// The requests that were passed on.
    asked: HashMap<String, i64>,
}

impl Keeper {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, written: None, asked: HashMap::new() }
    }
}

#[async_trait]
impl Reconcile for Keeper {
    fn name(&self) -> &str {
        "locations"
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_sensors())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        let instance = &self.context.instance;
        let states = self.context.locations.all();
        for state in &states {
            let cursor = format!("{RELOAD_CURSOR_PREFIX}{}", state.name);
            let asked = instance.follow_cursor(&cursor).await?;
            // A request from before this daemon led was answered by its start.
            if self.asked.insert(state.name.clone(), asked).is_some_and(|before| before < asked) {
                self.context.locations.reload(&state.name);
            }
        }
        if self.written.is_none() {
            for record in instance.locations().await? {
                if !states.iter().any(|state| state.name == record.name) {
                    instance.forget_location(&record.name).await?;
                }
            }
        }
        let written = self.written.get_or_insert_default();
        for state in states {
            if written.get(&state.name).is_none_or(|old| !Arc::ptr_eq(old, &state)) {
                let record = LocationRecord {
                    name: state.name.clone(),
                    snapshot: state.snapshot.as_deref().cloned(),
                    loaded_at: state.loaded_at,
                    problem: state.problem.clone(),
                    since: state.since,
                };
                instance.save_location(&record).await?;
                written.insert(state.name.clone(), state);
            }
        }
        Ok(INTERVAL)
    }
}
