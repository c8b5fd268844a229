//! Freshness: how each asset with a policy stands, by what the log says of it and by the time.
//!
//! The log itself keeps how an asset stood last: a change is written as an event, so nothing is said twice, whoever
//! looks. All assets are looked at now and then; one that was made, at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::freshness::{FreshnessPolicy, FreshnessState};
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_instance::EventFilter;
use catchment_model::Problem;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::context::Context;
use crate::monitor::later;
use crate::reconcile::Reconcile;

/// Between two looks at all assets.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at what was made; hints may be lost.
const SHORT: Duration = Duration::from_secs(2);
const KINDS: &[EventKind] = &[EventKind::AssetMaterialization, EventKind::AssetObservation, EventKind::AssetWiped];
const PAGE: u32 = 500;

/// An asset that has a policy.
struct Watched {
    policy: FreshnessPolicy,
    /// The location that defines it.
    location: String,
    is_made_here: bool,
}

/// Watches freshness.
pub struct Freshness {
    context: Context,
    /// How each asset stands, as the log says.
    states: HashMap<String, FreshnessState>,
    /// The events that were looked at.
    seen: i64,
    looked_at_all: Option<Timestamp>,
}

impl Freshness {
    /// A watch on the assets of all locations.
    pub fn new(context: Context) -> Self {
        Self { context, states: HashMap::new(), seen: 0, looked_at_all: None }
    }

    /// Writes the changes that there are; answers when to look again.
    ///
    /// # Errors
    /// Those of the state; what was not written is found again.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        if !self.context.config.freshness.enabled {
            return Ok(INTERVAL);
        }
        let now = self.context.now();
        let head = self.context.instance.last_event_id().await?;
        if self.looked_at_all.is_none_or(|last| now >= later(last, INTERVAL)) {
            let policies = self.policies(None);
            self.states.retain(|asset, _| policies.contains_key(asset));
            self.look_at(policies, now).await?;
            self.looked_at_all = Some(now);
            self.seen = head;
            return Ok(SHORT);
        }
        let page = self.context.instance.events_after(self.seen, KINDS, PAGE).await?;
        let is_full = page.len() >= PAGE as usize;
        let until = page.last().map_or(head, |last| if is_full { last.id } else { last.id.max(head) });
        let made: BTreeSet<String> =
            page.iter().filter_map(|event| event.event.asset_key().map(str::to_owned)).collect();
        if !made.is_empty() {
            self.look_at(self.policies(Some(&made)), now).await?;
        }
        self.seen = until;
        Ok(if is_full { Duration::ZERO } else { SHORT })
    }

    /// The assets that have a policy.
    fn policies(&self, only: Option<&BTreeSet<String>>) -> BTreeMap<String, Watched> {
        let mut policies = BTreeMap::new();
        for location in self.context.locations.all() {
            for asset in location.snapshot.iter().flat_map(|snapshot| &snapshot.assets) {
                if only.is_none_or(|only| only.contains(&asset.key))
                    && let Some(policy) = &asset.freshness
                {
                    let watched = Watched {
                        policy: policy.clone(),
                        location: location.name.clone(),
                        is_made_here: !asset.step.is_empty() && !asset.is_observed,
                    };
                    policies.insert(asset.key.clone(), watched);
                }
            }
        }
        policies
    }

    async fn look_at(&mut self, policies: BTreeMap<String, Watched>, now: Timestamp) -> Result<(), Problem> {
        if policies.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = policies.keys().cloned().collect();
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let records = self.context.instance.assets(&keys, None, limit).await?;
        let records: HashMap<_, _> = records.into_iter().map(|record| (record.asset_key.clone(), record)).collect();
        for (asset, Watched { policy, location, is_made_here }) in policies {
            let made = records.get(&asset).and_then(|record| {
                // What nothing here makes is as new as it was seen to be.
                let seen = record.observed.filter(|_| !is_made_here);
                Some(record.materialized.max(seen)?.1)
            });
            let to = policy.state(made, now);
            let from = self.stood(&asset).await?;
            if to != from {
                self.context.instance.append(&[change(&asset, &location, from, to, now)], None).await?;
                tracing::info!(asset, from = name(from), to = name(to), "the freshness of an asset has changed");
                self.context.hints.runs();
            }
            self.states.insert(asset, to);
        }
        Ok(())
    }

    /// How an asset stood, as the log says.
    async fn stood(&self, asset: &str) -> Result<FreshnessState, Problem> {
        if let Some(state) = self.states.get(asset) {
            return Ok(*state);
        }
        let filter = EventFilter {
            kinds: vec![EventKind::FreshnessStateChange],
            asset_key: Some(asset.to_owned()),
            ..EventFilter::default()
        };
        let last = self.context.instance.events(&filter, None, 1).await?.pop();
        let state = last.and_then(|event| serde_json::from_value(event.event.data.get("to")?.clone()).ok());
        Ok(state.unwrap_or(FreshnessState::Unknown))
    }
}

/// The name of a state, as in events.
pub(crate) fn name(state: FreshnessState) -> &'static str {
    match state {
        FreshnessState::Pass => "PASS",
        FreshnessState::Warn => "WARN",
        FreshnessState::Fail => "FAIL",
        FreshnessState::Unknown => "UNKNOWN",
        FreshnessState::NotApplicable => "NOT_APPLICABLE",
    }
}

fn change(asset: &str, location: &str, from: FreshnessState, to: FreshnessState, now: Timestamp) -> NewEvent {
    let data: Value = json!({ "asset_key": asset, "location": location, "from": from, "to": to });
    NewEvent {
        run_id: RunId::NONE,
        timestamp: now,
        kind: EventKind::FreshnessStateChange,
        step_key: None,
        level: if to == FreshnessState::Fail { Level::Warning } else { Level::Info },
        message: format!("the freshness of {asset} is {}, after {}", name(to), name(from)),
        data,
    }
}

#[async_trait]
impl Reconcile for Freshness {
    fn name(&self) -> &str {
        "freshness"
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("FRESHNESS_DAEMON")
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Freshness::step(self).await
    }
}
