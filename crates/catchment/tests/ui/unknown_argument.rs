use catchment::{Problem, asset};

#[asset(grup = "ingest")]
async fn wrong() -> Result<u32, Problem> {
    Ok(1)
}

fn main() {}
