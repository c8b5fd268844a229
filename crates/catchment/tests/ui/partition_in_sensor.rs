use catchment::{Partition, Problem, SensorResult, sensor};

#[sensor(default = running)]
async fn wrong(partition: Partition) -> Result<SensorResult, Problem> {
    drop(partition);
    Ok(SensorResult::default())
}

fn main() {}
