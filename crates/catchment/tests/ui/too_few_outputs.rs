use catchment::{Problem, multi_asset, op};

#[multi_asset(assets = ["a", "b", "c"])]
async fn three() -> Result<(u32, u32), Problem> { //~ 3 outputs are named, so this has to be `Result<(…), E>` with 3 types
    Ok((1, 2))
}

#[op(outputs = ["a", "b"])]
async fn two() -> Result<u32, Problem> { //~ 2 outputs are named, so this has to be `Result<(…), E>` with 2 types
    Ok(1)
}

#[multi_asset] //~ `assets = ["a", "b"]` is missing
async fn none() -> Result<(u32, u32), Problem> {
    Ok((1, 2))
}

fn main() {}
