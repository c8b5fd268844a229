//! What becomes of the messages.

use std::sync::{Mutex, MutexGuard, PoisonError};

use catchment_core::{EventKind, Level, NewEvent};
use catchment_model::{Code, Problem};
use serde_json::{Value, json};

use super::capture::Capture;
use super::lines::Line;
use super::message::{self, Message, Read, Stream, VERSION};
use super::result::PipesResult;
use crate::context::AssetContext;

/// How long a message may be, in bytes.
pub(super) const MOST_OF_MESSAGE: usize = 8 * 1024 * 1024;
/// How many bytes of reports and custom messages are kept for the launching code.
const MOST_KEPT: usize = 64 * 1024 * 1024;
/// After so many lines it is waited until they are written: a process is never faster than the log.
const LINES_AT_ONCE: usize = 1000;
/// How often the log is told of the same kind of wrong line.
const WARNINGS: usize = 10;

/// Takes lines and messages, and keeps what was reported.
pub(super) struct Handler {
    context: AssetContext,
    /// The assets of the step.
    assets: Option<Vec<String>>,
    forward_stdio: bool,
    most_kept: usize,
    state: Mutex<State>,
}

struct State {
    result: PipesResult,
    kept: usize,
    opened: bool,
    closed: bool,
    exception: Option<String>,
    broken: Option<Problem>,
    stdout: Capture,
    stderr: Capture,
    events: Vec<NewEvent>,
    lines: usize,
    warnings: usize,
}

/// What the session leaves.
pub(super) struct Left {
    /// What was reported.
    pub(super) result: PipesResult,
    /// The first message that broke the protocol.
    pub(super) broken: Option<Problem>,
    /// The exception that Pipes was closed with, else the last lines of standard error.
    pub(super) why: Option<String>,
}

impl Handler {
    pub(super) fn new(context: AssetContext, assets: Option<Vec<String>>, forward_stdio: bool) -> Self {
        let capture = |stream| Capture::new(context.clone(), stream);
        let state = State {
            result: PipesResult::default(),
            kept: 0,
            opened: false,
            closed: false,
            exception: None,
            broken: None,
            stdout: capture(Stream::Stdout),
            stderr: capture(Stream::Stderr),
            events: Vec::new(),
            lines: 0,
            warnings: 0,
        };
        Self { context, assets, forward_stdio, most_kept: MOST_KEPT, state: Mutex::new(state) }
    }

    /// Whether Pipes was closed.
    pub(super) fn closed(&self) -> bool {
        self.state().closed
    }

    /// Takes a line of a standard stream that may hold messages.
    pub(super) fn mixed(&self, stream: Stream, line: Line) {
        if let Some(other) = self.offer(line) {
            self.output(stream, other);
        }
    }

    /// Takes a line of a place that holds nothing but messages.
    pub(super) fn message(&self, line: Line) {
        let Some(other) = self.offer(line) else { return };
        if !other.text.trim().is_empty() {
            let why = if other.utf8 { "it is no JSON object of Pipes" } else { "it is not UTF-8" };
            let begin: String = other.text.chars().take(100).collect();
            self.warn(format!("[pipes] a line among the messages was left out: {why}: {begin}"));
        }
    }

    /// Takes a line of ordinary output.
    pub(super) fn output(&self, stream: Stream, line: Line) {
        let mut state = self.state();
        let logged = state.capture(stream).line(line, self.forward_stdio);
        state.lines += logged;
    }

    /// Says that the messages cannot be read any more.
    pub(super) fn reader_failed(&self, why: &str) {
        let problem = Problem::new(Code::Io, "the messages of the process could not be read").cause(why);
        self.broken("[pipes] framework exception: the messages cannot be read any more", problem);
    }

    /// Writes the events that wait, and waits for the log where it got much.
    pub(super) async fn settle(&self) {
        let (events, many) = {
            let mut state = self.state();
            let many = state.lines >= LINES_AT_ONCE;
            if many {
                state.lines = 0;
            }
            (std::mem::take(&mut state.events), many)
        };
        if many || !events.is_empty() {
            // Where the log cannot be written, the journal halts the run.
            self.context.run().journal.write(events).await.ok();
        }
    }

    /// Ends it: what waits is written, and what did not come is told.
    pub(super) async fn finish(&self) -> Left {
        let left = {
            let mut state = self.state();
            state.stdout.finish();
            state.stderr.finish();
            if state.warnings > WARNINGS {
                let more = state.warnings - WARNINGS;
                self.context.log(Level::Warning, format!("[pipes] {more} further lines among the messages were wrong"));
            }
            Left {
                result: std::mem::take(&mut state.result),
                broken: state.broken.take(),
                why: state.exception.take().or_else(|| state.stderr.told()),
            }
        };
        self.settle().await;
        left
    }

    /// Warns where Pipes was not opened, or not closed.
    pub(super) fn tell_what_did_not_come(&self, channel: &Value) {
        let (opened, closed) = {
            let state = self.state();
            (state.opened, state.closed)
        };
        if !opened {
            let message = format!(
                "[pipes] no message came from the process. Its output is above; does it call open_dagster_pipes(), and can \
                 it write to {channel}?"
            );
            self.context.log(Level::Warning, message);
        } else if !closed {
            let message = "[pipes] the process opened Pipes and did not close it, so messages may be lost: use \
                           `with open_dagster_pipes() as pipes:`, or call `pipes.close()` before it ends";
            self.context.log(Level::Warning, message);
        }
    }

