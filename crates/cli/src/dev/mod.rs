//! `catchment dev`: every process of an installation on embedded defaults, in one folder.
//!
//! Starts the S3 server, then the web server and the daemon, which starts the code locations; restarts what dies; stops
//! all of them on Ctrl-C. Runs are not its children: they outlive it, as they outlive the daemon.

mod service;
mod view;

use std::net::SocketAddr;
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::config::{LocationSource, OperatorConfig};
use catchment_settings::home::Endpoints;
use catchment_settings::lock::Lock;
use catchment_settings::{Environment, Home, clock, task};
use clap::Args;

use crate::args::WorkspaceArgs;
use crate::process::LocationLine;
use crate::{doctor, workspace};

use service::{Service, spec};

/// Arguments of `catchment dev`. Port 0 takes a free one and prints it.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevArgs {
    /// Where the web server and API listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    web: SocketAddr,
    /// Where the S3 server listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    s3: SocketAddr,
    #[command(flatten)]
    workspace: WorkspaceArgs,
}

/// Where everything is, and how the code locations are.
struct Started {
    endpoints: Endpoints,
    locations: Vec<LocationLine>,
}

/// Runs everything until Ctrl-C or SIGTERM. Prints a JSON line when ready with `json`, a summary for people without.
///
/// # Errors
/// Where another `catchment dev` has this home, a setting is wrong, or a process cannot be started the first time. A
/// code location that cannot be started is shown with its error, and started once it can be.
pub(crate) async fn run(args: DevArgs, environment: &Environment, json: bool) -> Result<(), Problem> {
    let began = clock::monotonic();
    let home = environment.open_home()?;
    let _lock = Lock::take(&home.lock_file("dev"))?;
    check(&args.workspace, &home)?;
    let mut stop = service::Stop::new()?;
    earlier_services_let_go(&home).await;
    let mut services = vec![];
    let started = match start(&home, &args, &mut services).await {
        Ok(started) => started,
        Err(problem) => {
            service::stop_all(services).await;
            return Err(problem);
        }
    };
    view::ready(&home, &started.endpoints, &started.locations, began.elapsed(), json);
    // After the ready line: what is weaker than it should be is said loudly, but nobody waits for the answer.
    task::spawn("worker's sandbox", async { doctor::worker_problems().await.iter().for_each(view::weaker) });
    service::supervise(&mut services, stop.asked()).await;
    view::stopping(json);
    service::stop_all(services).await;
    Ok(())
}

/// Waits for what an earlier `catchment dev` of this home had started: where that was killed, they have been told to stop,
/// and still hold their locks for a moment.
async fn earlier_services_let_go(home: &Home) {
    let until = clock::monotonic() + STOP_WITHIN;
    let held = |name: &&str| Lock::take(&home.lock_file(name)).is_err();
    while ["s3", "daemon"].iter().any(held) && clock::monotonic() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says at once what would only show in a log: settings that are wrong, a binary that is not there.
fn check(args: &WorkspaceArgs, home: &Home) -> Result<(), Problem> {
    OperatorConfig::load(home)?;
    let workspace = workspace::load(args, home)?;
    let only = match workspace.locations.as_slice() {
        [only] => only,
        _ => return Ok(()),
    };
    match &only.source {
        LocationSource::Binary { path, .. } if !path.is_file() => {
            Err(Problem::new(Code::InvalidConfig, "the code location's binary is not there")
                .place(path.display().to_string())
                .remedy("build it (cargo build --release --workspace), or name it with --location"))
        }
        _ => Ok(()),
    }
}

async fn start(home: &Home, args: &DevArgs, services: &mut Vec<Service>) -> Result<Started, Problem> {
    let own = std::env::current_exe()
        .map_err(|e| Problem::new(Code::Io, "the path of this program is unknown").cause(e.to_string()))?;
    let s3 = Service::start(spec("s3", &own, ["s3", "--listen", &args.s3.to_string()], home)).await?;
    let mut endpoints = Endpoints { s3: Some(format!("http://{}", s3.address())), web: None };
    services.push(s3);
    write(home, &endpoints)?;

    let locations = arguments(&args.workspace)?;
    let web_address = args.web.to_string();
    let web = ["webserver", "--listen", &web_address].into_iter().chain(locations.iter().map(String::as_str));
    let daemon = ["daemon"].into_iter().chain(locations.iter().map(String::as_str));
    let (web, daemon) = (spec("webserver", &own, web, home), spec("daemon", &own, daemon, home));
    let (web, daemon) = tokio::join!(Service::start(web), Service::start(daemon));
    let locations = match &daemon {
        Ok(daemon) => daemon.locations(),
        Err(_) => Vec::new(),
    };
    endpoints.web = web.as_ref().ok().map(|web| format!("http://{}", web.address()));
    let failed = [web, daemon].into_iter().filter_map(|started| started.map(|s| services.push(s)).err()).next();
    match failed {
        Some(problem) => Err(problem),
        None => {
            write(home, &endpoints)?;
            Ok(Started { endpoints, locations })
        }
    }
}

/// The arguments that say to another process which code locations there are.
fn arguments(args: &WorkspaceArgs) -> Result<Vec<String>, Problem> {
    let absolute = |path: &std::path::Path| {
        std::path::absolute(path)
            .map(|path| path.display().to_string())
            .map_err(|e| Problem::new(Code::InvalidConfig, "a path is not usable").cause(e.to_string()))
    };
    Ok(match (&args.location, &args.workspace) {
        (Some(path), _) => vec!["--location".into(), absolute(path)?],
        (None, Some(path)) => vec!["--workspace".into(), absolute(path)?],
        (None, None) => Vec::new(),
    })
}

fn write(home: &Home, endpoints: &Endpoints) -> Result<(), Problem> {
    home.write_endpoints(endpoints).map_err(|e| {
        Problem::new(Code::Io, "the endpoints cannot be written")
            .place(home.root().display().to_string())
            .cause(e.to_string())
    })
}

/// How long a process may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
