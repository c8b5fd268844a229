use catchment::{Partition, Problem, SensorResult, sensor};

#[sensor(default = running)]
async fn wrong(partition: Partition) -> Result<SensorResult, Problem> { //~ Partition` cannot be an argument here: it is no extractor for `SensorContext`
    drop(partition);
    Ok(SensorResult::default())
}

fn main() {}
