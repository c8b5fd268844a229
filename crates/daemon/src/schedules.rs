//! Schedules: one task each, which sleeps until the next time of its schedule.
//!
//! The cursor is the last time that was dealt with; it moves in the transaction that makes the runs. A time before the
//! schedule was switched on is never dealt with. Of missed times the latest is made up for; where each stands for a
//! partition, the latest few. A location that is away leaves the time as it is: it is asked again until it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use catchment_core::Instigator;
use catchment_core::definitions::{LocationSnapshot, ScheduleSpec};
use catchment_core::instigator::InstigatorState;
use catchment_core::partitions::{PartitionContext, PartitionsDefinition};
use catchment_core::sensor::{RunRequest, SensorResult};
use catchment_core::{NewEvent, RunId, tags};
use catchment_model::{Code, Problem};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::context::{Context, until};
use crate::dynamic_keys;
use crate::evaluation::{Failed, Ticks, complete};
use crate::locations::LocationState;
use crate::reconcile::Reconcile;

/// The longest sleep: the machine's clock may be set, and a machine may be suspended.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// One schedule that runs.
pub struct Schedule {
    ticks: Ticks,
    spec: ScheduleSpec,
    /// Its next time, once that is known.
    next: Option<Timestamp>,
    /// Whether the location was away at the last try.
    away: bool,
    /// How often the evaluation for a time has failed.
    failed: Option<(Timestamp, u32)>,
}

impl Schedule {
    /// A schedule of a location, as its definition says.
    pub fn new(context: Context, location: &str, spec: ScheduleSpec) -> Self {
        let instigator = Instigator::schedule(location, &spec.name);
        Self { ticks: Ticks { context, instigator }, spec, next: None, away: false, failed: None }
    }

    /// Deals with the times that have come; answers how long it is until the next.
    ///
    /// # Errors
    /// `unavailable` where the location cannot be asked; errors of the state. The time is dealt with by a later step.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        let now = self.ticks.context.now();
        if let Some(next) = self.next
            && now < next
        {
            return Ok(until(now, next).min(LONGEST_SLEEP));
        }
        let state = self.ticks.context.instance.instigator(&self.ticks.instigator).await?;
        let Some(dealt_with) = dealt_with(&state) else {
            // It was stopped: its task is about to end.
            return Ok(LONGEST_SLEEP);
        };
        for time in self.due(dealt_with, now) {
            self.deal_with(time, &state).await?;
        }
        // After the time that was looked at: what has come due while user code was at work is the next.
        self.next = self.spec.cron.next_after(now.max(dealt_with));
        let now = self.ticks.context.now();
        Ok(self.next.map_or(LONGEST_SLEEP, |next| until(now, next).min(LONGEST_SLEEP)))
    }

    /// The times to deal with now, oldest first.
    fn due(&self, dealt_with: Timestamp, now: Timestamp) -> Vec<Timestamp> {
        let limit =
            if self.spec.partitioned { self.ticks.context.config.schedules.max_catchup_runs as usize } else { 1 };
        let mut due = Vec::new();
        let mut before = self.spec.cron.last_at_or_before(now);
        while let Some(time) = before.filter(|time| *time > dealt_with && due.len() < limit.max(1)) {
            due.push(time);
            before = self.spec.cron.previous_before(time);
        }
        due.reverse();
        due
    }

    async fn deal_with(&mut self, time: Timestamp, state: &InstigatorState) -> Result<(), Problem> {
        let location = self.location()?;
        if self.away {
            location.client.describe().await?;
            tracing::info!(schedule = %self.ticks.instigator, "the code location is back");
            self.away = false;
        }
        let tick = self.ticks.begin(Some(time)).await?;
        let dealt_with = match self.evaluate(tick, time, state, &location).await {
            Ok(result) => self.ticks.admit(tick, result, &[]).await.map(drop),
            Err(failed) => Err(failed),
        };
        match dealt_with {
            Ok(()) => Ok(()),
            Err(Failed::Away(problem)) => {
                self.away = true;
                self.ticks.fail(tick, problem.clone(), None).await?;
                Err(problem)
            }
            Err(Failed::Late(problem) | Failed::Refused(problem)) => {
                let tries = self.failed.filter(|(failed, _)| *failed == time).map_or(0, |(_, tries)| tries);
                let again = tries < self.ticks.context.config.schedules.max_tick_retries;
                self.failed = Some((time, tries + 1));
                let cursor = time.to_string();
                self.ticks.fail(tick, problem.clone(), (!again).then_some(cursor.as_str())).await?;
                if again { Err(problem) } else { Ok(()) }
            }
            Err(Failed::State(problem)) => Err(problem),
        }
    }

    fn location(&self) -> Result<std::sync::Arc<LocationState>, Problem> {
        let name = &self.ticks.instigator.location;
        self.ticks.context.locations.get(name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("the code location {name} is not in the workspace any more"))
                .remedy("nothing: its schedules stop")
        })
    }

    /// What is to run for a time.
    async fn evaluate(
        &self,
        tick: i64,
        time: Timestamp,
        state: &InstigatorState,
        location: &LocationState,
    ) -> Result<SensorResult, Failed> {
        let snapshot = location.snapshot.as_deref();
        let mut result = if self.spec.has_body {
            let asked = location.client.evaluate_schedule(&self.spec.name, time, tick, state.last_tick_at);
            self.ticks.ask(tick, asked).await?
        } else {
            self.without_body(time, snapshot.unwrap_or(&LocationSnapshot::default())).await?
        };
        result.cursor = Some(time.to_string());
        result.asset_events =
            result.asset_events.into_iter().map(|event| NewEvent { run_id: RunId::NONE, ..event }).collect();
        for request in &mut result.run_requests {
            if request.job_name.is_empty() && request.selection.assets.is_empty() {
                request.job_name.clone_from(&self.spec.job);
            }
            for (name, value) in &self.spec.tags {
                request.tags.entry(name.clone()).or_insert_with(|| value.clone());
            }
            if let Some(snapshot) = snapshot {
                complete(request, snapshot, std::slice::from_ref(&self.spec.job));
            }
        }
        name(&mut result.run_requests);
        Ok(result)
    }

    /// One run of the job; where it is partitioned, one for each partition that the time stands for.
    async fn without_body(&self, time: Timestamp, snapshot: &LocationSnapshot) -> Result<SensorResult, Failed> {
        let partitions = snapshot.job(&self.spec.job).and_then(|job| job.partitions.as_deref());
        let request = |partition_key: Option<String>| RunRequest {
            job_name: self.spec.job.clone(),
            run_config: self.spec.run_config.clone(),
            partition_key,
            ..RunRequest::default()
        };
        let Some(definition) = partitions.and_then(|name| snapshot.partitions(name)) else {
            return Ok(SensorResult { run_requests: vec![request(None)], ..SensorResult::default() });
        };
        let dynamic = dynamic_keys::load(&self.ticks.context.instance, [definition]).await?;
        let keys = partitions_of(definition, PartitionContext { now: time, dynamic: &dynamic });
        let skip_reason = keys.is_empty().then(|| "no partition is complete by then".to_owned());
        Ok(SensorResult {
            run_requests: keys.into_iter().map(|key| request(Some(key))).collect(),
            skip_reason,
            ..SensorResult::default()
        })
    }
}

