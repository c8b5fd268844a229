use catchment::{CheckResult, Problem, asset_check, asset_sensor, run_status_sensor, schedule};

#[schedule(job = "j")] //~ `cron = "0 3 * * *"` is missing
async fn never() -> Result<(), Problem> {
    Ok(())
}

#[schedule(cron = "0 3 * * *")] //~ `job = "…"` is missing: the job that it asks for
async fn nothing() -> Result<(), Problem> {
    Ok(())
}

#[run_status_sensor] //~ `statuses = [Failure]` is missing
async fn watches() -> Result<(), Problem> {
    Ok(())
}

#[asset_sensor(jobs = ["j"])] //~ `asset = "…"` is missing
async fn follows() -> Result<(), Problem> {
    Ok(())
}

#[asset_check] //~ `asset = "…"` is missing: the key of the asset that is checked
async fn checks() -> Result<CheckResult, Problem> {
    Ok(CheckResult::of(true))
}

fn main() {}
