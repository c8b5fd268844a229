//! The files that an operator writes: `catchment.yaml` ([`OperatorConfig`]) and `workspace.yaml` ([`Workspace`]).
//!
//! Both may hold `{env: NAME}` in the place of any value. Unknown fields are errors. Every fault is told with its
//! file, its path in it, and what is allowed there.

mod alerts;
mod load;
mod operator;
mod scalar;
#[cfg(test)]
mod tests;
mod workspace;

pub use alerts::{AlertKind, AlertRule, Alerts, Channel, Webhook};
pub use operator::{
    Backfills, Concurrency, Freshness, OperatorConfig, PoolGranularity, Pools, PurgeAfterDays, PurgeByStatus,
    Retention, RetentionOf, RunMonitoring, RunQueue, RunRetries, Schedules, Sensors, TagConcurrencyLimit,
    TagLimitValue,
};
pub use workspace::{GrpcAddress, LocationEntry, LocationSource, Workspace};
