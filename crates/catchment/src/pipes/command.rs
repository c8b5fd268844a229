//! A plain child process of a step: its output in the step's log, its life the step's.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use catchment_model::{Code, Problem};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::capture::{Capture, MOST_OF_LINE};
use super::lines::Lines;
use super::message::Stream;
use super::process::{Exit, Process};
use crate::context::StepContext;

/// How long a stream is read that another process holds open when the process itself has ended.
const LATE: Duration = Duration::from_secs(2);

impl StepContext {
    /// Runs a program to its end: what it writes to its standard streams is lines of the step's log, and how it ended is
    /// the answer, whatever that was. It is a group of its own, which is killed when the run is cancelled, or when the
    /// future is dropped. What speaks Dagster Pipes is run by [`PipesSubprocess`](crate::PipesSubprocess).
    ///
    /// ```
    /// # use catchment::{AssetContext, Problem, asset};
    /// # use std::process::Command;
    /// #[asset]
    /// async fn listed(context: AssetContext) -> Result<bool, Problem> {
    ///     let mut command = Command::new("ls");
    ///     command.arg("-l");
    ///     Ok(context.run_command(command).await?.success())
    /// }
    /// ```
    ///
    /// # Errors
    /// `file_not_found` or `io` where it cannot be started; `canceled`.
    pub async fn run_command(&self, command: Command) -> Result<ExitStatus, Problem> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let (mut process, streams) = Process::start(command).await.map_err(|error| cannot_start(&shown, &error))?;
        let _adopted = self.adopt_group(process.pid());
        let read = async {
            let stdout = tokio::process::ChildStdout::from_std(streams.stdout);
            let stderr = tokio::process::ChildStderr::from_std(streams.stderr);
            tokio::join!(lines(self, Stream::Stdout, stdout), lines(self, Stream::Stderr, stderr));
        };
        let mut read = std::pin::pin!(read);
        let mut all_read = false;
        let exit = loop {
            tokio::select! {
                exit = process.exited() => break exit,
                () = self.cancellation().cancelled() => {
                    process.signal(libc::SIGKILL);
                    return Err(self.run().halt.reason());
                }
                () = &mut read, if !all_read => all_read = true,
            }
        };
        if !all_read {
            tokio::time::timeout(LATE, read).await.ok();
        }
        Ok(match exit {
            Exit::Code(code) => ExitStatus::from_raw((code & 0xff) << 8),
            Exit::Signal(signal) => ExitStatus::from_raw(signal),
        })
    }
}

/// Writes a stream to the log, line by line, until it ends or is dropped.
async fn lines<R: AsyncRead + Unpin>(context: &StepContext, stream: Stream, opened: std::io::Result<R>) {
    let Ok(mut reader) = opened else { return };
    let mut pending = Pending { capture: Capture::new(context.clone(), stream), lines: Lines::new(MOST_OF_LINE) };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let Pending { capture, lines } = &mut pending;
        lines.feed(&buffer[..count], |line| {
            capture.line(line, true);
        });
        // The log is waited for, so that a program that writes faster than it takes no memory.
        if context.run().journal.flush().await.is_err() {
            return;
        }
    }
}

/// What is not in the log yet; it gets there also where the reading is given up.
struct Pending {
    capture: Capture,
    lines: Lines,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(line) = self.lines.finish() {
            self.capture.line(line, true);
        }
        self.capture.finish();
    }
}

fn cannot_start(program: &str, error: &std::io::Error) -> Problem {
    let (code, remedy) = match error.kind() {
        std::io::ErrorKind::NotFound => {
            (Code::FileNotFound, "install it where runs work, or give its full path; see that its folder is there")
        }
        _ => (Code::Io, "see the cause; its file may lack the right to be executed"),
    };
    Problem::new(code, "the program could not be started").place(program).cause(error.to_string()).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use catchment_model::Code;

    use crate::pipes::tests::World;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn what_a_program_writes_is_in_the_log_and_how_it_ended_is_the_answer() {
        let world = World::new();
        let status = world.context.run_command(shell("echo out; printf end; echo err >&2; exit 3")).await.unwrap();
        assert_eq!(status.code(), Some(3));
        let mut lines = world.lines().await;
        lines.sort();
        assert_eq!(lines, ["end", "err", "out"]);
        assert!(world.context.run_command(shell("exit 0")).await.unwrap().success());
        let killed = world.context.run_command(shell("kill -9 $$")).await.unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(9));
        let missing = world.context.run_command(Command::new("no-such-program")).await.unwrap_err();
        assert_eq!(missing.code, Code::FileNotFound);
    }

    #[tokio::test]
    async fn a_program_ends_with_its_run_and_with_its_step() {
        let world = World::new();
        let script = format!("echo $$ > {}; sleep 600 & wait", world.path("pid").display());
        let context = world.context.clone();
        let running =
            catchment_settings::task::spawn("command", async move { context.run_command(shell(&script)).await });
        let pid: i32 = world.appears("pid").await.parse().unwrap();
        running.abort();
        world.ends(pid).await;

        let script = format!("echo $$ > {}; sleep 600 & wait", world.path("other").display());
        let context = world.context.clone();
        let running =
            catchment_settings::task::spawn("command", async move { context.run_command(shell(&script)).await });
        let pid: i32 = world.appears("other").await.parse().unwrap();
        world.context.run().halt.token.cancel();
        assert!(running.await.unwrap().is_err());
        world.ends(pid).await;
    }
}
