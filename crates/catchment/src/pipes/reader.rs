//! The ways in which messages come.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use catchment_model::{Code, Problem};
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::message::Stream;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// A way for messages to come.
#[async_trait]
pub trait MessageReader: Send + Sync {
    /// Makes the place where messages will arrive, before the process starts. What is put into `folder` goes away with
    /// the session.
    ///
    /// # Errors
    /// Where it cannot be made.
    async fn open(&self, folder: &Path) -> Result<OpenedReader, Problem>;
}

/// A place where messages arrive.
pub struct OpenedReader {
    /// The params by which the process finds it.
    pub params: Value,
    /// Where they are read.
    pub from: MessagesFrom,
}

/// Where messages are read.
pub enum MessagesFrom {
    /// Among the lines of a standard stream of the process.
    Stdio(Stream),
    /// From a place that is looked at again and again.
    Source(Box<dyn MessageSource>),
}

/// A place that is looked at again and again, while the process runs and a while after.
#[async_trait]
pub trait MessageSource: Send {
    /// The bytes that have come since the last call, one message a line; none where there is nothing new. It is asked
    /// again at once after it gave some, so that it need not give all.
    ///
    /// # Errors
    /// Where it cannot be read, and further calls would not help.
    async fn read(&mut self) -> io::Result<Vec<u8>>;

    /// How long to wait between two looks that find nothing.
    fn interval(&self) -> Duration {
        Duration::from_millis(50)
    }

    /// How long messages may still arrive when the process has ended without closing Pipes.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }
}

/// Messages in a file that grows: the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct TempFileMessages {
    stdio: bool,
}

impl TempFileMessages {
    /// Asks the process to send what it writes to its standard streams as messages too.
    pub fn include_stdio(mut self) -> Self {
        self.stdio = true;
        self
    }
}

#[async_trait]
impl MessageReader for TempFileMessages {
    async fn open(&self, folder: &Path) -> Result<OpenedReader, Problem> {
        let path = folder.join("messages");
        File::create(&path).await.map_err(|error| cannot_make(&path, &error))?;
        let params = json!({"path": path, "include_stdio_in_messages": self.stdio});
        let source = Tail { path, offset: 0 };
        Ok(OpenedReader { params, from: MessagesFrom::Source(Box::new(source)) })
    }
}

/// Messages among the lines of a standard stream.
#[derive(Debug, Clone, Copy)]
pub struct StdioMessages {
    stream: Stream,
    buffered: bool,
}

impl StdioMessages {
    /// One line a message, as they come.
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffered: false }
    }

    /// All messages when the process closes Pipes.
    pub fn buffered(stream: Stream) -> Self {
        Self { stream, buffered: true }
    }
}

#[async_trait]
impl MessageReader for StdioMessages {
    async fn open(&self, _: &Path) -> Result<OpenedReader, Problem> {
        let key = if self.buffered { "buffered_stdio" } else { "stdio" };
        let params = json!({key: self.stream.as_str()});
        Ok(OpenedReader { params, from: MessagesFrom::Stdio(self.stream) })
    }
}

/// Messages in numbered files of a folder, `1.json` and up, each with some of them: what a process writes that passes
/// `PipesUnityCatalogVolumesMessageWriter` to `open_dagster_pipes`.
#[derive(Debug, Clone, Default)]
pub struct FolderMessages {
    path: Option<PathBuf>,
    stdio: bool,
    linger: Duration,
}

impl FolderMessages {
    /// In a folder of the session.
    pub fn new() -> Self {
        Self::default()
    }

    /// In this folder, which another machine may see under the same path; it has to be empty. Chunks may arrive for ten
    /// seconds after the process has ended.
    pub fn shared(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), stdio: false, linger: Duration::from_secs(10) }
    }

    /// Asks the process to send what it writes to its standard streams as messages too.
    pub fn include_stdio(mut self) -> Self {
        self.stdio = true;
        self
    }
}

