//! What is compared with Dagster: a job of one op, a job of 200 ops, a sensor of a folder.

use std::path::PathBuf;

use catchment::{Definitions, Graph, Problem, Res, ResourceContext, RunRequest, SkipReason, job, op, resource, sensor};

pub(crate) fn add(definitions: Definitions) -> Definitions {
    definitions.job(one_op()).job(two_hundred_ops()).sensor(folder_sensor()).add_resource(inbox())
}

/// Does nothing.
#[op]
async fn nothing() -> Result<u32, Problem> {
    Ok(1)
}

/// One op.
#[job]
fn one_op(g: &mut Graph) {
    nothing::node(g);
}

/// Two hundred ops, none of which waits for another.
#[job]
fn two_hundred_ops(g: &mut Graph) {
    for i in 0..200 {
        nothing::node(g.alias(&format!("n{i}")));
    }
}

/// The folder that the sensor watches: `BENCH_INBOX`, or `inbox` in the home folder.
#[resource]
async fn inbox(ctx: ResourceContext) -> Result<PathBuf, Problem> {
    let folder = std::env::var_os("BENCH_INBOX").map_or_else(|| ctx.home().root().join("inbox"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Asks for a run of `one_op` for each file of the folder.
#[sensor(jobs = ["one_op"], watch = "inbox")]
async fn folder_sensor(inbox: Res<PathBuf>) -> Result<Result<Vec<RunRequest>, SkipReason>, Problem> {
    let files = std::fs::read_dir(&*inbox)?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let requests: Vec<_> = files.map(RunRequest::new).collect();
    Ok(if requests.is_empty() { Err(SkipReason::new("nothing new")) } else { Ok(requests) })
}
