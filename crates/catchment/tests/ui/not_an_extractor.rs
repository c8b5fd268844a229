use catchment::{Problem, asset};

#[asset]
async fn wrong(name: String) -> Result<u32, Problem> { //~ `String` cannot be an argument here: it is no extractor for `StepContext`
    Ok(name.len() as u32)
}

fn main() {}