#[async_trait]
impl MessageReader for FolderMessages {
    async fn open(&self, folder: &Path) -> Result<OpenedReader, Problem> {
        let path = self.path.clone().unwrap_or_else(|| folder.join("messages.d"));
        tokio::fs::create_dir_all(&path).await.map_err(|error| cannot_make(&path, &error))?;
        let first = path.join("1.json");
        if tokio::fs::try_exists(&first).await.map_err(|error| cannot_make(&path, &error))? {
            return Err(Problem::new(Code::Conflict, "the folder for messages holds some already")
                .place(first.display().to_string())
                .remedy("give each run a folder of its own"));
        }
        let params = json!({"path": path, "include_stdio_in_messages": self.stdio});
        let source = Chunks { tail: Tail { path: first, offset: 0 }, folder: path, number: 1, linger: self.linger };
        Ok(OpenedReader { params, from: MessagesFrom::Source(Box::new(source)) })
    }
}

fn cannot_make(path: &Path, error: &io::Error) -> Problem {
    Problem::new(Code::Io, "the place for a process's messages cannot be made")
        .place(path.display().to_string())
        .cause(error.to_string())
        .remedy("see that the disk has room and the folder may be written")
}

struct Tail {
    path: PathBuf,
    offset: u64,
}

#[async_trait]
impl MessageSource for Tail {
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path).await?;
        tokio::io::AsyncSeekExt::seek(&mut file, io::SeekFrom::Start(self.offset)).await?;
        let mut bytes = Vec::new();
        let read = file.take(CHUNK as u64).read_to_end(&mut bytes).await?;
        self.offset += read as u64;
        Ok(bytes)
    }
}

struct Chunks {
    tail: Tail,
    folder: PathBuf,
    number: u64,
    linger: Duration,
}

#[async_trait]
impl MessageSource for Chunks {
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        // A chunk is whole when the next one is there. That is looked at first: what the chunk holds after is all.
        let next = self.folder.join(format!("{}.json", self.number + 1));
        let whole = tokio::fs::try_exists(&next).await?;
        let bytes = match self.tail.read().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        if !bytes.is_empty() || !whole {
            return Ok(bytes);
        }
        self.number += 1;
        self.tail = Tail { path: next, offset: 0 };
        // The last message of a chunk has no line's end.
        Ok(b"\n".to_vec())
    }

    fn linger(&self) -> Duration {
        self.linger
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{FolderMessages, MessageReader, MessageSource, MessagesFrom, TempFileMessages};

    async fn source(reader: impl MessageReader, folder: &Path) -> Box<dyn MessageSource> {
        match reader.open(folder).await.unwrap().from {
            MessagesFrom::Source(source) => source,
            MessagesFrom::Stdio(_) => panic!("a place was expected"),
        }
    }

    async fn all(source: &mut dyn MessageSource) -> String {
        let mut all = Vec::new();
        loop {
            let bytes = source.read().await.unwrap();
            if bytes.is_empty() {
                return String::from_utf8(all).unwrap();
            }
            all.extend(bytes);
        }
    }

    #[tokio::test]
    async fn a_file_is_read_from_where_the_last_look_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(TempFileMessages::default(), folder.path()).await;
        assert_eq!(all(&mut *source).await, "");
        let long = "x".repeat(200_000);
        fs::write(folder.path().join("messages"), &long).unwrap();
        assert_eq!(all(&mut *source).await, long);
        assert_eq!(all(&mut *source).await, "");
    }

    #[tokio::test]
    async fn chunks_are_read_in_the_order_of_their_numbers_and_each_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(FolderMessages::new(), folder.path()).await;
        let chunk = |number: u32| folder.path().join(format!("messages.d/{number}.json"));
        assert_eq!(all(&mut *source).await, "");
        fs::write(chunk(1), "a\nb").unwrap();
        assert_eq!(all(&mut *source).await, "a\nb");
        for number in 2..=11 {
            fs::write(chunk(number), number.to_string()).unwrap();
        }
        fs::write(chunk(1), "a\nbcd").unwrap();
        assert_eq!(all(&mut *source).await, "cd\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11");
        assert!(FolderMessages::shared(folder.path().join("messages.d")).open(folder.path()).await.is_err());
    }
}
