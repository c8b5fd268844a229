//! The program of a code location: `fn main() -> ExitCode { catchment::serve(definitions) }`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use catchment_core::RunId;
use catchment_core::definitions::ASSET_JOB;
use catchment_instance::Lease;
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, logging, task};
use clap::{Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::definitions::Definitions;
use crate::executor::Halt;
use crate::executor::logs::StepLogs;
use crate::executor::run::{self, End};
use crate::resource::{Resources, Surroundings};
use crate::server::{CodeServer, Listen};

/// A code location of Catchment.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the definitions to the control plane over gRPC
    CodeServer {
        /// Where to listen; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:4000")]
        listen: SocketAddr,
        /// The Unix socket to listen at, in the place of an address
        #[arg(long, value_name = "PATH", conflicts_with = "listen")]
        socket: Option<PathBuf>,
    },
    /// Carry one run out; the daemon's launcher calls this
    ExecuteRun {
        /// The run
        #[arg(long)]
        run_id: RunId,
        /// The epoch of the lease that the run was launched with
        #[arg(long)]
        lease_epoch: i64,
    },
    /// List what is defined
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Find everything that is wrong with the definitions
    Check,
}

/// Runs a code location: parses the command line, does what it says, and answers the exit code of
/// CONTRACTS.md (0 done, 1 the work failed, 2 wrong usage, 3 a service is out of reach).
pub fn serve(definitions: impl FnOnce() -> Definitions) -> ExitCode {
    match act(Arguments::parse().command, definitions()) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(problem.code.exit_code())
        }
    }
}

fn act(command: Command, definitions: Definitions) -> Result<ExitCode, Problem> {
    match command {
        Command::CodeServer { listen, socket } => {
            code_server(definitions, socket.map_or(Listen::Tcp(listen), Listen::Socket))
        }
        Command::ExecuteRun { run_id, lease_epoch } => execute_run(&definitions, Lease { run_id, epoch: lease_epoch }),
        Command::List { json } => {
            list(&definitions, json);
            Ok(ExitCode::SUCCESS)
        }
        Command::Check => Ok(check(&definitions)),
    }
}

fn code_server(definitions: Definitions, listen: Listen) -> Result<ExitCode, Problem> {
    logging::init();
    let runtime = runtime(2)?;
    let resources = resources(&definitions)?;
    runtime.block_on(async {
        let stop = stopped()?;
        let server = CodeServer::bind(definitions, resources, listen).await?;
        println!("{}", json!({"ready": true, "process": "code-server", "address": server.address()?}));
        server.serve(stop.cancelled_owned()).await
    })?;
    // An evaluation that blocks its thread ends with the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

fn execute_run(definitions: &Definitions, lease: Lease) -> Result<ExitCode, Problem> {
    logging::init_with(StepLogs);
    // Steps have threads of their own; the workers are for the run itself and for the tasks that steps start.
    let runtime = runtime(std::thread::available_parallelism().map_or(2, usize::from).max(2))?;
    let resources = resources(definitions)?;
    let end = runtime.block_on(async {
        let halt = Halt::default();
        let stop = stopped()?;
        let instance = catchment_instance::open(&resources.surroundings().home).await?;
        let asked = halt.clone();
        drop(task::spawn("signals", async move {
            stop.cancelled().await;
            asked.stop(Problem::new(Code::Canceled, "the run's process was told to end"));
        }));
        run::execute(definitions, instance, resources, lease, halt).await
    });
    // What still works (a blocking call that no cancel reaches) ends with the process.
    runtime.shutdown_background();
    // A run that failed exits with 1, whatever it failed of: its command line was right.
    let why = match end? {
        End::Success => return Ok(ExitCode::SUCCESS),
        End::Failure(problem) => problem,
        End::Canceled => Problem::new(Code::Canceled, "the run was cancelled"),
    };
    eprintln!("error: {why}");
    Ok(ExitCode::FAILURE)
}

fn list(definitions: &Definitions, as_json: bool) {
    let snapshot = definitions.snapshot();
    if as_json {
        println!("{:#}", json!(snapshot));
        return;
    }
    println!("{} {}", snapshot.location, snapshot.code_version);
    for asset in &snapshot.assets {
        println!("  asset       {}{}", asset.key, after(" ← ", &asset.deps));
    }
    for check in &snapshot.checks {
        println!("  check       {}{}", check.key(), if check.blocking { " (blocking)" } else { "" });
    }
    for job in snapshot.jobs.iter().filter(|job| job.name != ASSET_JOB) {
        let steps: Vec<_> = job.steps.iter().map(|step| step.key.clone()).collect();
        println!("  job         {}{}", job.name, after(": ", &steps));
    }
    for sensor in &snapshot.sensors {
        println!("  sensor      {}{}", sensor.name, after(" → ", &sensor.jobs));
    }
    for schedule in &snapshot.schedules {
        let cron = schedule.cron.expressions().join(", ");
        println!("  schedule    {} ({cron} {}) → {}", schedule.name, schedule.cron.timezone(), schedule.job);
    }
    for partitions in &snapshot.partitions {
        println!("  partitions  {}", partitions.name);
    }
    for resource in &snapshot.resources {
        println!("  resource    {} ({})", resource.name, resource.type_name);
    }
}

fn after(sign: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{sign}{}", names.join(", ")) }
}

fn check(definitions: &Definitions) -> ExitCode {
    let problems = definitions.check();
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    if problems.is_empty() {
        let snapshot = definitions.snapshot();
        let counts = [
            (snapshot.assets.len(), "assets"),
            (snapshot.checks.len(), "checks"),
            (definitions.jobs.len(), "jobs"),
            (snapshot.sensors.len(), "sensors"),
            (snapshot.schedules.len(), "schedules"),
        ];
        let counts: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        println!("{}: {} are in order", definitions.location(), counts.join(", "));
        return ExitCode::SUCCESS;
    }
    ExitCode::from(Code::InvalidConfig.exit_code())
}

fn resources(definitions: &Definitions) -> Result<Resources, Problem> {
    let environment = Environment::load()?;
    let home = environment.open_home()?;
    Ok(Resources::of(definitions, Surroundings { environment, home }))
}

fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().map_err(|error| {
        Problem::new(Code::Io, "the async runtime cannot be started")
            .cause(error.to_string())
            .remedy("see that the limits of threads and open files are not used up")
    })
}

/// Cancelled by SIGTERM and by Ctrl-C.
fn stopped() -> Result<CancellationToken, Problem> {
    let failed = |error: std::io::Error| Problem::new(Code::Io, "signals cannot be heard").cause(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let token = CancellationToken::new();
    let stop = token.clone();
    drop(task::spawn("signals", async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }));
    Ok(token)
}
