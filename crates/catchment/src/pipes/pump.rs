//! A session at work: the process, its streams and its messages, until all of them have ended.

use std::pin::pin;
use std::time::Duration;

use catchment_core::Level;
use catchment_model::Code;
use catchment_settings::clock;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::capture::MOST_OF_LINE;
use super::handler::{Handler, MOST_OF_MESSAGE};
use super::lines::Lines;
use super::message::Stream;
use super::process::{Exit, Process, Streams};
use super::reader::{MessageSource, MessagesFrom};
use crate::context::AssetContext;

/// How long a stream is read that another process holds open when the process itself has ended.
const LATE: Duration = Duration::from_secs(2);

/// What all parts of a session share.
pub(super) struct Session<'a> {
    pub(super) context: &'a AssetContext,
    pub(super) handler: &'a Handler,
    /// Cancelled when the process is to end early.
    pub(super) stop: &'a CancellationToken,
    pub(super) termination_timeout: Duration,
}

impl Session<'_> {
    /// Sees the process to its end, and answers how it ended.
    pub(super) async fn attend(&self, mut process: Process, streams: Streams, from: MessagesFrom) -> Exit {
        let ended = CancellationToken::new();
        let (mixed, source) = match from {
            MessagesFrom::Stdio(stream) => (Some(stream), None),
            MessagesFrom::Source(source) => (None, Some(source)),
        };
        let watch = async {
            let exit = self.watch(&mut process).await;
            ended.cancel();
            exit
        };
        let stdout = tokio::process::ChildStdout::from_std(streams.stdout);
        let stderr = tokio::process::ChildStderr::from_std(streams.stderr);
        let messages = async {
            if let Some(source) = source {
                self.messages(source, &ended).await;
            }
        };
        let (exit, (), (), ()) = tokio::join!(
            watch,
            self.stream(stdout, Stream::Stdout, mixed == Some(Stream::Stdout), &ended),
            self.stream(stderr, Stream::Stderr, mixed == Some(Stream::Stderr), &ended),
            messages,
        );
        exit
    }

    async fn watch(&self, process: &mut Process) -> Exit {
        tokio::select! {
            exit = process.exited() => return exit,
            () = self.stop.cancelled() => {}
        }
        let halt = &self.context.run().halt;
        let lost = halt.token.is_cancelled() && halt.reason().code == Code::LeaseLost;
        if !lost {
            self.context.log(Level::Info, "[pipes] the step is to end early: SIGINT is sent to the process");
            process.signal(libc::SIGINT);
            if let Ok(exit) = tokio::time::timeout(self.termination_timeout, process.exited()).await {
                return exit;
            }
            let seconds = self.termination_timeout.as_secs_f64();
            self.context
                .log(Level::Warning, format!("[pipes] the process did not end within {seconds} s: it is killed"));
        }
        process.signal(libc::SIGKILL);
        process.exited().await
    }

    /// Reads a standard stream to its end.
    async fn stream<R: AsyncRead + Unpin>(
        &self,
        opened: std::io::Result<R>,
        stream: Stream,
        mixed: bool,
        ended: &CancellationToken,
    ) {
        let name = stream.as_str();
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(error) => return self.handler.reader_failed(&format!("{name}: {error}")),
        };
        let mut late = pin!(async {
            ended.cancelled().await;
            tokio::time::sleep(LATE).await;
        });
        let mut lines = Lines::new(if mixed { MOST_OF_MESSAGE } else { MOST_OF_LINE });
        let take = |line| if mixed { self.handler.mixed(stream, line) } else { self.handler.output(stream, line) };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = tokio::select! {
                biased;
                () = &mut late => {
                    let message = format!("[pipes] {name} is still held open by a process that it left: it is not read any more");
                    self.context.log(Level::Warning, message);
                    break;
                }
                read = reader.read(&mut buffer) => read,
            };
            match read {
                Ok(0) => break,
                Ok(count) => lines.feed(&buffer[..count], take),
                Err(error) => {
                    self.handler.reader_failed(&format!("{name}: {error}"));
                    break;
                }
            }
            self.handler.settle().await;
        }
        if let Some(line) = lines.finish() {
            take(line);
        }
    }

    /// Reads a place for messages until the process has ended and there is nothing new.
    async fn messages(&self, mut source: Box<dyn MessageSource>, ended: &CancellationToken) {
        let mut lines = Lines::new(MOST_OF_MESSAGE);
        let mut until = None;
        loop {
            // Looked at before the place is read: what is there then is all.
            let over = ended.is_cancelled();
            match source.read().await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    lines.feed(&bytes, |line| self.handler.message(line));
                    self.handler.settle().await;
                    continue;
                }
                Err(error) => {
                    self.handler.reader_failed(&error.to_string());
                    break;
                }
            }
            if let Some(line) = lines.whole_object() {
                self.handler.message(line);
            }
            if over {
                let until = *until.get_or_insert_with(|| clock::monotonic() + source.linger());
                if self.handler.closed() || self.stop.is_cancelled() || clock::monotonic() >= until {
                    break;
                }
                tokio::time::sleep(source.interval()).await;
            } else {
                tokio::time::timeout(source.interval(), ended.cancelled()).await.ok();
            }
        }
        if let Some(line) = lines.finish() {
            self.handler.message(line);
        }
        self.handler.settle().await;
    }
}
