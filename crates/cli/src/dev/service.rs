//! The supervised processes: started, restarted, stopped.

use std::path::Path;
use std::time::{Duration, Instant};

use catchment_locations::service::{Service as Process, Spec};
use catchment_model::{Code, Problem};
use catchment_settings::{Home, clock};
use serde::Deserialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{STOP_WITHIN, view};
use crate::process::LocationLine;

/// A process that has served for so long had started well.
const STEADY: Duration = Duration::from_secs(5);

/// A process that runs.
#[derive(Debug)]
pub(super) struct Service {
    spec: Spec,
    process: Process,
    ready_at: Instant,
    /// How often in a row it could not be started, or ended soon after it was.
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

    /// Waits for one of them.
    pub(super) async fn asked(&mut self) {
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
        Ok(Self { spec, process, ready_at: clock::monotonic(), failures: 0 })
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

    /// Starts it again each time that it ends, later after each failure.
    async fn watch(&mut self) {
        loop {
            let status = self.process.ended().await;
            view::died(self.name(), &status);
            let ended = clock::monotonic();
            self.failures = failures_after(ended - self.ready_at, self.failures);
            loop {
                tokio::time::sleep(pause(self.failures)).await;
                match self.restart().await {
                    Ok(()) => break view::restarted(self.name(), self.address(), ended.elapsed()),
                    Err(problem) => {
                        self.failures = self.failures.saturating_add(1);
                        view::not_restarted(self.name(), &problem);
                    }
                }
            }
        }
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

/// Watches the services until a stop is asked for; each that ends is started again, whatever becomes of the others.
pub(super) async fn supervise(services: &mut [Service], stop: impl Future<Output = ()>) {
    let watched = services.iter_mut().map(Service::watch);
    tokio::select! {
        () = stop => {}
        _ = futures::future::join_all(watched) => {}
    }
}

/// How often in a row a process has failed now that it ended after so long.
fn failures_after(lived: Duration, before: u32) -> u32 {
    if lived < STEADY { before.saturating_add(1) } else { 0 }
}

/// How long to wait before a start: not at all for a process that had worked well.
fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        some => Duration::from_millis(50).saturating_mul(1 << some.min(6)),
    }
}

/// Asks all services to stop, the daemon and the web server first, and kills what does not.
pub(super) async fn stop_all(services: Vec<Service>) {
    for service in services.into_iter().rev() {
        service.process.stop(STOP_WITHIN).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::{STEADY, Service, failures_after, pause, supervise};
    use catchment_locations::service::Spec;
    use catchment_settings::clock;

    #[test]
    fn a_process_that_ends_soon_after_its_start_is_started_later_each_time() {
        let mut failures = 0;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failures = failures_after(Duration::from_millis(10), failures);
            pauses.push(pause(failures));
        }
        assert!(pauses.is_sorted() && pauses[0] >= Duration::from_millis(100), "{pauses:?}");
        assert!((2..5).contains(&pauses[11].as_secs()), "{pauses:?}");
        assert_eq!(pause(failures_after(STEADY, failures)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_service_that_cannot_be_restarted_disturbs_no_other_and_no_stop() {
        let folder = tempfile::tempdir().unwrap();
        let spec = |name: &str, script: &str| Spec {
            name: name.to_owned(),
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("HERE".to_owned(), folder.path().display().to_string())],
            log: folder.path().join(name),
        };
        let ready = r#"echo '{"ready": true, "address": "a"}'"#;
        // Started once, it never becomes ready again.
        let stuck = format!("if [ -e $HERE/once ]; then exec sleep 600; fi; touch $HERE/once; {ready}");
        let brief = format!("echo . >> $HERE/starts; {ready}");
        let mut services = vec![
            Service::start(spec("stuck", &stuck)).await.unwrap(),
            Service::start(spec("brief", &brief)).await.unwrap(),
        ];
        let starts = folder.path().join("starts");
        let began = clock::monotonic();
        let several = async {
            while std::fs::read_to_string(&starts).unwrap().lines().count() < 4 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        supervise(&mut services, several).await;
        // Three pauses lie between four starts, and nobody has waited for the one that is stuck.
        let took = began.elapsed();
        assert!(took >= pause(1) + pause(2) + pause(3) && took < Duration::from_secs(15), "{took:?}");
    }
}
