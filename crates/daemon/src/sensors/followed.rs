//! Sensors that follow the event log: those of the status of runs, and those of materialisations of assets.
//!
//! The cursor is the id of the last event that was dealt with. A step reads what lies after it, offers what concerns
//! the sensor to user code, and commits the new cursor with what user code asked for, so that each event is reacted to
//! once. There is no bound on how much may lie after the cursor: pages follow one another at once, and how far the
//! sensor lies behind is measured.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use catchment_core::definitions::SensorKind;
use catchment_core::sensor::{SensorInput, SensorResult};
use catchment_core::{Event, EventKind, Level, NewEvent, Run, RunId, RunStatus, tags};
use catchment_instance::RunFilter;
use catchment_model::Problem;
use jiff::Timestamp;

use super::Sensor;
use crate::context::until;
use crate::evaluation::Failed;
use crate::locations::LocationState;
use crate::monitor::later;

/// How many events are read at once.
const PAGE: u32 = 500;
/// How many are offered to user code at once.
const BATCH: usize = 100;
/// Events are written by other processes, whose hints may be lost.
const INTERVAL: Duration = Duration::from_secs(1);
/// After so many events that do not concern the sensor, its cursor is moved past them.
const PASSED_OVER: i64 = 1000;

/// How far a sensor has looked, beyond its cursor.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The cursor that this is about: one that was set by hand begins anew.
    cursor: i64,
    /// Up to here nothing (more) concerns the sensor.
    seen: i64,
    /// Up to here events are offered one by one: user code has failed on several of them.
    one_by_one: i64,
    /// The last event that was offered and left, and when: it is offered again after the sensor's interval.
    left: Option<(i64, Timestamp)>,
    /// Until then it is not evaluated, whatever happens: user code has failed.
    rests_until: Option<Timestamp>,
}

impl Place {
    fn moved(&mut self, cursor: i64) {
        self.cursor = cursor;
        self.seen = cursor;
    }
}

/// What concerns the sensor, oldest first.
struct Offer {
    events: Vec<Event>,
    runs: Vec<Run>,
    /// The cursor once all of it was dealt with.
    until: i64,
}

impl Sensor {
    /// Reacts to what has happened since the cursor.
    pub(super) async fn follow(&mut self, location: &LocationState) -> Result<Duration, Problem> {
        let kinds = self.kinds();
        if kinds.is_empty() {
            return Ok(self.interval());
        }
        let instance = self.ticks.context.instance.clone();
        let state = instance.instigator(&self.ticks.instigator).await?;
        let head = instance.last_event_id().await?;
        let Some(cursor) = state.cursor.as_deref().and_then(|cursor| cursor.parse::<i64>().ok()) else {
            return self.first(location, &kinds, head).await;
        };
        if self.place.cursor != cursor {
            self.place = Place::default();
            self.place.moved(cursor);
        }
        self.measure(head, self.place.seen);
        let now = self.ticks.context.now();
        if let Some(then) = self.place.rests_until.filter(|then| now < *then) {
            return Ok(until(now, then).min(INTERVAL));
        }
        let page = instance.events_after(self.place.seen, &kinds, PAGE).await?;
        let is_full = page.len() >= PAGE as usize;
        let reach = match page.last() {
            Some(last) if is_full => last.id,
            last => last.map_or(head, |last| last.id.max(head)),
        };
        let mut offer = self.concerning(page, reach).await?;
        let Some(first) = offer.events.first().map(|event| event.id) else {
            self.place.seen = reach.max(self.place.seen);
            self.measure(head, self.place.seen);
            if reach - cursor >= PASSED_OVER {
                self.skip(format!("none of {} events concerns the sensor", reach - cursor), reach).await?;
            }
            return Ok(if is_full { Duration::ZERO } else { INTERVAL });
        };
        if let (Some((left, at)), Some(last)) = (self.place.left, offer.events.last())
            && left == last.id
            && self.ticks.context.now() < later(at, self.interval())
        {
            // Nothing new lies there since user code has left these.
            return Ok(INTERVAL);
        }
        let batch = if first <= self.place.one_by_one { 1 } else { BATCH };
        if offer.events.len() > batch {
            offer.events.truncate(batch);
            offer.until = offer.events.last().map_or(offer.until, |last| last.id);
        }
        let wait = self.offer(location, cursor, offer).await;
        self.measure(head, self.place.seen);
        wait
    }

