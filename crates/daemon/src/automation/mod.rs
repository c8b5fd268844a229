//! Sensors of automation conditions: they are evaluated here, without user code, by the tables of what was made.
//!
//! A tick: look at the tables, evaluate every condition (what is upstream first), save what the conditions keep
//! together with what is asked for, then admit it. Run keys are named by the tick that decided, so a tick that is cut
//! off between the two is admitted by the next one, once.

mod requests;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use catchment_core::automation::{AutomationCondition, AutomationState, evaluate};
use catchment_core::definitions::{LocationSnapshot, SensorSpec};
use catchment_core::partitions::PartitionSubset;
use catchment_core::sensor::{RunRequest, SensorResult};
use catchment_core::{EventKind, Instigator};
use catchment_instance::AutomationRecord;
use catchment_model::Problem;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::{Context, until};
use crate::evaluation::{Ticks, complete};
use crate::locations::LocationState;
use crate::monitor::later;

/// The least time between two evaluations that events woke.
const LEAST: Duration = Duration::from_secs(1);
/// What can change a condition before its interval has passed.
const KINDS: &[EventKind] = &[
    EventKind::AssetMaterialization,
    EventKind::AssetObservation,
    EventKind::AssetFailedToMaterialize,
    EventKind::AssetWiped,
    EventKind::AssetCheckEvaluation,
];

/// What a tick has decided, kept until it is admitted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Decided {
    tick: i64,
    /// The newest event that it knew of.
    event: i64,
    requests: Vec<RunRequest>,
}

/// What has a condition: an asset, or a check as `<asset>:<check>`.
#[derive(Debug, Clone)]
struct Subject {
    key: String,
    condition: AutomationCondition,
}

/// What a sensor evaluates, what is upstream first.
fn subjects(snapshot: &LocationSnapshot, sensor: &SensorSpec) -> Vec<Subject> {
    let assets = view::upstream_first(snapshot)
        .into_iter()
        .filter(|asset| snapshot.evaluates(sensor, &asset.key))
        .filter_map(|asset| Some(Subject { key: asset.key.clone(), condition: asset.automation.clone()? }));
    let checks = snapshot
        .checks
        .iter()
        .filter(|check| snapshot.evaluates(sensor, &check.asset_key))
        .filter_map(|check| Some(Subject { key: check.key(), condition: check.automation.clone()? }));
    assets.chain(checks).collect()
}

/// One automation sensor.
pub(crate) struct Automation {
    ticks: Ticks,
    evaluated_at: Option<Timestamp>,
    /// The newest event that the last tick knew of.
    event: i64,
    /// Whether the last tick failed: the next one waits for the interval then.
    failed: bool,
    /// What was shown last of each key: the same is not shown again.
    shown: HashMap<String, u64>,
}

impl Automation {
    pub(crate) fn new(context: Context, instigator: Instigator) -> Self {
        Self {
            ticks: Ticks { context, instigator },
            evaluated_at: None,
            event: 0,
            failed: false,
            shown: HashMap::new(),
        }
    }

    /// Evaluates the conditions where their time has come, or something has happened; answers when to look again.
    pub(crate) async fn step(&mut self, spec: &SensorSpec, location: &LocationState) -> Result<Duration, Problem> {
        let context = self.ticks.context.clone();
        let (instance, now) = (&context.instance, context.now());
        let interval = match spec.minimum_interval_s {
            0 => context.sensor_interval,
            seconds => Duration::from_secs(seconds.into()),
        };
        if let Some(last) = self.evaluated_at {
            let woken = !self.failed
                && now >= later(last, LEAST)
                && !instance.events_after(self.event, KINDS, 1).await?.is_empty();
            if now < later(last, interval) && !woken {
                return Ok(until(now, later(last, interval)).min(LEAST));
            }
        }
        let Some(snapshot) = location.snapshot.as_deref() else { return Ok(interval) };
        self.take_up().await?;
        let tick = self.ticks.begin(None).await?;
        match self.evaluate(tick, spec, snapshot, now).await {
            Ok(decided) => {
                self.failed = false;
                self.event = decided.event;
                self.admit(tick, &decided).await?;
            }
            Err(problem) => {
                self.failed = true;
                self.ticks.fail(tick, problem, None).await?;
            }
        }
        self.evaluated_at = Some(now);
        Ok(LEAST.min(interval))
    }

