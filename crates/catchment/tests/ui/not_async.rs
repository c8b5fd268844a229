use catchment::{Problem, asset};

#[asset]
fn wrong() -> Result<u32, Problem> { //~ this function has to be async: write `async fn`
    Ok(1)
}

fn main() {}
