//! `catchment dev`: every process of an installation on embedded defaults, in one folder.
//!
//! Starts the S3 server and the code location, then the web server and the daemon; restarts what dies; stops all
//! of them on Ctrl-C. Runs are not its children: they outlive it, as they outlive the daemon.

mod service;
mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::home::Endpoints;
use catchment_settings::lock::Lock;
use catchment_settings::{Environment, Home, clock, task};
use clap::Args;

use crate::doctor;

use service::{Service, Spec};

/// Arguments of `catchment dev`. Port 0 takes a free one and prints it.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevArgs {
    /// Where the web server and API listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    web: SocketAddr,
    /// Where the S3 server listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    s3: SocketAddr,
    /// Where the code location `etl_pipelines` listens (gRPC)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000")]
    code: SocketAddr,
    /// The code location's binary; the one beside this program where it is not given
    #[arg(long, value_name = "PATH")]
    location: Option<PathBuf>,
}

/// Runs everything until Ctrl-C or SIGTERM. Prints a JSON line when ready with `json`, a summary for people without.
///
/// # Errors
/// Where another `catchment dev` has this home, a binary is missing, or a process cannot be started the first time.
pub(crate) async fn run(args: DevArgs, environment: &Environment, json: bool) -> Result<(), Problem> {
    let began = clock::monotonic();
    let home = environment.open_home()?;
    let _lock = Lock::take(&home.lock_file("dev"))?;
    let own = std::env::current_exe()
        .map_err(|e| Problem::new(Code::Io, "the path of this program is unknown").cause(e.to_string()))?;
    let location = match args.location {
        Some(path) => path,
        None => own.with_file_name("catchment-etl"),
    };
    if !location.is_file() {
        return Err(Problem::new(Code::InvalidConfig, "the code location's binary is not there")
            .place(location.display().to_string())
            .remedy("build it (cargo build --release --workspace), or name it with --location"));
    }
    let mut stop = service::Stop::new()?;

    let s3_spec = Spec::new("s3", &own, ["s3", "--listen", &args.s3.to_string()]);
    let code_spec = Spec::new("etl_pipelines", &location, ["code-server", "--listen", &args.code.to_string()]);
    let (s3, code) = tokio::join!(Service::start(s3_spec, &home), Service::start(code_spec, &home));
    let mut services = vec![];
    let started = match (s3, code) {
        (Ok(s3), Ok(code)) => {
            let mut endpoints = Endpoints {
                s3: Some(format!("http://{}", s3.address())),
                code_location: Some(format!("http://{}", code.address())),
                web: None,
            };
            services.extend([s3, code]);
            start_the_rest(&home, &own, args.web, &mut endpoints, &mut services).await
        }
        (s3, code) => {
            let error = [s3.as_ref().err(), code.as_ref().err()].into_iter().flatten().next().cloned();
            services.extend([s3, code].into_iter().flatten());
            Err(error.unwrap_or_else(|| Problem::new(Code::Bug, "a process neither started nor failed")))
        }
    };
    let endpoints = match started {
        Ok(endpoints) => endpoints,
        Err(problem) => {
            service::stop_all(services).await;
            return Err(problem);
        }
    };
    view::ready(&home, &endpoints, began.elapsed(), json);
    // After the ready line: what is weaker than it should be is said loudly, but nobody waits for the answer.
    task::spawn("worker's sandbox", async { doctor::worker_problems().await.iter().for_each(view::weaker) });
    let supervised = service::supervise(&mut services, &home, &mut stop).await;
    view::stopping(json);
    service::stop_all(services).await;
    supervised
}

/// Starts what needs to know where the S3 server and the code location listen.
async fn start_the_rest(
    home: &Home,
    own: &std::path::Path,
    web: SocketAddr,
    endpoints: &mut Endpoints,
    services: &mut Vec<Service>,
) -> Result<Endpoints, Problem> {
    let written = |endpoints: &Endpoints| {
        home.write_endpoints(endpoints).map_err(|e| {
            Problem::new(Code::Io, "the endpoints cannot be written")
                .place(home.root().display().to_string())
                .cause(e.to_string())
        })
    };
    written(endpoints)?;
    let location = endpoints.code_location.clone().unwrap_or_default();
    let web_spec = Spec::new("webserver", own, ["webserver", "--listen", &web.to_string()]);
    let daemon_spec = Spec::new("daemon", own, ["daemon", "--location", &location]);
    let (web, daemon) = tokio::join!(Service::start(web_spec, home), Service::start(daemon_spec, home));
    let mut failed = None;
    for started in [web, daemon] {
        match started {
            Ok(service) => {
                if service.name() == "webserver" {
                    endpoints.web = Some(format!("http://{}", service.address()));
                }
                services.push(service);
            }
            Err(problem) => failed = Some(problem),
        }
    }
    if let Some(problem) = failed {
        return Err(problem);
    }
    written(endpoints)?;
    Ok(endpoints.clone())
}

/// How long a process may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long a process may take to stop before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
