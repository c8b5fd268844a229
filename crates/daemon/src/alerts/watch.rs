//! Finds what rules ask to be told of.

use std::time::Duration;

use async_trait::async_trait;
use catchment_core::backfill::BackfillStatus;
use catchment_core::freshness::FreshnessState;
use catchment_core::{Event, EventKind, RunStatus, tags};
use catchment_instance::{BackfillFilter, NewAlert};
use catchment_model::Problem;
use catchment_settings::config::AlertKind;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Matter, told};
use crate::context::{Context, ago};
use crate::follow::{Follower, Page};
use crate::freshness;
use crate::locations::LocationState;
use crate::monitor::later;
use crate::reconcile::Reconcile;
use crate::retries;

/// The name of the cursor.
const CURSOR: &str = "alerts";
const KINDS: &[EventKind] =
    &[EventKind::RunFailure, EventKind::RunSuccess, EventKind::AssetCheckEvaluation, EventKind::FreshnessStateChange];
const PAGE: u32 = 200;
const INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take until it is decided whether a failed run is run again.
const RETRY_DECISION: Duration = Duration::from_secs(10);
/// How long a location may be away, for a restart, before it counts as lost.
const RESTART: Duration = Duration::from_secs(10);
/// Backfills that ended earlier are not told of.
const RECENT: Duration = Duration::from_secs(86_400);

/// Follows the event log and looks at runs, locations and backfills.
pub struct Watcher {
    context: Context,
    follower: Follower,
    /// Whether it has begun: alerts tell of what happens after the first start.
    begun: bool,
}

impl Watcher {
    /// A watcher by the rules of the context's settings.
    pub fn new(context: Context) -> Self {
        Self { context, follower: Follower::new(CURSOR, KINDS), begun: false }
    }

