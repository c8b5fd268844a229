//! The engine that runs in this process: SedonaDB on DataFusion.
//!
//! A job is a plan of DataFusion: the input stream, dealt out to all cores; the recipe's steps; an external sort by
//! the Hilbert key that spills to disk; the merge. It runs on threads of its own, so that a long computation never
//! keeps the process from renewing its lease.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use catchment_model::{Code, Crs, Problem};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use futures::{FutureExt, Stream, StreamExt};
use sedona::context::SedonaContext;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::engine::{ReportHandle, SpatialEngine, TransformJob, Transformed};
use crate::geos::Geos;
use crate::hilbert::Extent;
use crate::proj;
use crate::sql::{GEOMETRY, Input, SedonaDialect, Statement, render};

mod errors;
mod feed;
mod functions;
mod geometry_type;
mod memory;
mod tally;

use errors::{from_datafusion, panicked};
use feed::{Feed, ROW};
use memory::SharePool;
use tally::Tally;

/// The name of the input relation.
const TABLE: &str = "input";
/// Rows of a batch at most: enough to be columnar, few enough that those in flight weigh little.
const BATCH_ROWS: usize = 8192;
/// Batches that may wait between the plan and its reader.
const WAITING: usize = 2;

/// SedonaDB in this process.
pub struct SedonaEngine {
    runtime: Option<Runtime>,
    threads: usize,
    version: String,
}

impl SedonaEngine {
    /// Starts the engine's threads, one for each core. A process needs one engine; it also tells the allocator to
    /// give large blocks back, so that memory stays bounded.
    pub fn new() -> Result<Self, Problem> {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("compute")
            .enable_all()
            .build()
            .map_err(|error| {
                Problem::new(Code::Io, "the engine's threads cannot be started").cause(error.to_string())
            })?;
        proj::use_for_sedona()?;
        memory::give_back_large_blocks();
        let version = format!(
            "0.5 (DataFusion {}, GEOS {}, PROJ {})",
            datafusion::DATAFUSION_VERSION,
            Geos::version(),
            proj::version()
        );
        Ok(Self { runtime: Some(runtime), threads, version })
    }
}

impl Drop for SedonaEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for threads is not allowed within an async task, where an engine may well be dropped.
            runtime.shutdown_background();
        }
    }
}

#[async_trait]
impl SpatialEngine for SedonaEngine {
    fn name(&self) -> &str {
        "sedonadb"
    }

    fn version(&self) -> &str {
        &self.version
    }

    async fn transform(&self, job: TransformJob) -> Result<Transformed, Problem> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Problem::new(Code::Bug, "the engine has been stopped"))?;
        let threads = self.threads;
        runtime.spawn(async move { start(job, threads).await }).await.map_err(|error| panicked(&error.to_string()))?
    }
}

/// Plans the job and starts it on the runtime that this is called on.
async fn start(job: TransformJob, threads: usize) -> Result<Transformed, Problem> {
    let TransformJob { schema, mut input, crs, recipe, tags, limits } = job;
    let values = recipe.values(&tags)?;
    let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
    let statement = render(&recipe, &SedonaDialect, &Input { table: TABLE.into(), columns, row: ROW.into() }, &values)?;
    tracing::debug!(sql = %statement.sql, "recipe rendered");

    let tally = Arc::new(Tally::default());
    // The first batch shows how large rows are.
    let first = input.next().await.transpose()?;
    let batch_rows = first.as_ref().map_or(Ok(BATCH_ROWS), feed::rows_for)?;
    let input = Box::pin(futures::stream::iter(first.map(Ok)).chain(input));
    let context = context(&limits, threads, batch_rows).await?;
    for function in functions::all(&tally, geometry_extent(&recipe, &crs)) {
        context.ctx.register_udf(function);
    }
    let feed = Feed::table(&schema, input, &crs, tally.clone(), threads, batch_rows)?;
    let plan = plan(&context, feed, &statement).await?;
    let output = output_schema(plan.schema(), &statement)?;
    let target = geometry_type::crs_of(output.field_with_name(GEOMETRY).map_err(|error| {
        Problem::new(Code::RecipeInvalid, "the recipe returns no geometry").cause(error.to_string())
    })?)?;
    let schema = geometry_type::plain(&output);

    let stream = run(plan, schema.clone(), tally.clone(), context);
    let report = ReportHandle(Arc::new(move || tally.report()));
    Ok(Transformed { schema, stream: Box::pin(stream), crs: target, statement, report })
}