    /// Notes how far the sensor lies behind.
    pub(super) fn measure(&self, head: i64, at: i64) {
        self.lag.store((head - at).max(0), Ordering::Relaxed);
    }

    /// The same while the location is away.
    pub(super) async fn measure_away(&self) -> Result<(), Problem> {
        if !self.kinds().is_empty() && !matches!(self.spec.kind, SensorKind::Standard) && self.place.seen > 0 {
            self.measure(self.ticks.context.instance.last_event_id().await?, self.place.seen);
        }
        Ok(())
    }

    /// The first tick ever. A sensor of the status of runs begins with what comes; one of assets with the newest
    /// materialisation that each has.
    async fn first(&mut self, location: &LocationState, kinds: &[EventKind], head: i64) -> Result<Duration, Problem> {
        let instance = &self.ticks.context.instance;
        let mut events = Vec::new();
        if let SensorKind::Asset { assets } = &self.spec.kind
            && !assets.is_empty()
        {
            let limit = u32::try_from(assets.len()).unwrap_or(u32::MAX);
            for record in instance.assets(assets, None, limit).await? {
                if let Some((id, _)) = record.materialized {
                    events.extend(instance.events_after(id - 1, kinds, 1).await?);
                }
            }
            events.sort_by_key(|event| event.id);
        }
        if events.is_empty() {
            self.skip("the sensor follows what happens from now on".to_owned(), head).await?;
            return Ok(Duration::ZERO);
        }
        let until = events.last().map_or(head, |last| last.id.max(head));
        let runs = self.runs_of(&events).await?;
        self.offer(location, 0, Offer { events, runs, until }).await
    }

    /// Asks user code about events, and commits how far it came.
    async fn offer(&mut self, location: &LocationState, cursor: i64, offer: Offer) -> Result<Duration, Problem> {
        let Offer { events, mut runs, mut until } = offer;
        let (Some(first), Some(mut last)) = (events.first().map(|e| e.id), events.last().map(|e| e.id)) else {
            return Ok(INTERVAL);
        };
        let concerned: BTreeSet<RunId> = events.iter().map(|event| event.event.run_id).collect();
        runs.retain(|run| concerned.contains(&run.run_id));
        let state = self.ticks.context.instance.instigator(&self.ticks.instigator).await?;
        let mut input = SensorInput { last_tick_at: state.last_tick_at, events, runs };
        let tick = self.ticks.begin(None).await?;
        let mut answer = self.evaluate(tick, location, state.cursor.as_deref(), &input).await;
        if matches!(answer, Err(Failed::Refused(_) | Failed::Late(_))) && first < last && self.reacts_to_runs() {
            // Which of them it was shows when they are offered one by one.
            self.place.one_by_one = last;
            input.events.truncate(1);
            (last, until) = (first, first);
            answer = self.evaluate(tick, location, state.cursor.as_deref(), &input).await;
        }
        let mut result = match answer {
            Ok(result) => result,
            Err(failed) => return self.failed_on(tick, failed, first).await,
        };
        let more = result.more;
        // User code may have come to some of the events only.
        let reached = result.cursor.as_deref().and_then(|cursor| cursor.parse::<i64>().ok());
        let next = reached.filter(|reached| *reached < last).map_or(until, |reached| reached.max(cursor));
        result.cursor = Some(next.to_string());
        let dealt_with: Vec<_> = input.events.iter().filter(|event| event.id <= next).collect();
        let mut origins = BTreeSet::new();
        if self.reacts_to_runs() {
            result.asset_events.extend(dealt_with.iter().map(|event| self.note(event)));
            origins.extend(dealt_with.iter().map(|event| event.event.run_id));
        }
        let origins: Vec<_> = origins.into_iter().collect();
        if let Err(failed) = self.ticks.admit(tick, result, &origins).await {
            return self.failed_on(tick, failed, last).await;
        }
        self.place.moved(next);
        let came_on = next >= first;
        self.place.left = (!came_on).then(|| (last, self.ticks.context.now()));
        Ok(if more || came_on { Duration::ZERO } else { INTERVAL })
    }

    /// A failed tick. The reaction to a run is not tried again: the cursor moves past it.
    async fn failed_on(&mut self, tick: i64, failed: Failed, event: i64) -> Result<Duration, Problem> {
        if !self.reacts_to_runs() {
            let wait = self.failed(tick, failed, None).await?;
            self.place.rests_until = Some(later(self.ticks.context.now(), wait));
            return Ok(wait);
        }
        match failed {
            Failed::Refused(problem) | Failed::Late(problem) => {
                self.ticks.fail(tick, problem, Some(&event.to_string())).await?;
                self.place.moved(event);
                Ok(Duration::ZERO)
            }
            failed => self.failed(tick, failed, None).await,
        }
    }

