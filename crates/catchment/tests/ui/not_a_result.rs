use catchment::asset;

#[asset]
async fn wrong() -> u32 {
    1
}

fn main() {}
