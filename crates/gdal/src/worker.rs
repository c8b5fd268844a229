//! Starting a worker, watching it, and turning its frames into batches.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use catchment_model::problem::{Code, Problem};
use tokio::sync::mpsc;

use crate::child::{ProcessHandle, StopOnDrop};
use crate::death::{Death, Verdict};
use crate::frame::{self, Kind};
use crate::pipes::{PipeError, Pipes};
use crate::protocol::{self, Limits, ReadVector, Request, SandboxReport, Trailer, VectorHeader};
use crate::reader::{Event, ReadSummary, VectorReader, lost};

/// Takes each line that a worker writes to its standard error.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Batches that wait for the reader: while it works on one, the next is decoded.
const AHEAD: usize = 1;

/// How long a worker may take to end once it has said its last word.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where the worker's program is, and what each of its processes may use up.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The `catchment-gdal` program.
    pub binary: PathBuf,
    /// The limits of each process.
    pub limits: Limits,
}

/// One vector file to read.
#[derive(Clone)]
pub struct ReadRequest {
    /// The file: a dataset, or a zip archive that holds exactly one. Files that belong to it (`.dbf`,
    /// `.prj`…) lie beside it.
    pub path: PathBuf,
    /// What the manifest calls its format; see [`crate::format`].
    pub format: String,
    /// The CRS that the manifest states: `EPSG:n`, WKT or a PROJ string. Used where the file states none;
    /// another than the file's is an error.
    pub crs: Option<String>,
    /// The layer, needed where there are several.
    pub layer: Option<String>,
    /// An existing folder in which the worker gets a folder of its own, removed at the end.
    pub scratch: PathBuf,
    /// Where the worker's standard error goes, line by line; to `tracing` if nowhere else. Called from a
    /// thread of its own.
    pub on_line: Option<LineSink>,
}

impl Worker {
    /// A worker with the default limits.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), limits: Limits::default() }
    }

    /// Starts a process that reads one layer of one file, and waits for its header. Dropping the future
    /// or the reader kills the process.
    pub async fn read_vector(&self, request: ReadRequest) -> Result<VectorReader, Problem> {
        let handle = ProcessHandle::default();
        let stop = StopOnDrop(handle.clone());
        let (sender, mut events) = mpsc::channel(AHEAD);
        let watch = Watch { worker: self.clone(), request, handle };
        std::thread::Builder::new().name("gdal-worker".to_owned()).spawn(move || watch.run(&sender)).map_err(
            |error| Problem::new(Code::Io, "the thread for a GDAL worker cannot be started").cause(error.to_string()),
        )?;
        match events.recv().await {
            Some(Event::Begun(header, schema)) => Ok(VectorReader::new(*header, schema, events, stop)),
            Some(Event::Ended(Err(problem))) => Err(*problem),
            Some(Event::Batch(_) | Event::Ended(Ok(_))) | None => Err(lost()),
        }
    }

    /// What would confine a worker on this machine: the worker locks itself in and tells.
    pub async fn sandbox_report(&self) -> Result<SandboxReport, Problem> {
        let output = tokio::process::Command::new(&self.binary)
            .args(["sandbox", "--json"])
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| self.cannot_start(&error))?;
        serde_json::from_slice(&output.stdout).map_err(|error| {
            Problem::new(Code::WorkerCrashed, "the GDAL worker did not say what confines it")
                .place(self.binary.display().to_string())
                .cause(format!("{error}; {}", String::from_utf8_lossy(&output.stderr).trim()))
        })
    }

    fn cannot_start(&self, error: &io::Error) -> Problem {
        Problem::new(Code::Unavailable, "the GDAL worker cannot be started")
            .place(self.binary.display().to_string())
            .cause(error.to_string())
            .remedy("install the `catchment-gdal` program beside `catchment`, and libgdal")
    }
}

/// The thread that owns one process from its start to its end. The process is started from here because
/// the kernel's "kill it when its parent dies" means the thread, and threads of a runtime come and go.
struct Watch {
    worker: Worker,
    request: ReadRequest,
    handle: ProcessHandle,
}

/// What is counted and kept while frames come in.
#[derive(Default)]
struct Progress {
    decoder: StreamDecoder,
    header: Option<Box<VectorHeader>>,
    begun: bool,
    rows: u64,
    bytes: u64,
}

/// Why the frames came to an end.
enum Stop {
    Complete(Box<Trailer>),
    Failed(Box<Problem>),
    Cut(PipeError),
    Garbled(String),
    Unwanted,
}

