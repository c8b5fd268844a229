use catchment::{Problem, asset};

#[asset]
fn wrong() -> Result<u32, Problem> {
    Ok(1)
}

fn main() {}