    /// A tick that asks for nothing and moves the cursor.
    async fn skip(&mut self, reason: String, cursor: i64) -> Result<(), Problem> {
        let tick = self.ticks.begin(None).await?;
        let result =
            SensorResult { skip_reason: Some(reason), cursor: Some(cursor.to_string()), ..SensorResult::default() };
        self.ticks.admit(tick, result, &[]).await?;
        self.place.moved(cursor);
        Ok(())
    }

    /// What is written to a run that the sensor has reacted to.
    fn note(&self, event: &Event) -> NewEvent {
        NewEvent {
            run_id: event.event.run_id,
            timestamp: self.ticks.context.now(),
            kind: EventKind::EngineEvent,
            step_key: None,
            level: Level::Info,
            message: format!("the sensor `{}` reacted to {}", self.spec.name, event.event.kind),
            data: serde_json::json!({ "sensor": self.ticks.instigator, "event_id": event.id }),
        }
    }

    fn reacts_to_runs(&self) -> bool {
        matches!(self.spec.kind, SensorKind::RunStatus { .. })
    }

    /// The events that it looks at.
    fn kinds(&self) -> Vec<EventKind> {
        match &self.spec.kind {
            SensorKind::RunStatus { statuses, .. } => statuses.iter().filter_map(|status| event_of(*status)).collect(),
            _ => vec![EventKind::AssetMaterialization],
        }
    }

    /// Of a page, what concerns the sensor.
    async fn concerning(&self, page: Vec<Event>, until: i64) -> Result<Offer, Problem> {
        match &self.spec.kind {
            SensorKind::Asset { assets } => {
                let about = |event: &Event| event.event.asset_key().is_some_and(|key| assets.iter().any(|a| a == key));
                let events: Vec<_> = page.into_iter().filter(about).collect();
                let runs = self.runs_of(&events).await?;
                Ok(Offer { events, runs, until })
            }
            SensorKind::RunStatus { monitored_jobs, monitor_all_locations, .. } => {
                let runs = self.runs_of(&page).await?;
                let by_id: HashMap<_, _> = runs.iter().map(|run| (run.run_id, run)).collect();
                let concerns = |event: &Event| {
                    by_id.get(&event.event.run_id).is_some_and(|run| {
                        (*monitor_all_locations || run.location == self.ticks.instigator.location)
                            && if monitored_jobs.is_empty() {
                                !self.asked_for(run)
                            } else {
                                monitored_jobs.contains(&run.job_name)
                            }
                    })
                };
                let events = page.into_iter().filter(concerns).collect();
                Ok(Offer { events, runs, until })
            }
            SensorKind::Standard | SensorKind::Automation { .. } => {
                Ok(Offer { events: Vec::new(), runs: Vec::new(), until })
            }
        }
    }

    /// Whether the sensor itself has asked for a run: it would go round in circles.
    fn asked_for(&self, run: &Run) -> bool {
        let Self { ticks, spec, .. } = self;
        run.location == ticks.instigator.location && run.tags.get(tags::SENSOR_NAME) == Some(&spec.name)
    }

    async fn runs_of(&self, events: &[Event]) -> Result<Vec<Run>, Problem> {
        let ids: BTreeSet<_> = events.iter().map(|event| event.event.run_id).filter(|id| *id != RunId::NONE).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let filter = RunFilter { run_ids: ids.into_iter().collect(), ..RunFilter::default() };
        Ok(self.ticks.context.instance.runs(&filter, None, limit).await?)
    }
}

/// The event that says that a run has reached a status.
fn event_of(status: RunStatus) -> Option<EventKind> {
    match status {
        RunStatus::Queued => Some(EventKind::RunEnqueued),
        RunStatus::Starting => Some(EventKind::RunStarting),
        RunStatus::Started => Some(EventKind::RunStart),
        RunStatus::Success => Some(EventKind::RunSuccess),
        RunStatus::Failure => Some(EventKind::RunFailure),
        RunStatus::Canceling => Some(EventKind::RunCanceling),
        RunStatus::Canceled => Some(EventKind::RunCanceled),
        RunStatus::NotStarted | RunStatus::Managed => None,
    }
}
