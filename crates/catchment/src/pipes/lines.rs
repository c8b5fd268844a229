//! Bytes into lines, with a limit: however long a line is, only so much of it is kept.

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its text without the line's end; bytes that are no UTF-8 are replaced.
    pub(super) text: String,
    /// How many bytes it had before it was cut, where it was.
    pub(super) cut_from: Option<usize>,
    /// Whether all of it was UTF-8.
    pub(super) utf8: bool,
}

/// Gathers lines.
pub(super) struct Lines {
    most: usize,
    pending: Vec<u8>,
    length: usize,
    /// The length at which the pending part was last looked at by [`Lines::whole_object`].
    looked_at: usize,
}

impl Lines {
    /// At most `most` bytes of a line are kept.
    pub(super) fn new(most: usize) -> Self {
        Self { most, pending: Vec::new(), length: 0, looked_at: 0 }
    }

    /// Takes bytes, and gives each line that they end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.push(&bytes[..end]);
            line(self.take());
            bytes = &bytes[end + 1..];
        }
        self.push(bytes);
    }

    /// The last line, where it has no end.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (self.length > 0).then(|| self.take())
    }

    /// The pending part, where it is a whole JSON object already: a prefix of one never is, so its line's end need not
    /// be waited for.
    pub(super) fn whole_object(&mut self) -> Option<Line> {
        if self.length == self.looked_at || self.length > self.most || self.pending.last() != Some(&b'}') {
            return None;
        }
        self.looked_at = self.length;
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.pending).ok().map(|_| self.take())
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len();
    }

    fn take(&mut self) -> Line {
        let cut_from = (self.length > self.most).then_some(self.length);
        let bytes = std::mem::take(&mut self.pending);
        self.length = 0;
        self.looked_at = 0;
        let (mut text, utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, true),
            // A cut may go through a character.
            Err(error) if cut_from.is_some() && error.utf8_error().error_len().is_none() => {
                let whole = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(&error.as_bytes()[..whole]).into_owned(), true)
            }
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
        };
        if text.ends_with('\r') {
            text.pop();
        }
        Line { text, cut_from, utf8 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines};

    fn all(lines: &mut Lines, bytes: &[u8]) -> Vec<Line> {
        let mut found = Vec::new();
        lines.feed(bytes, |line| found.push(line));
        found
    }

    fn line(text: &str) -> Line {
        Line { text: text.into(), cut_from: None, utf8: true }
    }

    #[test]
    fn lines_come_whole_however_their_bytes_come() {
        let mut lines = Lines::new(100);
        let mut found = Vec::new();
        for byte in "ä\r\n\nlast".as_bytes() {
            found.extend(all(&mut lines, &[*byte]));
        }
        assert_eq!(found, [line("ä"), line("")]);
        assert_eq!((lines.finish(), lines.finish()), (Some(line("last")), None));
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_at_a_character_and_its_length_told() {
        let mut lines = Lines::new(4);
        let found = all(&mut lines, "abcä and more\nnext\n".as_bytes());
        assert_eq!(found, [Line { text: "abc".into(), cut_from: Some(14), utf8: true }, line("next")]);
        for _ in 0..1000 {
            assert!(all(&mut lines, &[b'x'; 1000]).is_empty());
            assert!(lines.pending.len() <= 4);
        }
        assert_eq!(lines.finish().unwrap().cut_from, Some(1_000_000));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced_and_told() {
        let found = all(&mut Lines::new(100), b"a\xffb\n");
        assert_eq!(found, [Line { text: "a\u{fffd}b".into(), cut_from: None, utf8: false }]);
    }

    #[test]
    fn an_object_without_its_lines_end_counts_as_soon_as_it_is_whole() {
        let mut lines = Lines::new(100);
        assert!(all(&mut lines, br#"{"a":{}"#).is_empty());
        assert_eq!(lines.whole_object(), None);
        assert!(all(&mut lines, b"}").is_empty());
        assert_eq!(lines.whole_object(), Some(line(r#"{"a":{}}"#)));
        assert_eq!(lines.finish(), None);
    }
}
