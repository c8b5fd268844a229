use catchment::{HookContext, Input, Partition, Problem, failure_hook, resource, schedule};

#[failure_hook]
async fn hook(ctx: HookContext, value: Input<u32>) -> Result<(), Problem> { //~ Input<u32>` cannot be an argument here: it is no extractor for `HookContext`
    let _ = (ctx, value);
    Ok(())
}

#[resource]
async fn built(day: Partition) -> Result<u32, Problem> { //~ Partition` cannot be an argument here: it is no extractor for `ResourceContext`
    drop(day);
    Ok(1)
}

#[schedule(cron = "0 3 * * *", job = "j")]
async fn nightly(day: Partition) -> Result<(), Problem> { //~ Partition` cannot be an argument here: it is no extractor for `ScheduleContext`
    drop(day);
    Ok(())
}

fn main() {}
