//! Retention: removes what the settings do not want to keep, a bounded batch at a time. Used run keys and claims are
//! never touched.

use std::time::Duration;

use async_trait::async_trait;
use catchment_core::instigator::{InstigatorKind, TickStatus};
use catchment_model::Problem;
use catchment_settings::config::{PurgeAfterDays, PurgeByStatus};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::context::{Context, ago};
use crate::reconcile::Reconcile;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(600);
/// The same while there is more to remove: others want to write as well.
const BUSY_INTERVAL: Duration = Duration::from_millis(100);
/// How much goes at once.
const BATCH: u32 = 500;
/// How many log lines go at once.
const LINES: u32 = 20_000;
const DAY: Duration = Duration::from_secs(86_400);

/// Removes what is too old.
pub struct Retention {
    context: Context,
}

impl Retention {
    /// By the context's settings.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// Removes at most a batch of each kind of thing; answers when to look again.
    ///
    /// # Errors
    /// Those of the state.
    pub async fn step(&mut self) -> Result<Duration, Problem> {
        let (instance, settings, now) =
            (self.context.instance.clone(), self.context.config.retention.clone(), self.context.now());
        let mut most = 0;
        for (kind, days) in [
            (InstigatorKind::Sensor, settings.sensor.purge_after_days),
            (InstigatorKind::Schedule, settings.schedule.purge_after_days),
        ] {
            for (status, days) in by_status(days) {
                if let Some(before) = before(days, now) {
                    most = most.max(instance.purge_ticks(kind, &[status], before, BATCH).await?);
                }
            }
        }
        if let Some(before) = before(settings.auto_materialize.purge_after_days, now) {
            most = most.max(instance.purge_evaluations(before, BATCH).await?);
        }
        if let Some(before) = before(settings.alerts.purge_after_days, now) {
            most = most.max(instance.purge_alerts(before, BATCH).await?);
        }
        if let Some(before) = before(settings.runs.purge_after_days, now) {
            most = most.max(instance.purge_runs(before, BATCH).await?);
        }
        let mut lines = 0;
        if let Some(before) = before(settings.logs.purge_after_days, now) {
            lines = instance.purge_events(before, LINES).await?;
        }
        let more = most >= u64::from(BATCH) || lines >= u64::from(LINES);
        Ok(if more { BUSY_INTERVAL } else { INTERVAL })
    }
}

fn by_status(days: PurgeByStatus) -> [(TickStatus, PurgeAfterDays); 4] {
    [
        (TickStatus::Skipped, days.skipped),
        (TickStatus::Success, days.success),
        (TickStatus::Failure, days.failure),
        (TickStatus::Started, days.started),
    ]
}

/// What is older than this goes; nothing where it is kept for ever.
fn before(days: PurgeAfterDays, now: Timestamp) -> Option<Timestamp> {
    days.days().map(|days| ago(now, DAY.saturating_mul(days)))
}

#[async_trait]
impl Reconcile for Retention {
    fn name(&self) -> &str {
        "retention"
    }

    fn hint(&self) -> Option<watch::Receiver<()>> {
        None
    }

    async fn step(&mut self) -> Result<Duration, Problem> {
        Retention::step(self).await
    }
}