    fn kept_under(&self) -> String {
        format!("tick of {}", self.ticks.instigator.name)
    }

    /// Admits what an earlier tick has decided and was cut off with.
    async fn take_up(&self) -> Result<(), Problem> {
        let instance = &self.ticks.context.instance;
        let states = instance.automation_states(&self.ticks.instigator.location).await?;
        let kept = states.into_iter().find(|(key, _)| *key == self.kept_under()).map(|(_, value)| value);
        let Some(decided) = kept.and_then(|value| serde_json::from_value::<Decided>(value).ok()) else {
            return Ok(());
        };
        let cursor = instance.instigator(&self.ticks.instigator).await?.cursor;
        if decided.requests.is_empty() || cursor.is_some_and(|cursor| cursor == decided.tick.to_string()) {
            return Ok(());
        }
        let tick = self.ticks.begin(None).await?;
        self.admit(tick, &decided).await
    }

    /// Evaluates all conditions, and saves what came of it.
    async fn evaluate(
        &mut self,
        tick: i64,
        spec: &SensorSpec,
        snapshot: &LocationSnapshot,
        now: Timestamp,
    ) -> Result<Decided, Problem> {
        let context = &self.ticks.context;
        let location = &self.ticks.instigator.location;
        let subjects = subjects(snapshot, spec);
        let kept: BTreeMap<String, Value> = context.instance.automation_states(location).await?.into_iter().collect();
        let state_of = |key: &str| -> AutomationState {
            kept.get(key).and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
        };
        let previous: BTreeMap<String, AutomationState> =
            subjects.iter().map(|subject| (subject.key.clone(), state_of(&subject.key))).collect();
        let mut view = view::View::load(context, snapshot, &subjects, &previous, now).await?;
        let mut states = Vec::new();
        let mut records = Vec::new();
        let mut requested: Vec<(String, PartitionSubset)> = Vec::new();
        for Subject { key, condition } in &subjects {
            let evaluation = evaluate(condition, key, &view, &previous[key], now)?;
            let result = to_json(&evaluation.result)?;
            let mut hasher = DefaultHasher::new();
            result.to_string().hash(&mut hasher);
            let hash = hasher.finish();
            if !evaluation.true_subset.is_empty() || self.shown.get(key) != Some(&hash) {
                self.shown.insert(key.clone(), hash);
                records.push(AutomationRecord {
                    id: 0,
                    key: key.clone(),
                    tick,
                    timestamp: now,
                    requested: evaluation.true_subset.len() as u64,
                    evaluation: result,
                });
            }
            states.push((key.clone(), to_json(&evaluation.state)?));
            if !evaluation.true_subset.is_empty() {
                view.ask_for(key, evaluation.true_subset.clone());
                requested.push((key.clone(), evaluation.true_subset));
            }
        }
        let mut requests = requests::grouped(snapshot, &requested, tick);
        requests.iter_mut().for_each(|request| complete(request, snapshot, &[]));
        let decided = Decided { tick, event: view.newest(), requests };
        states.push((self.kept_under(), to_json(&decided)?));
        context.instance.save_automation(location, &states, &records).await?;
        catchment_settings::failpoint::hit("daemon.automation_saved");
        Ok(decided)
    }

    async fn admit(&self, tick: i64, decided: &Decided) -> Result<(), Problem> {
        let result = SensorResult {
            run_requests: decided.requests.clone(),
            cursor: Some(decided.tick.to_string()),
            skip_reason: Some("no condition is true".to_owned()),
            ..SensorResult::default()
        };
        Ok(self.ticks.admit(tick, result, &[]).await.map(drop)?)
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| {
        Problem::new(catchment_model::Code::Bug, "the result of a condition cannot be written").cause(error.to_string())
    })
}
