//! Alerts: what the rules of `catchment.yaml` ask to be told of, at least once, whatever is restarted meanwhile.
//!
//! - here: which rules concern a matter, and the CloudEvent that tells of it;
//! - `watch` finds matters in the event log, the runs, the locations and the backfills, and puts alerts into the
//!   outbox; the failure of a tick is put there by the tick itself ([`tick_failed`]);
//! - `deliver` carries them to their channels, again and again until it works or the last try has failed.
//!
//! What names an alert is the rule, the channel and the matter: the same matter is never told twice on purpose. Its
//! receiver tells a repeated delivery by the event's `id`.

mod deliver;
mod watch;

use std::collections::BTreeMap;

use catchment_core::instigator::{InstigatorKind, TickStatus};
use catchment_core::{Instigator, Run};
use catchment_instance::{NewAlert, TickFilter};
use catchment_model::Problem;
use catchment_settings::config::{AlertKind, AlertRule, Alerts};
use jiff::Timestamp;
use serde_json::{Value, json};

pub use deliver::Deliverer;
pub use watch::Watcher;

use crate::context::Context;

/// Something that may concern rules.
#[derive(Debug)]
struct Matter<'a> {
    kind: AlertKind,
    /// What names it for ever, among those of its kind.
    id: String,
    /// What it is about, such as a run's id or a sensor's name.
    subject: String,
    location: Option<&'a str>,
    job: Option<&'a str>,
    target: Option<&'a str>,
    tags: Option<&'a BTreeMap<String, String>>,
    /// A sentence for people.
    message: String,
    data: Value,
}

impl<'a> Matter<'a> {
    /// Something about a run.
    fn of_run(kind: AlertKind, run: &'a Run, message: String) -> Self {
        let data = json!({
            "run_id": run.run_id, "job_name": run.job_name, "location": run.location, "status": run.status,
            "partition_key": run.partition_key, "tags": run.tags, "created_at": run.created_at,
            "started_at": run.started_at, "ended_at": run.ended_at, "problem": run.problem,
        });
        Self {
            kind,
            id: run.run_id.to_string(),
            subject: run.run_id.to_string(),
            location: Some(&run.location),
            job: Some(&run.job_name),
            target: None,
            tags: Some(&run.tags),
            message,
            data,
        }
    }

    fn concerns(&self, rule: &AlertRule) -> bool {
        let fits = |wanted: &Option<String>, is: Option<&str>| wanted.as_deref().is_none_or(|w| is == Some(w));
        let has = |(name, value): (&String, &String)| self.tags.is_some_and(|tags| tags.get(name) == Some(value));
        rule.on == self.kind
            && fits(&rule.location, self.location)
            && fits(&rule.job, self.job)
            && fits(&rule.target, self.target)
            && rule.tags.iter().all(has)
    }

    /// The alerts of a rule about it, one for each channel.
    fn told_by(&self, label: &str, rule: &AlertRule, now: Timestamp) -> Vec<NewAlert> {
        let tell = |channel: &String| NewAlert {
            key: format!("{label} {channel} {} {}", self.kind.as_str(), self.id),
            rule: label.to_owned(),
            channel: channel.clone(),
            event: self.event(label, now),
        };
        rule.channels.iter().map(tell).collect()
    }

    /// The CloudEvent (version 1.0, JSON event format).
    fn event(&self, label: &str, now: Timestamp) -> Value {
        let mut data = self.data.clone();
        if let Value::Object(data) = &mut data {
            data.insert("message".to_owned(), json!(self.message));
            data.insert("rule".to_owned(), json!(label));
        }
        json!({
            "specversion": "1.0",
            "id": format!("{} {}", self.kind.as_str(), self.id),
            "source": self.location.map_or_else(|| "/catchment".to_owned(), |name| format!("/catchment/{name}")),
            "type": format!("org.catchment.{}", self.kind.as_str()),
            "subject": self.subject,
            "time": now,
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

/// All alerts about a matter.
fn told(alerts: &Alerts, matter: &Matter<'_>, now: Timestamp) -> Vec<NewAlert> {
    let rules = alerts.rules.iter().enumerate().filter(|(_, rule)| matter.concerns(rule));
    rules.flat_map(|(place, rule)| matter.told_by(&rule.label(place), rule, now)).collect()
}

/// Raises what the rules ask for about a failed tick. One that fails again and again is told once, until it has ended
/// well in between.
///
/// # Errors
/// Those of the state.
pub(crate) async fn tick_failed(
    context: &Context,
    instigator: &Instigator,
    tick: i64,
    problem: &Problem,
    now: Timestamp,
) -> Result<(), Problem> {
    let kind = match instigator.kind {
        InstigatorKind::Sensor => AlertKind::SensorFailure,
        InstigatorKind::Schedule => AlertKind::ScheduleFailure,
    };
    let rules = &context.config.alerts;
    if !rules.rules.iter().any(|rule| rule.on == kind) {
        return Ok(());
    }
    let well = TickFilter { statuses: vec![TickStatus::Success, TickStatus::Skipped], ..TickFilter::default() };
    let last = context.instance.ticks(instigator, &well, None, 1).await?.pop().map_or(0, |tick| tick.id);
    let matter = Matter {
        kind,
        id: format!("{instigator} after tick {last}"),
        subject: instigator.name.clone(),
        location: Some(&instigator.location),
        job: None,
        target: Some(&instigator.name),
        tags: None,
        message: format!("a tick of {instigator} has failed: {}", problem.what),
        data: json!({ "instigator": instigator, "tick": tick, "problem": problem }),
    };
    context.instance.raise(&told(rules, &matter, now), None, now).await?;
    Ok(())
}
