//! What keeps an installation busy: jobs with values between their steps, a pool, retries, a sensor that counts, a
//! schedule for each minute, partitions to be backfilled.

use std::time::Duration;

use catchment::{
    AssetContext, Definitions, Graph, Input, Partition, PartitionsDefinition, Problem, RunRequest, ScheduleDefinition,
    SensorContext, SensorResult, asset, asset_job, job, op, sensor,
};

/// How often each run is run again where it was lost.
const RETRIES: &str = "3";

pub(crate) fn add(definitions: Definitions) -> Definitions {
    definitions
        .assets([part(), part_sum()])
        .job(
            asset_job("parts", ["part", "part_sum"])
                .tag("dagster/max_retries", RETRIES)
                .tag("dagster/retry_strategy", "ALL_STEPS"),
        )
        .job(chain())
        .job(counted())
        .sensor(counting_sensor())
        .schedule(ScheduleDefinition::new("each_minute", ["* * * * *"], "chain"))
}

fn parts() -> PartitionsDefinition {
    PartitionsDefinition::fixed("part", ["a", "b", "c", "d", "e", "f", "g", "h"])
}

async fn work() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A part.
#[asset(partitions = parts, pool = "narrow")]
async fn part(key: Partition) -> Result<String, Problem> {
    work().await;
    Ok(key.to_string())
}

/// How long a part is.
#[asset(partitions = parts)]
async fn part_sum(ctx: AssetContext, part: Input<String>) -> Result<usize, Problem> {
    ctx.add_metadata("part", part.as_str());
    Ok(part.len())
}

/// Gives a number.
#[op(pool = "narrow")]
async fn first() -> Result<u32, Problem> {
    work().await;
    Ok(1)
}

/// Adds one.
#[op(pool = "narrow")]
async fn next(n: Input<u32>) -> Result<u32, Problem> {
    work().await;
    Ok(*n + 1)
}

/// Three steps, each of which takes a place in the pool.
#[job(tags = [("dagster/max_retries", RETRIES)])]
fn chain(g: &mut Graph) {
    let one = first::node(g);
    let two = next::node(g, one);
    next::node(g, two);
}

/// What the counting sensor asks for.
#[job]
fn counted(g: &mut Graph) {
    first::node(g);
}

/// Counts: each tick asks for the run of the next number.
#[sensor(jobs = ["counted"], minimum_interval_s = 1)]
async fn counting_sensor(ctx: SensorContext) -> Result<SensorResult, Problem> {
    let next = ctx.cursor().and_then(|cursor| cursor.parse().ok()).unwrap_or(0_u64) + 1;
    let run_requests = vec![RunRequest::new(format!("n{next}"))];
    Ok(SensorResult { run_requests, cursor: Some(next.to_string()), ..Default::default() })
}
