//! The code server of a location that is given by a binary: started, watched, and replaced when the file changes.
//!
//! A replacement takes over only when it serves: it listens on a socket of its own, which then takes the place of the
//! location's. Runs are processes of their own, which none of this touches.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catchment_model::{Code, Problem};
use catchment_settings::config::{GrpcAddress, LocationEntry};
use catchment_settings::{clock, task};
use tokio::sync::Notify;

use crate::backoff::backoff;
use crate::client::{Described, LocationClient};
use crate::registry::Registry;
use crate::service::{Service, Spec};

/// Between two looks at the file. It must look the same twice, so that one that is still being written is not started.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Between two questions whether a server answers at all.
const ASK_INTERVAL: Duration = Duration::from_secs(3);
/// How long it may take to answer that.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// A server that does not answer so often in a row is replaced.
const UNANSWERED: u32 = 3;
/// A server that has served so long starts again at once.
const STEADY: Duration = Duration::from_secs(10);
/// How long a code server may take to let go when the daemon stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long one that was replaced may take: it answers what it was asked.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// What shows that a file is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self { inode: meta.ino(), bytes: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// Keeps the code server of a location until the registry stops.
pub(super) async fn keep(
    registry: &Arc<Registry>,
    entry: &LocationEntry,
    program: PathBuf,
    environment: Vec<(String, String)>,
    reload: &Notify,
) {
    let mut keeper = CodeServer {
        registry,
        entry,
        program,
        environment,
        serving: None,
        hangs: false,
        note: None,
        starts: 0,
        failures: 0,
        since: clock::monotonic(),
    };
    tokio::select! {
        () = registry.stop.cancelled() => {}
        () = keeper.work(reload) => {}
    }
    if let Some((service, _)) = keeper.serving.take() {
        service.stop(STOP_WITHIN).await;
    }
}

struct CodeServer<'a> {
    registry: &'a Arc<Registry>,
    entry: &'a LocationEntry,
    program: PathBuf,
    environment: Vec<(String, String)>,
    serving: Option<(Service, Arc<dyn LocationClient>)>,
    /// Whether the server that serves does not answer any more.
    hangs: bool,
    /// Why the newest binary does not serve, while an older one does.
    note: Option<Problem>,
    starts: u32,
    failures: u32,
    since: Instant,
}

impl CodeServer<'_> {
    async fn work(&mut self, reload: &Notify) {
        let name = &self.entry.name;
        loop {
            let print = Print::of(&self.program);
            match self.start().await {
                Ok((service, client, described)) => {
                    self.note = None;
                    let loaded = self.serving.is_some();
                    self.registry.here(name, described, client.clone(), None, loaded);
                    if let Some((old, _)) = self.serving.replace((service, client)) {
                        let within = if std::mem::take(&mut self.hangs) { STOP_WITHIN } else { DRAIN_WITHIN };
                        drop(task::spawn("replaced code server", old.stop(within)));
                    }
                }
                Err(problem) => {
                    tracing::warn!(location = name, %problem, "the code server cannot be started");
                    match &self.serving {
                        // The location answers all the same: this is what is wrong with its definitions.
                        Some(_) => self.note = Some(Problem { code: Code::InvalidConfig, ..problem }),
                        None => {
                            self.failures += 1;
                            self.registry.away(name, problem);
                        }
                    }
                }
            }
            self.until_there_is_something_to_do(print, reload).await;
        }
    }

    /// Waits until the server has ended (and is due again), the file has changed, or someone asks for a reload.
    async fn until_there_is_something_to_do(&mut self, print: Option<Print>, reload: &Notify) {
        let name = &self.entry.name;
        let Some((service, client)) = &mut self.serving else {
            tokio::select! {
                () = tokio::time::sleep(backoff(self.failures)) => {}
                () = changed(&self.program, print) => self.failures = 0,
                () = reload.notified() => self.failures = 0,
            }
            return;
        };
        // It is not asked to describe itself again for a reload: that starts it anew.
        let never = Notify::new();
        let status = tokio::select! {
            status = service.ended() => status,
            () = hangs(client.as_ref()) => {
                tracing::warn!(location = name, "the code server runs and does not answer; it is replaced");
                self.hangs = true;
                return;
            }
            () = self.registry.watch(name, client.clone(), self.note.clone(), &never) => return,
            () = changed(&self.program, print) => return,
            () = reload.notified() => return,
        };
        self.serving = None;
        self.failures = if self.since.elapsed() > STEADY { 1 } else { self.failures + 1 };
        tracing::warn!(location = name, status, "the code server has ended; it is started again");
        let log = self.registry.home.process_log(name);
        self.registry.away(
            name,
            Problem::new(Code::Unavailable, format!("the code server has ended ({status})"))
                .place(log.display().to_string())
                .remedy("it is started again by itself; its log may say why it ended"),
        );
        if self.failures > 1 {
            tokio::time::sleep(backoff(self.failures - 1)).await;
        }
    }

    /// Starts the code server beside the one that serves; puts its socket in place once it has described itself.
    async fn start(&mut self) -> Result<(Service, Arc<dyn LocationClient>, Described), Problem> {
        let name = &self.entry.name;
        let home = &self.registry.home;
        if !self.program.is_file() {
            return Err(Problem::new(Code::Unavailable, "the binary of the code location is not there")
                .place(self.program.display().to_string())
                .remedy("build it, or mend its path in workspace.yaml; it is started as soon as it is there"));
        }
        self.starts += 1;
        let socket = home.location_socket(&format!("{name}.{}-{}", std::process::id(), self.starts));
        let mut environment = self.environment.clone();
        environment.push(("CATCHMENT_HOME".into(), home.root().display().to_string()));
        let spec = Spec {
            name: name.clone(),
            program: self.program.clone(),
            arguments: vec!["code-server".into(), "--socket".into(), socket.display().to_string()],
            environment,
            log: home.process_log(name),
        };
        let service = Service::start(&spec, |_| false).await?;
        let first = self.registry.client_at(self.entry, &GrpcAddress::Socket(socket.clone()))?;
        match first.describe().await {
            Ok(described) => {
                let place = home.location_socket(name);
                std::fs::rename(&socket, &place).map_err(|e| {
                    Problem::new(Code::Io, "the socket of a code server cannot be put in its place")
                        .place(place.display().to_string())
                        .cause(e.to_string())
                        .remedy("see that the folder may be written")
                })?;
                self.since = clock::monotonic();
                Ok((service, self.registry.client(self.entry)?, described))
            }
            Err(error) => {
                service.stop(STOP_WITHIN).await;
                Err(error.into())
            }
        }
    }
}

/// Waits until a server has not answered for a while, though it runs.
async fn hangs(client: &dyn LocationClient) {
    let mut unanswered = 0;
    while unanswered < UNANSWERED {
        tokio::time::sleep(ASK_INTERVAL).await;
        let answered = tokio::time::timeout(ANSWER_WITHIN, client.answers()).await;
        unanswered = if matches!(answered, Ok(true)) { 0 } else { unanswered + 1 };
    }
}

/// Waits until the file is another than it was, and stays so for a moment.
async fn changed(path: &Path, was: Option<Print>) {
    let mut last = was;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = Print::of(path);
        if now.is_some() && now != was && now == last {
            return;
        }
        last = now;
    }
}
