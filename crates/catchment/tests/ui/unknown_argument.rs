use catchment::{Problem, asset};

#[asset(grup = "ingest")] //~ `grup` is not known here or is given twice; allowed: key, group, deps, partitions, mappings
async fn wrong() -> Result<u32, Problem> {
    Ok(1)
}

fn main() {}
