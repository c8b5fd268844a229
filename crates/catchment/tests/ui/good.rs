use catchment::{AssetContext, Claim, Config, Input, Problem, Res, SensorResult, asset, claim_handler, sensor};

/// What it is.
#[asset(group = "a", kinds = ["b"], deps = ["c"])]
pub async fn numbers(_ctx: AssetContext, Config(start): Config<u32>) -> Result<Vec<u32>, Problem> {
    Ok(vec![start])
}

#[asset(key = "total")]
async fn sum(#[from("numbers")] given: Input<Vec<u32>>, engine: Res<dyn std::fmt::Debug + Send + Sync>) -> Result<u32, Problem> {
    let _ = engine;
    Ok(given.iter().sum())
}

#[sensor(name = "s", jobs = ["j"], minimum_interval_s = 1, default = stopped)]
async fn looks() -> Result<SensorResult, Problem> {
    Ok(SensorResult::default())
}

#[claim_handler]
async fn finishes(claim: Claim) -> Result<(), Problem> {
    drop(claim);
    Ok(())
}

fn main() {
    let _ = (numbers(), sum(), looks(), finishes());
}
