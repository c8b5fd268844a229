//! The long-lived processes: thin wrappers around their crates. Each prints one line of JSON on standard output
//! when it can serve, and stops on SIGTERM or Ctrl-C.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use catchment_daemon::DaemonConfig;
use catchment_launchers::SubprocessLauncher;
use catchment_ledger::SqliteLedger;
use catchment_model::{Code, Problem};
use catchment_settings::{Environment, S3Credentials};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Ends when the process is asked to stop.
pub(crate) fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, Problem> {
    let listen =
        |kind| signal(kind).map_err(|e| Problem::new(Code::Io, "signals cannot be listened for").cause(e.to_string()));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
    })
}

/// Says that the process can serve.
fn ready(process: &str, address: &str) {
    println!("{}", json!({"ready": true, "process": process, "address": address}));
}

/// `catchment s3`.
pub(crate) async fn s3(environment: &Environment, listen: SocketAddr) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let admin = S3Credentials::load_or_create(&home, environment)?;
    let config = catchment_s3_server::Config::for_home(&home, environment, admin, listen);
    let server = catchment_s3_server::Server::bind(config).await?;
    ready("s3", &server.local_addr().to_string());
    server.serve(stop).await
}

/// `catchment webserver`.
pub(crate) async fn webserver(environment: &Environment, listen: SocketAddr) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let config = catchment_web::Config { home, environment: environment.clone(), listen };
    let server = catchment_web::Server::bind(config).await?;
    ready("webserver", &server.local_addr().to_string());
    server.serve(stop).await
}

/// `catchment daemon`. It has no port; its ready line names the code location.
pub(crate) async fn daemon(environment: &Environment, location: String) -> Result<(), Problem> {
    let stop = asked_to_stop()?;
    let home = environment.open_home()?;
    let config = DaemonConfig {
        instance: catchment_instance::open(&home).await?,
        ledger: Arc::new(SqliteLedger::open(home.ledger_db()).await?),
        location_endpoint: location.clone(),
        launcher: Arc::new(SubprocessLauncher::new()),
        settings: catchment_daemon::Settings::default(),
        home,
    };
    let mut running = std::pin::pin!(catchment_daemon::run(config, stop));
    // Its first step takes the lock and the socket: it either fails there, or it works.
    if let Poll::Ready(ended) = futures::poll!(&mut running) {
        return ended;
    }
    ready("daemon", &location);
    running.await
}
