//! The command line: `catchment`.
//!
//! Here: the commands and their arguments (`args`), the processes that they start (`process`, `dev`), the client
//! of the REST API (`client`), the code locations that there are (`workspace`), how errors (`report`) and figures (`humane`) look, and one module for each group of
//! commands.
//!
//! Not here: anything that touches a database. What a command knows, it learned from the web server or from S3,
//! so that roles and the activity log cannot be walked round (`doctor` aside, which looks at this machine).

mod args;
mod backfill;
mod client;
mod dataset;
mod definitions;
mod dev;
mod doctor;
mod humane;
mod ingest;
mod instigator;
mod keys;
mod lake;
mod location;
mod manifest;
mod operations;
mod process;
mod progress;
mod report;
mod run;
mod workspace;

use std::process::ExitCode;

use args::{Cli, Command};
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, logging};
use clap::Parser as _;

/// What a command works with.
struct Context {
    environment: Environment,
    global: args::Global,
}

impl Context {
    /// The web server.
    fn api(&self) -> Result<client::Api, Problem> {
        client::Api::find(self.global.url.as_deref(), &self.environment)
    }

    /// Prints JSON where it was asked for, else calls `human`.
    fn show<T: serde::Serialize>(&self, value: &T, human: impl FnOnce(&T)) -> Result<(), Problem> {
        if self.global.json {
            let text = serde_json::to_string(value)
                .map_err(|e| Problem::new(Code::Bug, "an answer cannot be written as JSON").cause(e.to_string()))?;
            println!("{text}");
        } else {
            human(value);
        }
        Ok(())
    }
}

/// Runs the command line of this process; answers its exit code.
pub fn main() -> ExitCode {
    end_quietly_without_reader();
    let Cli { global, command } = Cli::parse();
    let json = global.json;
    let done = Environment::load().and_then(|mut environment| {
        if let Some(home) = &global.home {
            environment.home.clone_from(home);
        }
        start(command, Context { environment, global })
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            report::print(&problem, json);
            ExitCode::from(problem.code.exit_code())
        }
    }
}

/// A reader that goes away (`| head`) ends this program quietly. Not by SIGPIPE's default action: that would also end
/// a server whose client goes away.
fn end_quietly_without_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        if text.starts_with("failed printing to std") && text.contains("Broken pipe") {
            std::process::exit(0);
        }
        usual(panic);
    }));
}

fn start(command: Command, context: Context) -> Result<u8, Problem> {
    let serves =
        matches!(command, Command::Webserver(_) | Command::Daemon(_) | Command::S3(args::S3Args { command: None, .. }));
    if serves || std::env::var_os("RUST_LOG").is_some() {
        logging::init();
    }
    let mut runtime = if serves {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|e| Problem::new(Code::Io, "the runtime cannot be started").cause(e.to_string()))?;
    runtime.block_on(carry_out(command, context))
}

/// Carries a command out; answers the exit code.
async fn carry_out(command: Command, context: Context) -> Result<u8, Problem> {
    let environment = &context.environment;
    match command {
        Command::Dev(args) => dev::run(args, environment, context.global.json).await.map(|()| 0),
        Command::Webserver(args) => process::webserver(environment, args).await.map(|()| 0),
        Command::Daemon(args) => process::daemon(environment, &args.workspace).await.map(|()| 0),
        Command::S3(args::S3Args { command: None, listen }) => process::s3(environment, listen).await.map(|()| 0),
        Command::S3(args::S3Args { command: Some(args::S3Command::Key(command)), .. }) => {
            keys::carry_out(command, &context).await.map(|()| 0)
        }
        Command::Ingest(args) => ingest::ingest(args, &context).await,
        Command::Manifest(command) => manifest::carry_out(command, &context).await,
        Command::Run(command) => run::carry_out(command, &context).await,
        Command::Asset(command) => definitions::asset(command, &context).await,
        Command::Check(command) => definitions::check(command, &context).await,
        Command::Job(command) => definitions::job(command, &context).await,
        Command::Sensor(command) => instigator::carry_out("sensor", command, &context).await.map(|()| 0),
        Command::Schedule(command) => instigator::carry_out("schedule", command, &context).await.map(|()| 0),
        Command::Backfill(command) => backfill::backfill(command, &context).await.map(|()| 0),
        Command::Partition(command) => backfill::partition(command, &context).await.map(|()| 0),
        Command::Location(command) => location::carry_out(command, &context).await.map(|()| 0),
        Command::Pool(command) => operations::pool(command, &context).await.map(|()| 0),
        Command::Alert(command) => operations::alert(command, &context).await.map(|()| 0),
        Command::Instance(command) => operations::instance(command, &context).await.map(|()| 0),
        Command::Dataset(command) => dataset::carry_out(command, &context).await.map(|()| 0),
        Command::Lake(command) => lake::carry_out(command, &context).await,
        Command::Doctor => doctor::examine(&context).await,
    }
}
