use catchment::{
    AssetContext, AutomationCondition, BackfillPolicy, CheckResult, Claim, Config, DynamicOutput, Event, Graph,
    HookContext, Input, Inputs, Materialization, Observation, Optional, Partition, PartitionMapping,
    PartitionsDefinition, Problem, Res, ResourceContext, RetryPolicy, Run, RunRequest, SensorResult, SkipReason, Wire,
    asset, asset_check, asset_sensor, claim_handler, failure_hook, graph, job, multi_asset, observable_source_asset,
    op, resource, run_status_sensor, schedule, sensor, success_hook,
};

fn days() -> PartitionsDefinition {
    PartitionsDefinition::daily("day", "2026-01-01")
}

/// What it is.
#[asset(
    group = "a", kinds = ["b"], deps = ["c"], partitions = days, mappings = [("c", PartitionMapping::Last)],
    code_version = "1", owners = ["team:x"], tags = [("k", "v")], metadata = [("rows", 1)], io_manager = "m",
    pool = "p", retry = 3, automation = AutomationCondition::eager(), backfill_policy = BackfillPolicy::SingleRun,
    checks = ["c"], hooks = [well, badly],
)]
pub async fn numbers(_ctx: AssetContext, Config(start): Config<u32>, _day: Partition) -> Result<Vec<u32>, Problem> {
    Ok(vec![start])
}

#[asset(key = "total", retry = RetryPolicy::default())]
async fn sum(#[from("numbers")] given: Input<Vec<u32>>, engine: Res<dyn std::fmt::Debug + Send + Sync>) -> Result<(u32, Materialization), Problem> {
    let _ = engine;
    Ok((given.iter().sum(), Materialization::new().with("rows", 1)))
}

/// Not stored, not comparable, not anything.
struct Plain;

#[asset]
async fn plain() -> Result<Plain, Problem> {
    Ok(Plain)
}

#[multi_asset(assets = ["one", "two"], can_subset)]
async fn both() -> Result<(Optional<u32>, Optional<Plain>), Problem> {
    Ok((Optional(Some(1)), Optional(None)))
}

#[observable_source_asset(group = "outside")]
async fn outside() -> Result<Observation, Problem> {
    Ok(Observation::new().data_version("1"))
}

#[asset_check(asset = "total", blocking)]
async fn positive(total: Input<u32>) -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(*total > 0))
}

#[op(outputs = ["low", "high"], tags = [("dagster/priority", "3")])]
async fn bounds(n: Input<u32>) -> Result<(u32, u32), Problem> {
    Ok((*n, *n))
}

#[op]
async fn spread(n: Input<u32>) -> Result<Vec<DynamicOutput<u32>>, Problem> {
    Ok(vec![DynamicOutput::new("a", *n)])
}

#[op]
async fn add(all: Inputs<u32>) -> Result<u32, Problem> {
    Ok(all.iter().sum())
}

#[graph]
fn inner(g: &mut Graph, n: Wire<u32>) -> Wire<u32> {
    let (low, high) = bounds::node(g, n);
    add::node(g.alias("together").tag("a", "b"), [low, high])
}

#[job(tags = [("a", "b")], concurrency = 2, hooks = [badly])]
fn everything(g: &mut Graph, n: Wire<u32>) {
    let n = inner::node(g, n);
    let each = spread::node(g, n).each();
    let again = inner::node(g, each);
    add::node(g, again.collect());
}

#[success_hook]
async fn well(ctx: HookContext) -> Result<(), Problem> {
    drop(ctx);
    Ok(())
}

#[failure_hook]
async fn badly(_ctx: HookContext, pager: Res<u8>) -> Result<(), Problem> {
    let _ = pager;
    Ok(())
}

#[resource]
async fn pager(_ctx: ResourceContext, level: Config<u8>) -> Result<u8, Problem> {
    Ok(level.0)
}

#[resource]
async fn engine(pager: Res<u8>) -> Result<std::sync::Arc<dyn std::fmt::Debug + Send + Sync>, Problem> {
    let _ = pager;
    Ok(std::sync::Arc::new(1))
}

#[sensor(name = "s", jobs = ["j"], minimum_interval_s = 1, default = stopped)]
async fn looks() -> Result<SensorResult, Problem> {
    Ok(SensorResult::default())
}

#[run_status_sensor(statuses = [Failure, Canceled], monitored_jobs = ["j"], monitor_all_locations)]
async fn watches(run: Run) -> Result<(), Problem> {
    drop(run);
    Ok(())
}

#[asset_sensor(asset = "total", jobs = ["j"])]
async fn follows(event: Event) -> Result<Option<RunRequest>, Problem> {
    Ok(Some(RunRequest::new(event.id.to_string())))
}

#[schedule(cron = ["0 3 * * *", "@weekly"], timezone = "Europe/Zurich", job = "j", default = running)]
async fn nightly() -> Result<Result<RunRequest, SkipReason>, Problem> {
    Ok(Err(SkipReason::new("not today")))
}

#[claim_handler]
async fn finishes(claim: Claim) -> Result<(), Problem> {
    drop(claim);
    Ok(())
}

fn main() {
    let _ = (numbers(), sum(), plain(), both(), outside(), positive(), bounds(), inner(), everything());
    let _ = (pager(), engine(), looks(), watches(), follows(), nightly(), finishes());
}