    /// Puts what rules ask for into the outbox; answers when to look again.
    ///
    /// # Errors
    /// Those of the state; what was not raised is found again.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        let instance = self.context.instance.clone();
        let now = self.context.now();
        if !self.begun {
            if instance.follow_cursor(CURSOR).await?.is_none() {
                instance.set_follow_cursor(CURSOR, instance.last_event_id().await?).await?;
            }
            self.begun = true;
        }
        let page = self.follower.page(&instance, PAGE).await?;
        let (mut alerts, until) = self.of_events(&page, now).await?;
        alerts.extend(self.of_long_runs(now).await?);
        alerts.extend(self.of_lost_locations(now));
        alerts.extend(self.of_backfills(now).await?);
        if !alerts.is_empty() || !page.events.is_empty() {
            instance.raise(&alerts, Some((CURSOR, until)), now).await?;
        }
        self.follower.moved(&page, until);
        Ok(if page.is_full && until == page.until { Duration::ZERO } else { INTERVAL })
    }

    fn has_rules(&self) -> bool {
        !self.context.config.alerts.rules.is_empty()
    }

    fn asks_for(&self, kind: AlertKind) -> bool {
        self.context.config.alerts.rules.iter().any(|rule| rule.on == kind)
    }

    fn told(&self, matter: &Matter<'_>, now: Timestamp) -> Vec<NewAlert> {
        told(&self.context.config.alerts, matter, now)
    }

    /// What events tell of, and up to which one that is known.
    async fn of_events(&self, page: &Page, now: Timestamp) -> Result<(Vec<NewAlert>, i64), Problem> {
        let mut alerts = Vec::new();
        let mut until = page.until;
        if !self.has_rules() {
            return Ok((alerts, until));
        }
        let decided = self.context.instance.follow_cursor(retries::CURSOR).await?.unwrap_or(0);
        for (place, event) in page.events.iter().enumerate() {
            let waits = event.event.kind == EventKind::RunFailure
                && event.id > decided
                && now < later(event.event.timestamp, RETRY_DECISION);
            if waits {
                until = place.checked_sub(1).map_or(event.id - 1, |before| page.events[before].id);
                break;
            }
            alerts.extend(self.of_event(event, now).await?);
        }
        Ok((alerts, until))
    }

    async fn of_event(&self, event: &Event, now: Timestamp) -> Result<Vec<NewAlert>, Problem> {
        let kind = match event.event.kind {
            EventKind::RunFailure => AlertKind::RunFailure,
            EventKind::RunSuccess => AlertKind::RunSuccess,
            EventKind::AssetCheckEvaluation => AlertKind::CheckFailure,
            _ => AlertKind::AssetLate,
        };
        if !self.asks_for(kind) {
            return Ok(Vec::new());
        }
        let data = &event.event.data;
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        match kind {
            AlertKind::RunFailure | AlertKind::RunSuccess => {
                let Some(run) = self.context.instance.run(event.event.run_id).await? else { return Ok(Vec::new()) };
                if kind == AlertKind::RunFailure && run.tags.get(tags::WILL_RETRY).is_some_and(|will| will == "true") {
                    return Ok(Vec::new());
                }
                let why = run.problem.as_ref().map(|problem| format!(": {}", problem.what)).unwrap_or_default();
                let how = if kind == AlertKind::RunFailure { "has failed" } else { "has ended well" };
                let message = format!("run {} of {} {how}{why}", run.run_id, run.job_name);
                Ok(self.told(&Matter::of_run(kind, &run, message), now))
            }
            AlertKind::CheckFailure if data.get("passed") == Some(&Value::Bool(false)) => {
                let target = format!("{}:{}", text("asset_key"), text("check_name"));
                let message = format!("the check {} of {} has failed", text("check_name"), text("asset_key"));
                Ok(self.told(&of_asset(kind, event, &target, message), now))
            }
            AlertKind::AssetLate if text("to") == freshness::name(FreshnessState::Fail) => {
                let message = format!("the asset {} is later than its freshness policy allows", text("asset_key"));
                Ok(self.told(&of_asset(kind, event, text("asset_key"), message), now))
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn of_long_runs(&self, now: Timestamp) -> Result<Vec<NewAlert>, Problem> {
        if !self.asks_for(AlertKind::RunTooLong) {
            return Ok(Vec::new());
        }
        let mut alerts = Vec::new();
        for run in self.context.instance.live_runs().await? {
            let Some(started) =
                run.started_at.filter(|_| matches!(run.status, RunStatus::Started | RunStatus::Canceling))
            else {
                continue;
            };
            for (place, rule) in self.context.config.alerts.rules.iter().enumerate() {
                let limit = Duration::from_secs(rule.longer_than_seconds.unwrap_or(u32::MAX).into());
                let message = format!("run {} of {} works longer than {} s", run.run_id, run.job_name, limit.as_secs());
                let matter = Matter::of_run(AlertKind::RunTooLong, &run, message);
                if matter.concerns(rule) && later(started, limit) <= now {
                    alerts.extend(matter.told_by(&rule.label(place), rule, now));
                }
            }
        }
        Ok(alerts)
    }

    fn of_lost_locations(&self, now: Timestamp) -> Vec<NewAlert> {
        let mut alerts = Vec::new();
        for location in self.context.locations.all() {
            if location.is_here || now < later(location.since, RESTART) {
                continue;
            }
            let LocationState { name, since, problem, .. } = &*location;
            let matter = Matter {
                kind: AlertKind::LocationLost,
                id: format!("{name} since {since}"),
                subject: name.clone(),
                location: Some(name),
                job: None,
                target: Some(name),
                tags: None,
                message: format!("the code location {name} does not answer"),
                data: json!({ "location": name, "since": since, "problem": problem }),
            };
            alerts.extend(self.told(&matter, now));
        }
        alerts
    }

    async fn of_backfills(&self, now: Timestamp) -> Result<Vec<NewAlert>, Problem> {
        if !self.asks_for(AlertKind::BackfillFailure) {
            return Ok(Vec::new());
        }
        let filter = BackfillFilter {
            statuses: vec![BackfillStatus::Failed, BackfillStatus::CompletedFailed],
            ..BackfillFilter::default()
        };
        let mut alerts = Vec::new();
        for backfill in self.context.instance.backfills(&filter, None, PAGE).await? {
            if backfill.ended_at.is_none_or(|ended| ended < ago(now, RECENT)) {
                continue;
            }
            let id = backfill.request.id.to_string();
            let matter = Matter {
                kind: AlertKind::BackfillFailure,
                subject: id.clone(),
                location: Some(&backfill.request.location),
                job: None,
                target: Some(&id),
                tags: Some(&backfill.request.tags),
                message: format!("the backfill {id} has failed"),
                data: json!({
                    "backfill": id, "location": backfill.request.location, "status": backfill.status,
                    "ended_at": backfill.ended_at, "problem": backfill.problem,
                }),
                id: id.clone(),
            };
            alerts.extend(self.told(&matter, now));
        }
        Ok(alerts)
    }
}

/// Something that an event says about an asset.
fn of_asset<'a>(kind: AlertKind, event: &'a Event, target: &'a str, message: String) -> Matter<'a> {
    Matter {
        kind,
        id: format!("event {}", event.id),
        subject: target.to_owned(),
        location: event.event.data.get("location").and_then(Value::as_str),
        job: None,
        target: Some(target),
        tags: None,
        message,
        data: json!({ "event_id": event.id, "run_id": event.event.run_id, "event": event.event.data }),
    }
}

#[async_trait]
impl Reconcile for Watcher {
    fn name(&self) -> &str {
        CURSOR
    }

    fn heartbeat(&self) -> Option<&'static str> {
        Some("ALERTS")
    }

    fn lag(&self) -> i64 {
        self.follower.lag()
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        Some(self.context.hints.on_runs())
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Watcher::step(self).await
    }
}
