//! Writes what is known of the locations to the state, where the web server reads it, and passes on requests to load
//! one again, which come the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use catchment_instance::LocationRecord;
use catchment_locations::{LocationState, reload_cursor};
use catchment_model::Problem;
use tokio::sync::watch;

use crate::context::Context;
use crate::reconcile::Reconcile;

/// Between two looks; a change and a request come with a hint.
const INTERVAL: Duration = Duration::from_secs(5);

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
            let asked = instance.follow_cursor(&reload_cursor(&state.name)).await?.unwrap_or(0);
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