impl Watch {
    fn run(self, events: &mpsc::Sender<Event>) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.read(events)));
        let outcome = outcome.unwrap_or_else(|_| {
            self.handle.stop();
            Err(lost())
        });
        // A reader that is gone needs no answer.
        let _ = events.blocking_send(Event::Ended(outcome.map(Box::new).map_err(Box::new)));
    }

    fn read(&self, events: &mpsc::Sender<Event>) -> Result<ReadSummary, Problem> {
        let scratch = tempfile::Builder::new().prefix("gdal-").tempdir_in(&self.request.scratch).map_err(|error| {
            Problem::new(Code::Io, "the GDAL worker's scratch folder cannot be made")
                .place(self.request.scratch.display().to_string())
                .cause(error.to_string())
        })?;
        let message = self.message(scratch.path())?;
        let mut child = self.command(scratch.path()).spawn().map_err(|error| self.worker.cannot_start(&error))?;
        let pid = child.id().cast_signed();
        self.handle.started(pid);
        let reaper = Reaper { pid, handle: &self.handle };
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(lost());
        };
        let lifeline = say(stdin, &message);
        let mut pipes = Pipes::new(
            OwnedFd::from(stdout),
            OwnedFd::from(stderr),
            self.worker.limits.wait,
            self.request.on_line.clone(),
        );
        let mut progress = Progress::default();
        let stop = self.take_frames(&mut pipes, &mut progress, events);
        self.conclude(stop, pipes, &progress, reaper, lifeline)
    }

    fn message(&self, scratch: &Path) -> Result<Vec<u8>, Problem> {
        let request = Request {
            version: protocol::VERSION,
            scratch: scratch.to_path_buf(),
            limits: self.worker.limits.clone(),
            command: protocol::Command::ReadVector(ReadVector {
                path: std::path::absolute(&self.request.path).unwrap_or_else(|_| self.request.path.clone()),
                format: self.request.format.clone(),
                crs: self.request.crs.clone(),
                layer: self.request.layer.clone(),
            }),
        };
        let mut message = serde_json::to_vec(&request).map_err(|error| {
            Problem::new(Code::InvalidInput, "the request cannot be put into words for the GDAL worker")
                .place(self.place())
                .cause(error.to_string())
        })?;
        message.push(b'\n');
        Ok(message)
    }

    /// The worker inherits nothing: no environment (so no credentials), no working folder, no descriptors
    /// but its three pipes.
    fn command(&self, scratch: &Path) -> Command {
        let mut command = Command::new(&self.worker.binary);
        command
            .arg("read-vector")
            .env_clear()
            .envs([("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")])
            .current_dir(scratch)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn take_frames(&self, pipes: &mut Pipes, progress: &mut Progress, events: &mpsc::Sender<Event>) -> Stop {
        loop {
            match self.take_frame(pipes, progress, events) {
                Ok(()) => {}
                Err(stop) => return stop,
            }
        }
    }

    fn take_frame(&self, pipes: &mut Pipes, progress: &mut Progress, events: &mpsc::Sender<Event>) -> Result<(), Stop> {
        let mut prefix = [0; frame::PREFIX];
        pipes.read_exact(&mut prefix).map_err(Stop::Cut)?;
        let (kind, length) = frame::parse_prefix(&prefix).map_err(Stop::Garbled)?;
        progress.bytes += frame::PREFIX as u64 + length;
        let length = usize::try_from(length).map_err(|error| Stop::Garbled(error.to_string()))?;
        if kind == Kind::Arrow {
            return progress.take_arrow(pipes, length, events);
        }
        let mut payload = vec![0; length];
        pipes.read_exact(&mut payload).map_err(Stop::Cut)?;
        let garbled =
            |error: serde_json::Error| Stop::Garbled(format!("{kind:?} is not the JSON it should be: {error}"));
        match kind {
            Kind::Header if progress.header.is_none() && !progress.begun => {
                let header: VectorHeader = serde_json::from_slice(&payload).map_err(garbled)?;
                progress.header = Some(Box::new(header));
                Ok(())
            }
            Kind::Trailer if progress.begun => {
                progress.decoder.finish().map_err(|error| Stop::Garbled(error.to_string()))?;
                let trailer: Trailer = serde_json::from_slice(&payload).map_err(garbled)?;
                if trailer.rows != progress.rows {
                    return Err(Stop::Garbled(format!("{} rows came of {}", progress.rows, trailer.rows)));
                }
                Err(Stop::Complete(Box::new(trailer)))
            }
            Kind::Failure => Err(Stop::Failed(serde_json::from_slice(&payload).map_err(garbled)?)),
            Kind::Header | Kind::Trailer | Kind::Arrow => Err(Stop::Garbled(format!("{kind:?} is out of order"))),
        }
    }

    fn conclude(
        &self,
        stop: Stop,
        mut pipes: Pipes,
        progress: &Progress,
        reaper: Reaper<'_>,
        lifeline: Option<ChildStdin>,
    ) -> Result<ReadSummary, Problem> {
        let mut verdict = None;
        if matches!(stop, Stop::Complete(_) | Stop::Failed(_)) {
            drop(lifeline);
            pipes.limit_patience(FAREWELL);
            // One that will not end is killed below; what it said counts.
            let _ = pipes.read_to_end();
        } else if !matches!(stop, Stop::Cut(PipeError::Ended)) {
            verdict =
                Some(if matches!(stop, Stop::Cut(PipeError::TooSlow)) { Verdict::TooSlow } else { Verdict::Canceled });
        } else {
            pipes.limit_patience(FAREWELL);
            let _ = pipes.read_to_end();
        }
        if self.handle.was_stopped() {
            verdict = Some(Verdict::Canceled);
        }
        let death = reaper.reap(verdict.is_some());
        pipes.drain_words();
        match stop {
            Stop::Complete(trailer) => {
                Ok(ReadSummary { trailer: *trailer, bytes: progress.bytes, cpu: death.cpu, peak_rss: death.peak_rss })
            }
            Stop::Failed(problem) => Err(*problem),
            Stop::Cut(PipeError::Io(error)) => Err(Problem::new(Code::Io, "the GDAL worker's pipe cannot be read")
                .place(self.place())
                .cause(error.to_string())),
            Stop::Garbled(why) => Err(Problem::new(Code::WorkerCrashed, "the GDAL worker's answer makes no sense")
                .place(self.place())
                .cause(format!("{why}, after {} rows", progress.rows))
                .remedy("install `catchment-gdal` of the same release; if it is, the file made GDAL misbehave")),
            Stop::Cut(_) | Stop::Unwanted => {
                Err(death.explain(verdict, &self.worker.limits, progress.rows, &self.place(), pipes.last_words()))
            }
        }
    }

    fn place(&self) -> String {
        self.request.path.display().to_string()
    }
}

