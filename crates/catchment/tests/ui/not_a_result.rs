use catchment::asset;

#[asset]
async fn wrong() -> u32 { //~ a definition's function returns `Result<T, E>` where `E` becomes a `Problem`, not `u32`
    1
}

fn main() {}
