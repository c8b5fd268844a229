//! The names of reserved run tags, as Dagster's users know them.

/// The partition key of a run.
pub const PARTITION: &str = "dagster/partition";
/// The run key under which a sensor or schedule asked for a run.
pub const RUN_KEY: &str = "dagster/run_key";
/// The sensor that asked for a run.
pub const SENSOR_NAME: &str = "dagster/sensor_name";
/// The tick that asked for a run.
pub const TICK: &str = "dagster/tick";
/// The code location that a run belongs to.
pub const CODE_LOCATION: &str = "dagster/code_location";
/// The place of a run in the queue: an integer, higher first.
pub const PRIORITY: &str = "dagster/priority";
/// Why a run failed: one of Dagster's failure reasons.
pub const FAILURE_REASON: &str = "dagster/failure_reason";
/// The run that this one re-executes.
pub const PARENT_RUN_ID: &str = "dagster/parent_run_id";
/// The first run of a chain of re-executions.
pub const ROOT_RUN_ID: &str = "dagster/root_run_id";
