//! What a process writes to its standard streams, as lines of the step's log.

use std::collections::VecDeque;

use catchment_core::Level;
use serde_json::json;

use super::lines::{Line, Lines};
use super::message::Stream;
use crate::context::AssetContext;

/// How much of a line the log keeps, in bytes.
pub(super) const MOST_OF_LINE: usize = 16 * 1024;
/// How many lines of a stream the log keeps from its begin.
const MOST_LINES: usize = 100_000;
/// How many lines the log keeps from its end, where they are more.
const LAST_LINES: usize = 100;
/// How many of the last lines a failure tells.
const TOLD: usize = 10;

/// One stream.
pub(super) struct Capture {
    context: AssetContext,
    stream: Stream,
    most: usize,
    kept: usize,
    left_out: usize,
    last: VecDeque<String>,
    sent: Lines,
}

impl Capture {
    pub(super) fn new(context: AssetContext, stream: Stream) -> Self {
        Self {
            context,
            stream,
            most: MOST_LINES,
            kept: 0,
            left_out: 0,
            last: VecDeque::new(),
            sent: Lines::new(MOST_OF_LINE),
        }
    }

    /// Takes a line, and answers how many lines the log got.
    pub(super) fn line(&mut self, line: Line, log: bool) -> usize {
        let text = shown(line);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text.clone());
        if !log {
            return 0;
        }
        if self.kept == self.most {
            self.left_out += 1;
            return 0;
        }
        self.kept += 1;
        self.log(text);
        1
    }

    /// Takes text that came in a message, and answers how many lines the log got.
    pub(super) fn text(&mut self, text: &str) -> usize {
        let mut lines = Vec::new();
        self.sent.feed(text.as_bytes(), |line| lines.push(line));
        lines.into_iter().map(|line| self.line(line, true)).sum()
    }

    /// Writes what waits: a last line without its end, and the last lines of a stream that had too many.
    pub(super) fn finish(&mut self) {
        if let Some(line) = self.sent.finish() {
            self.line(line, true);
        }
        if self.left_out == 0 {
            return;
        }
        let last = self.last.len().min(self.left_out);
        let gone = self.left_out - last;
        if gone > 0 {
            let most = self.most;
            let name = self.stream.as_str();
            let message = format!(
                "[pipes] {gone} lines of {name} are not in the log: it keeps the first {most} and the last {last}"
            );
            self.context.log(Level::Warning, message);
        }
        for text in self.last.iter().skip(self.last.len() - last) {
            self.log(text.clone());
        }
    }

    /// The last lines, for people.
    pub(super) fn told(&self) -> Option<String> {
        let lines = self.last.iter().skip(self.last.len().saturating_sub(TOLD)).map(String::as_str);
        let told = lines.collect::<Vec<_>>().join("\n");
        (!told.trim().is_empty()).then(|| told.trim().to_owned())
    }

    fn log(&self, text: String) {
        let run = self.context.run();
        run.journal.log(Some(self.context.step_key()), Level::Info, text, json!({"stream": self.stream.as_str()}));
    }
}

fn shown(mut line: Line) -> String {
    let bytes = line.cut_from.unwrap_or(line.text.len());
    if line.text.len() > MOST_OF_LINE {
        let mut end = MOST_OF_LINE;
        while !line.text.is_char_boundary(end) {
            end -= 1;
        }
        line.text.truncate(end);
    }
    if bytes > MOST_OF_LINE {
        line.text.push_str(&format!("… (cut: the line has {bytes} bytes)"));
    }
    // Databases refuse NUL in a text.
    if line.text.contains('\0') { line.text.replace('\0', "\u{fffd}") } else { line.text }
}

#[cfg(test)]
mod tests {
    use super::{Capture, Line, MOST_OF_LINE, Stream, shown};
    use crate::pipes::tests::World;

    fn line(text: &str) -> Line {
        Line { text: text.into(), cut_from: None, utf8: true }
    }

    #[tokio::test]
    async fn of_too_many_lines_the_log_keeps_the_first_and_the_last_and_says_so() {
        let world = World::new();
        let mut capture = Capture { most: 3, ..Capture::new(world.context.clone(), Stream::Stdout) };
        for number in 0..200 {
            capture.line(line(&number.to_string()), true);
        }
        capture.finish();
        assert_eq!(capture.told().unwrap(), (190..200).map(|n| n.to_string()).collect::<Vec<_>>().join("\n"));
        let lines = world.lines().await;
        assert_eq!(lines[..3], ["0", "1", "2"]);
        assert!(lines[3].contains("97 lines of stdout"), "{}", lines[3]);
        assert_eq!((lines.len(), lines[4].as_str(), lines[103].as_str()), (104, "100", "199"));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character_and_says_how_long_it_was() {
        let text = shown(line(&"ä".repeat(MOST_OF_LINE)));
        assert!(text.starts_with("ää") && text.ends_with("(cut: the line has 32768 bytes)"));
        assert_eq!(shown(line("a\0b")), "a\u{fffd}b");
    }
}