/// The extent of the Hilbert curve: that of the last CRS that the recipe names, else of the source's.
fn geometry_extent(recipe: &crate::recipe::Recipe, source: &Crs) -> Extent {
    let last = recipe.steps.iter().rev().find_map(|step| match step {
        crate::recipe::Step::NormalizeCrs { to } => Some(to.as_str()),
        _ => None,
    });
    let geographic = match last {
        Some(to) => proj::resolve(to).is_ok_and(|crs| is_geographic(&crs)),
        None => is_geographic(source),
    };
    if geographic { Extent::DEGREES } else { Extent::PROJECTED }
}

fn is_geographic(crs: &Crs) -> bool {
    fn look(json: &serde_json::Value) -> bool {
        match json["type"].as_str() {
            Some("CompoundCRS") => look(&json["components"][0]),
            Some("BoundCRS") => look(&json["source_crs"]),
            Some(kind) => kind.starts_with("Geographic"),
            None => false,
        }
    }
    look(&crs.projjson)
}

async fn context(limits: &crate::engine::Limits, threads: usize, batch_rows: usize) -> Result<SedonaContext, Problem> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![limits.spill_dir.clone()]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(SharePool::new(limits.memory_bytes, threads)))
        .with_disk_manager_builder(disk)
        .build_arc()
        .map_err(from_datafusion)?;
    let context = SedonaContext::new_local_interactive_with_runtime_env(runtime).await.map_err(from_datafusion)?;
    let state = context.ctx.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = threads;
    options.execution.batch_size = batch_rows;
    // What a sort sets aside to merge what it spilled: batches of two runs at least.
    options.execution.sort_spill_reservation_bytes = limits.memory_bytes / threads / 4;
    drop(state);
    Ok(context)
}

async fn plan(
    context: &SedonaContext,
    feed: Arc<dyn TableProvider>,
    statement: &Statement,
) -> Result<DataFrame, Problem> {
    context.ctx.register_table(TABLE, feed).map_err(from_datafusion)?;
    let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.ctx.sql_with_options(&statement.sql, only_queries).await.map_err(|error| {
        Problem::new(Code::RecipeInvalid, "the recipe's SQL cannot be run").cause(error.to_string())
    })?;
    reads_only_the_input(frame.logical_plan())?;
    Ok(frame)
}

/// SedonaDB can read files by name; a recipe may not.
fn reads_only_the_input(plan: &LogicalPlan) -> Result<(), Problem> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut foreign = None;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) if scan.table_name.table() != TABLE => {
                foreign = Some(scan.table_name.to_string())
            }
            LogicalPlan::TableScan(_) => {}
            LogicalPlan::Extension(extension) => foreign = Some(extension.node.name().to_owned()),
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    match foreign {
        None => Ok(()),
        Some(name) => Err(Problem::new(Code::RecipeInvalid, "the recipe's SQL reads something other than {input}")
            .place(name)
            .remedy("read {input} alone; joins with other datasets are made by the intent join_datasets")),
    }
}

fn output_schema(schema: &datafusion::common::DFSchema, statement: &Statement) -> Result<SchemaRef, Problem> {
    let schema = Arc::new(schema.as_arrow().clone());
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if names != statement.columns {
        return Err(
            Problem::new(Code::Bug, "the plan returns other columns than the statement").cause(names.join(", "))
        );
    }
    Ok(schema)
}

/// Runs the plan on this runtime and hands its batches over a channel of a few places.
fn run(
    frame: DataFrame,
    schema: SchemaRef,
    tally: Arc<Tally>,
    context: SedonaContext,
) -> impl Stream<Item = Result<RecordBatch, Problem>> + Send {
    let (sender, receiver) = mpsc::channel(WAITING);
    catchment_settings::task::spawn("transform", async move {
        let work = AssertUnwindSafe(work(frame, &schema, &tally, &sender)).catch_unwind();
        let end = tokio::select! {
            end = work => end,
            // The reader is gone: dropping the work stops the plan.
            () = sender.closed() => return,
        };
        drop(context);
        let last = match end {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(from_datafusion(error)),
            Err(panic) => Err(panicked(panic.downcast_ref::<&str>().copied().unwrap_or("no message"))),
        };
        sender.send(last).await.ok();
    });
    futures::stream::unfold(Some(receiver), |receiver: Option<mpsc::Receiver<_>>| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(batch))) => Some((Ok(batch), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(problem)) => Some((Err(problem), None)),
            None => Some((Err(panicked("the engine's thread ended without a word")), None)),
        }
    })
}

async fn work(
    frame: DataFrame,
    schema: &SchemaRef,
    tally: &Tally,
    sender: &mpsc::Sender<Result<Option<RecordBatch>, Problem>>,
) -> Result<(), DataFusionError> {
    let mut stream = frame.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        let batch = geometry_type::as_plain(&batch?, schema)?;
        tally.went_out(batch.num_rows());
        if sender.send(Ok(Some(batch))).await.is_err() {
            break;
        }
    }
    Ok(())
}
