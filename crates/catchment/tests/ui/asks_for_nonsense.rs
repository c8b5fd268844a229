use catchment::{Problem, schedule, sensor};

#[sensor(jobs = ["j"])]
async fn looks() -> Result<u32, Problem> { //~ a sensor or schedule returns a SensorResult, RunRequests, a SkipReason or nothing, not `u32`
    Ok(1)
}

#[sensor(default = sometimes)] //~ a sensor is `running` or `stopped` by default
async fn sometimes() -> Result<(), Problem> {
    Ok(())
}

#[schedule(cron = "0 3 * * *", job = "j")]
async fn nightly() -> Result<u32, Problem> { //~ a sensor or schedule returns
    Ok(1)
}

fn main() {}