    /// Handles a message, and gives back what is none.
    fn offer(&self, line: Line) -> Option<Line> {
        if let Some(bytes) = line.cut_from.filter(|_| looks_like_message(&line.text)) {
            let most = MOST_OF_MESSAGE / (1024 * 1024);
            self.warn(format!("[pipes] a message of {bytes} bytes was left out: at most {most} MiB are taken"));
            return None;
        }
        match message::read(&line.text) {
            Read::Other => return Some(line),
            Read::Message(message) => {
                if !line.utf8 {
                    self.warn("[pipes] a message was not UTF-8: what could not be read was replaced".to_owned());
                }
                self.handle(message, line.text.len());
            }
            Read::Wrong(why) => self.wrong(&why),
        }
        None
    }

    fn handle(&self, message: Message, bytes: usize) {
        if self.state().closed && !matches!(message, Message::Stream(..)) {
            self.warn(format!("[pipes] a message came after `closed`: {}", name(&message)));
        }
        match message {
            Message::Opened(extras) => {
                let first = !std::mem::replace(&mut self.state().opened, true);
                if first {
                    self.context.log(Level::Info, "[pipes] the process opened Pipes");
                    self.state().result.opened = Some(extras);
                }
            }
            Message::Log(level, text) => {
                self.context.log(level, text.replace('\0', "\u{fffd}"));
                self.state().lines += 1;
            }
            Message::Materialization(made) => {
                if let Err(why) = self.may_report(&made.asset_key) {
                    self.wrong(&why);
                } else if self.state().result.materializations.iter().any(|other| other.asset_key == made.asset_key) {
                    self.wrong(&format!("asset `{}` was reported as materialised before", made.asset_key));
                } else {
                    self.keep(bytes, |result| result.materializations.push(made));
                }
            }
            Message::Check(check) => match self.may_report(&check.asset_key) {
                Err(why) => self.wrong(&why),
                Ok(()) => self.keep(bytes, |result| result.checks.push(check)),
            },
            Message::Custom(payload) => self.keep(bytes, |result| result.custom_messages.push(payload)),
            Message::Stream(stream, text) => {
                let mut state = self.state();
                let logged = state.capture(stream).text(&text);
                state.lines += logged;
            }
            Message::Closed(exception) => {
                self.state().closed = true;
                if let Some(exception) = exception {
                    self.raised(exception);
                }
            }
        }
    }

    /// An exception that ended the external code. The exit code decides about the step.
    fn raised(&self, exception: Value) {
        let text = exception.get("message").and_then(Value::as_str).unwrap_or("an exception without a message");
        let text = text.trim_end().to_owned();
        let problem = Problem::new(Code::WorkerCrashed, "the process raised an exception").cause(text.clone());
        let message = format!("[pipes] the process closed Pipes with an exception: {text}");
        self.engine_event(message, json!({"problem": problem, "exception": exception}));
        self.state().exception = Some(text);
    }

    fn may_report(&self, asset_key: &str) -> Result<(), String> {
        match &self.assets {
            Some(assets) if !assets.iter().any(|asset| asset == asset_key) => {
                Err(format!("asset `{asset_key}` is not made by this step, which makes `{}`", assets.join("`, `")))
            }
            _ => Ok(()),
        }
    }

    fn keep(&self, bytes: usize, keep: impl FnOnce(&mut PipesResult)) {
        let full = {
            let mut state = self.state();
            state.kept += bytes;
            let full = state.kept > self.most_kept;
            if !full {
                keep(&mut state.result);
            }
            full
        };
        if full {
            let problem = Problem::new(Code::LimitExceeded, "the process reported too much")
                .cause(format!("reports and custom messages may have {} MiB together", self.most_kept / (1024 * 1024)))
                .remedy("write large results to a file or the lake, and report where they are");
            self.broken("[pipes] further reports are left out: the process reported too much", problem);
        }
    }

    fn wrong(&self, why: &str) {
        let problem = Problem::new(Code::InvalidInput, "the process sent a message that breaks the Pipes protocol")
            .cause(why)
            .remedy("mend the program; the messages that Catchment takes are those of dagster-pipes");
        self.broken(&format!("[pipes] framework exception: a message was refused: {why}"), problem);
    }

    /// Keeps the first problem; it fails the step when the process has ended.
    fn broken(&self, message: &str, problem: Problem) {
        let first = self.state().broken.is_none();
        if first {
            self.engine_event(message.to_owned(), json!({"problem": problem}));
            self.state().broken = Some(problem);
        } else {
            self.warn(message.to_owned());
        }
    }

    fn engine_event(&self, message: String, data: Value) {
        let step = Some(self.context.step_key());
        let event = self.context.run().journal.event(EventKind::EngineEvent, step, Level::Error, message, data);
        self.state().events.push(event);
    }

    fn warn(&self, message: String) {
        let told = {
            let mut state = self.state();
            state.warnings += 1;
            state.warnings <= WARNINGS
        };
        if told {
            self.context.log(Level::Warning, message.replace('\0', "\u{fffd}"));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn capture(&mut self, stream: Stream) -> &mut Capture {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

fn looks_like_message(text: &str) -> bool {
    text.trim_start().starts_with('{') && text.contains(VERSION)
}

fn name(message: &Message) -> &'static str {
    match message {
        Message::Opened(_) => "opened",
        Message::Log(..) => "log",
        Message::Materialization(_) => "report_asset_materialization",
        Message::Check(_) => "report_asset_check",
        Message::Custom(_) => "report_custom_message",
        Message::Stream(..) => "log_external_stream",
        Message::Closed(_) => "closed",
    }
}
