//! The supervised processes: started, restarted, stopped.

use std::path::Path;
use std::time::Duration;

use catchment_locations::service::{Service as Process, Spec};
use catchment_model::{Code, Problem};
use catchment_settings::{Home, clock};
use serde::Deserialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{STOP_WITHIN, view};
use crate::process::LocationLine;

/// A process that runs.
#[derive(Debug)]
pub(super) struct Service {
    spec: Spec,
    process: Process,
    failures: u32,
}

/// What to start: a command of this program.
pub(super) fn spec<'a>(name: &str, program: &Path, arguments: impl IntoIterator<Item = &'a str>, home: &Home) -> Spec {
    Spec {
        name: name.to_owned(),
        program: program.to_owned(),
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        environment: vec![("CATCHMENT_HOME".into(), home.root().display().to_string())],
        log: home.process_log(name),
    }
}

/// What the daemon says after its ready line.
#[derive(Deserialize)]
struct Said {
    location: LocationLine,
}

/// Takes what is for the person in front; the rest goes to the log.
fn heard(line: &str) -> bool {
    match serde_json::from_str::<Said>(line) {
        Ok(Said { location }) => {
            view::location(&location);
            true
        }
        Err(_) => false,
    }
}

/// Ctrl-C and SIGTERM.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn new() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind).map_err(|e| Problem::new(Code::Io, "signals cannot be listened for").cause(e.to_string()))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Service {
    /// Starts the process and waits for its ready line.
    pub(super) async fn start(spec: Spec) -> Result<Self, Problem> {
        let process = Process::start(&spec, heard).await?;
        Ok(Self { spec, process, failures: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn address(&self) -> &str {
        &self.process.ready().address
    }

    /// What the daemon has said of the code locations when it was ready.
    pub(super) fn locations(&self) -> Vec<LocationLine> {
        let lines = self.process.ready().more.get("locations").cloned();
        lines.and_then(|lines| serde_json::from_value(lines).ok()).unwrap_or_default()
    }

    /// Starts it again where it was: on the port that others know.
    async fn restart(&mut self) -> Result<(), Problem> {
        let mut spec = self.spec.clone();
        if let Some(at) = spec.arguments.iter().position(|a| a == "--listen")
            && let Some(listen) = spec.arguments.get_mut(at + 1)
        {
            self.address().clone_into(listen);
        }
        let failures = self.failures;
        *self = Self { failures, ..Self::start(spec).await? };
        self.locations().iter().for_each(view::location);
        Ok(())
    }
}

/// Watches the services until a stop is asked for; each that ends is started again, later after each failure.
pub(super) async fn supervise(services: &mut [Service], stop: &mut Stop) -> Result<(), Problem> {
    loop {
        let ended = {
            let waits =
                services.iter_mut().enumerate().map(|(i, s)| Box::pin(async move { (i, s.process.ended().await) }));
            tokio::select! {
                () = stop.asked() => return Ok(()),
                ((index, status), _, _) = futures::future::select_all(waits) =>
                    (index, status),
            }
        };
        let (index, status) = ended;
        let Some(service) = services.get_mut(index) else { continue };
        view::died(service.name(), &status);
        let began = clock::monotonic();
        loop {
            let pause = Duration::from_millis(50).saturating_mul(1 << service.failures.min(8));
            if service.failures > 0 {
                tokio::select! {
                    () = stop.asked() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
            }
            match service.restart().await {
                Ok(()) => {
                    view::restarted(service.name(), service.address(), began.elapsed());
                    service.failures = service.failures.saturating_sub(1);
                    break;
                }
                Err(problem) => {
                    service.failures = service.failures.saturating_add(1);
                    view::not_restarted(service.name(), &problem);
                }
            }
        }
    }
}

/// Asks all services to stop, the daemon and the web server first, and kills what does not.
pub(super) async fn stop_all(services: Vec<Service>) {
    for service in services.into_iter().rev() {
        service.process.stop(STOP_WITHIN).await;
    }
}