impl Progress {
    /// Takes one message of the Arrow stream into a buffer of its own, which the batch then lives in.
    fn take_arrow(&mut self, pipes: &mut Pipes, length: usize, events: &mpsc::Sender<Event>) -> Result<(), Stop> {
        let mut buffer = MutableBuffer::from_len_zeroed(length);
        pipes.read_exact(buffer.as_slice_mut()).map_err(Stop::Cut)?;
        let mut buffer = Buffer::from(buffer);
        while !buffer.is_empty() {
            let batch = self.decoder.decode(&mut buffer).map_err(|error| Stop::Garbled(error.to_string()))?;
            if !self.begun
                && let Some(schema) = self.decoder.schema()
            {
                check_schema(&schema).map_err(Stop::Garbled)?;
                let header = self.header.take().ok_or_else(|| Stop::Garbled("rows before the header".to_owned()))?;
                self.begun = true;
                events.blocking_send(Event::Begun(header, schema)).map_err(|_| Stop::Unwanted)?;
            }
            if let Some(batch) = batch {
                self.pass_on(batch, events)?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, batch: RecordBatch, events: &mpsc::Sender<Event>) -> Result<(), Stop> {
        self.rows += batch.num_rows() as u64;
        events.blocking_send(Event::Batch(batch)).map_err(|_| Stop::Unwanted)
    }
}

fn check_schema(schema: &SchemaRef) -> Result<(), String> {
    match schema.field_with_name(crate::GEOMETRY_COLUMN).map(|field| field.data_type()) {
        Ok(DataType::Binary) => Ok(()),
        Ok(other) => Err(format!("the column `geom` is {other}, not Binary")),
        Err(_) => Err("there is no column `geom`".to_owned()),
    }
}

/// Writes the request; the pipe is kept open as a lifeline. A worker that does not listen has died, which
/// its other pipes will tell.
fn say(mut stdin: ChildStdin, message: &[u8]) -> Option<ChildStdin> {
    stdin.write_all(message).ok().map(|()| stdin)
}

/// Makes sure that the process is dead and reaped, however the thread leaves.
struct Reaper<'a> {
    pid: libc::pid_t,
    handle: &'a ProcessHandle,
}

impl Reaper<'_> {
    /// Waits for the end, by force at once or after a while.
    fn reap(self, by_force: bool) -> Death {
        let by_itself = !by_force && has_ended_within(self.pid, FAREWELL);
        if !by_itself {
            self.handle.stop();
        }
        let death = wait(self.pid, self.handle);
        std::mem::forget(self);
        death
    }
}

impl Drop for Reaper<'_> {
    fn drop(&mut self) {
        self.handle.stop();
        wait(self.pid, self.handle);
    }
}

/// Whether the child ends within this time. It is not reaped.
fn has_ended_within(pid: libc::pid_t, patience: Duration) -> bool {
    // SAFETY: plain system calls; the pid is of a child that was not reaped, the descriptor is closed below.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0) as libc::c_int;
        if fd < 0 {
            return false;
        }
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let ready = libc::poll(&raw mut polled, 1, patience.as_millis() as libc::c_int);
        libc::close(fd);
        ready > 0
    }
}

/// Waits for the child's end, forgets its pid, and reaps it.
fn wait(pid: libc::pid_t, handle: &ProcessHandle) -> Death {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: plain system calls with pointers to values that live across them; `rusage` is valid when zeroed.
    let usage = unsafe {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        while libc::waitid(libc::P_PID, pid.cast_unsigned(), info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        handle.ended();
        while libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        usage.assume_init()
    };
    let span = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.cast_unsigned()) + Duration::from_micros(time.tv_usec.cast_unsigned())
    };
    Death {
        status: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        cpu: span(usage.ru_utime) + span(usage.ru_stime),
        peak_rss: usage.ru_maxrss.cast_unsigned() * 1024,
    }
}