/// Up to when times are dealt with: later ones are due.
fn dealt_with(state: &InstigatorState) -> Option<Timestamp> {
    let since = state.running_since?;
    // A time at the very moment of switching on is still to come.
    let before = since.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(since);
    let cursor = state.cursor.as_deref().and_then(|cursor| cursor.parse::<Timestamp>().ok());
    Some(cursor.map_or(before, |cursor| cursor.max(before)))
}

/// Names the requests among those for the same time, where user code has not: by their partition, or by their place.
/// The state adds the time. Only what user code gave goes into the runs' tags.
fn name(requests: &mut [RunRequest]) {
    let mut used: BTreeSet<String> = requests.iter().filter_map(|request| request.run_key.clone()).collect();
    for (place, request) in requests.iter_mut().enumerate() {
        if let Some(key) = &request.run_key {
            request.tags.insert(tags::RUN_KEY.to_owned(), key.clone());
            continue;
        }
        let mut key = request.partition_key.clone().or_else(|| (place > 0).then(|| place.to_string()));
        while key.as_ref().is_some_and(|key| used.contains(key)) {
            key = key.map(|key| format!("{key} {place}"));
        }
        used.extend(key.clone());
        request.run_key = key;
    }
}

/// The partitions that a time stands for: of time windows the newest complete one; all keys of anything else.
fn partitions_of(definition: &PartitionsDefinition, cx: PartitionContext<'_>) -> Vec<String> {
    match definition {
        PartitionsDefinition::TimeWindow(_) => definition.last_key(cx).into_iter().collect(),
        PartitionsDefinition::Multi { .. } => {
            let newest = definition.time_windows().and_then(|windows| windows.last_window(cx.now));
            let mut keys = definition.keys(cx);
            if definition.time_windows().is_some() {
                keys.retain(|key| newest.is_some() && definition.window_of(key) == newest);
            }
            keys
        }
        PartitionsDefinition::Static { .. } | PartitionsDefinition::Dynamic { .. } => definition.keys(cx),
    }
}

#[async_trait]
impl Reconcile for Schedule {
    fn name(&self) -> &str {
        &self.spec.name
    }

    /// Nothing but time wakes a schedule.
    fn hint(&self) -> Option<watch::Receiver<()>> {
        None
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Schedule::step(self).await
    }
}
