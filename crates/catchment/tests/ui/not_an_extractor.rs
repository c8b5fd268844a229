use catchment::{Problem, asset};

#[asset]
async fn wrong(name: String) -> Result<u32, Problem> {
    Ok(name.len() as u32)
}

fn main() {}
