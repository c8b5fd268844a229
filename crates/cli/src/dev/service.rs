//! One supervised process: started, waited for, restarted, stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::{Home, clock, task};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{READY_WITHIN, STOP_WITHIN, view};

/// What to start.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Spec {
    pub(super) fn new<'a>(name: &'static str, program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name, program: program.to_owned(), arguments: arguments.into_iter().map(str::to_owned).collect() }
    }
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Service {
    spec: Spec,
    child: Child,
    address: String,
    failures: u32,
}

/// The line that a process prints on standard output when it can serve.
#[derive(Deserialize)]
struct Ready {
    ready: bool,
    #[serde(default)]
    address: String,
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
    /// Starts the process and waits for its ready line; its standard error goes to its log file.
    pub(super) async fn start(spec: Spec, home: &Home) -> Result<Self, Problem> {
        let log = home.process_log(spec.name);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(|e| {
            Problem::new(Code::Io, "a log cannot be opened").place(log.display().to_string()).cause(e.to_string())
        })?;
        let began_at = file.metadata().map(|m| m.len()).unwrap_or(0);
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .env("CATCHMENT_HOME", home.root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true);
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // A process of its own group, so that Ctrl-C reaches the supervisor alone; ended with it.
                libc::setpgid(0, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|e| {
            Problem::new(Code::Io, format!("{} cannot be started", spec.name))
                .place(spec.program.display().to_string())
                .cause(e.to_string())
        })?;
        let Some(stdout) = child.stdout.take() else {
            return Err(Problem::new(Code::Bug, "a child has no standard output"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(READY_WITHIN, async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(ready) = serde_json::from_str::<Ready>(&line)
                    && ready.ready
                {
                    return Some(ready);
                }
            }
            None
        })
        .await;
        match ready {
            Ok(Some(ready)) => {
                task::spawn("service stdout", keep_output(lines, log));
                Ok(Self { spec, child, address: ready.address, failures: 0 })
            }
            Ok(None) => {
                let status = child.wait().await.map(|s| s.to_string()).unwrap_or_default();
                Err(Problem::new(Code::Unavailable, format!("{} ended before it was ready ({status})", spec.name))
                    .place(log.display().to_string())
                    .cause(tail(&log, began_at))
                    .remedy("mend what its log says; a port that is taken can be changed: catchment dev --help"))
            }
            Err(_) => Err(Problem::new(
                Code::Unavailable,
                format!("{} was not ready within {} s", spec.name, READY_WITHIN.as_secs()),
            )
            .place(log.display().to_string())
            .cause(tail(&log, began_at))),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.spec.name
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Starts it again where it was: on the port that others know.
    async fn restart(&mut self, home: &Home) -> Result<(), Problem> {
        let mut spec = self.spec.clone();
        if let Some(at) = spec.arguments.iter().position(|a| a == "--listen")
            && let Some(listen) = spec.arguments.get_mut(at + 1)
        {
            listen.clone_from(&self.address);
        }
        let failures = self.failures;
        *self = Self { failures, ..Self::start(spec, home).await? };
        Ok(())
    }
}

/// Appends what a process prints after its ready line to its log.
async fn keep_output(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>, log: PathBuf) {
    let Ok(mut file) = tokio::fs::OpenOptions::new().append(true).open(&log).await else { return };
    while let Ok(Some(line)) = lines.next_line().await {
        if file.write_all(format!("{line}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The last lines that a process wrote to its log since `from`.
fn tail(log: &Path, from: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let new = text.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
    let new = String::from_utf8_lossy(new);
    let lines: Vec<&str> = new.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Watches the services until a stop is asked for; each that ends is started again, later after each failure.
pub(super) async fn supervise(services: &mut [Service], home: &Home, stop: &mut Stop) -> Result<(), Problem> {
    loop {
        let ended = {
            let waits =
                services.iter_mut().enumerate().map(|(i, s)| Box::pin(async move { (i, s.child.wait().await) }));
            tokio::select! {
                () = stop.asked() => return Ok(()),
                ((index, status), _, _) = futures::future::select_all(waits) =>
                    (index, status.map(|s| s.to_string()).unwrap_or_else(|e| e.to_string())),
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
            match service.restart(home).await {
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
    for mut service in services.into_iter().rev() {
        if let Some(pid) = service.child.id().and_then(|p| i32::try_from(p).ok()) {
            // SAFETY: a signal to a child that has not been waited for: the pid is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        if tokio::time::timeout(STOP_WITHIN, service.child.wait()).await.is_err() {
            tracing::warn!(process = service.spec.name, "did not stop in time and is killed");
            if let Err(error) = service.child.kill().await {
                tracing::warn!(%error, process = service.spec.name, "cannot be killed");
            }
        }
    }
}
