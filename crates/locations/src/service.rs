//! A long-lived process that is started here: waited for until it can serve, then watched, then stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::task;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long a process may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What it is, for people.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, beside one's own.
    pub environment: Vec<(String, String)>,
    /// The file that its standard error, and its standard output after the ready line, is appended to.
    pub log: PathBuf,
}

/// A process that runs.
#[derive(Debug)]
pub struct Service {
    name: String,
    child: Child,
    ready: Ready,
}

/// The line that a process prints on standard output when it can serve.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Ready {
    ready: bool,
    /// Where it listens.
    #[serde(default)]
    pub address: String,
    /// What else it says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

impl Service {
    /// Starts the process and waits for its ready line. `heard` is given each line of its standard output after that;
    /// what it does not take is appended to the log. The process ends with the one that has started it.
    ///
    /// # Errors
    /// Where it cannot be started, ends before it is ready, or is not ready within 20 s; nothing runs then.
    pub async fn start(spec: &Spec, heard: impl FnMut(&str) -> bool + Send + 'static) -> Result<Self, Problem> {
        let log = &spec.log;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(|e| {
            Problem::new(Code::Io, "a log cannot be opened").place(log.display().to_string()).cause(e.to_string())
        })?;
        let began_at = file.metadata().map(|m| m.len()).unwrap_or(0);
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
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
                .remedy("see that the program is there and may be executed")
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
                drop(task::spawn("service stdout", keep_output(lines, log.clone(), heard)));
                Ok(Self { name: spec.name.clone(), child, ready })
            }
            Ok(None) => {
                let status = child.wait().await.map(|s| s.to_string()).unwrap_or_default();
                Err(Problem::new(Code::Unavailable, format!("{} ended before it was ready ({status})", spec.name))
                    .place(log.display().to_string())
                    .cause(tail(log, began_at))
                    .remedy("mend what its log says"))
            }
            Err(_) => Err(Problem::new(
                Code::Unavailable,
                format!("{} was not ready within {} s", spec.name, READY_WITHIN.as_secs()),
            )
            .place(log.display().to_string())
            .cause(tail(log, began_at))
            .remedy("mend what its log says")),
        }
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Waits for its end, and says how it ended. Cancel-safe.
    pub async fn ended(&mut self) -> String {
        self.child.wait().await.map(|s| s.to_string()).unwrap_or_else(|e| e.to_string())
    }

    /// Asks it to stop, and kills it where it has not within a time.
    pub async fn stop(mut self, within: Duration) {
        if let Some(pid) = self.child.id().and_then(|p| i32::try_from(p).ok()) {
            // SAFETY: a signal to a child that has not been waited for: the pid is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        if tokio::time::timeout(within, self.child.wait()).await.is_err() {
            tracing::warn!(process = self.name, "did not stop in time and is killed");
            if let Err(error) = self.child.kill().await {
                tracing::warn!(%error, process = self.name, "cannot be killed");
            }
        }
    }
}

/// Passes on what a process prints after its ready line.
async fn keep_output(
    mut lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    mut heard: impl FnMut(&str) -> bool + Send,
) {
    let Ok(mut file) = tokio::fs::OpenOptions::new().append(true).open(&log).await else { return };
    while let Ok(Some(line)) = lines.next_line().await {
        if !heard(&line) && file.write_all(format!("{line}\n").as_bytes()).await.is_err() {
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
