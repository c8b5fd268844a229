//! A process on this machine, as part of an asset or op.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use catchment_model::{Code, Problem};
use catchment_settings::task;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::handler::{Handler, Left};
use super::inject::{ContextInjector, TempFileContext};
use super::process::{Exit, Process, signal_name};
use super::pump;
use super::reader::{MessageReader, OpenedReader, TempFileMessages};
use super::result::PipesResult;
use super::{bootstrap, report, told};
use crate::context::AssetContext;

/// How long a process may take to end after SIGINT.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(20);

/// A program that is run as part of an asset or op, and speaks Dagster Pipes (or does not: then its output and exit code
/// are all there is).
///
/// ```
/// # use catchment::{AssetContext, PipesResult, PipesSubprocess, Problem, asset};
/// # use serde_json::json;
/// #[asset]
/// async fn scored(context: AssetContext) -> Result<PipesResult, Problem> {
///     PipesSubprocess::new("python3").arg("score.py").extras(json!({"model": "v2"})).run(&context).await
/// }
/// ```
#[derive(Clone)]
pub struct PipesSubprocess {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: Option<PathBuf>,
    extras: Value,
    injector: Arc<dyn ContextInjector>,
    reader: Arc<dyn MessageReader>,
    forward_stdio: bool,
    implicit: bool,
    termination_timeout: Duration,
}

impl PipesSubprocess {
    /// Runs this program: a path, or a name that is looked up in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            extras: json!({}),
            injector: Arc::new(TempFileContext),
            reader: Arc::new(TempFileMessages::default()),
            forward_stdio: true,
            implicit: true,
            termination_timeout: TERMINATION_TIMEOUT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable, beside those of the run's process. The two of Pipes win over it.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// The folder that it works in; without, that of the run's process.
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// What the process is told besides: a JSON object.
    pub fn extras(mut self, extras: Value) -> Self {
        self.extras = extras;
        self
    }

    /// How the context is handed over; without, by a file.
    pub fn context_injector(mut self, injector: impl ContextInjector + 'static) -> Self {
        self.injector = Arc::new(injector);
        self
    }

    /// How messages come; without, by a file.
    pub fn message_reader(mut self, reader: impl MessageReader + 'static) -> Self {
        self.reader = Arc::new(reader);
        self
    }

    /// Whether what it writes to its standard streams is shown in the step's log (yes). With messages that include it,
    /// it would be there twice.
    pub fn forward_stdio(mut self, yes: bool) -> Self {
        self.forward_stdio = yes;
        self
    }

    /// Whether an asset of the step that the process did not report counts as made where the process ended well (yes).
    pub fn implicit_materializations(mut self, yes: bool) -> Self {
        self.implicit = yes;
        self
    }

    /// How long it may take to end after SIGINT, before it is killed (20 s).
    pub fn termination_timeout(mut self, timeout: Duration) -> Self {
        self.termination_timeout = timeout;
        self
    }

    /// Runs it to its end, and puts what it reported into the step's events.
    ///
    /// When the run is cancelled, or the future is dropped, the process group gets SIGINT at once, and SIGKILL when its
    /// time is over.
    ///
    /// # Errors
    /// `file_not_found` where there is no such program; `worker_crashed` where it ends with another code than 0 or by a
    /// signal; `invalid_input` where it breaks the protocol; `canceled`.
    pub async fn run(&self, context: &AssetContext) -> Result<PipesResult, Problem> {
        let stop = context.cancellation().child_token();
        let _dropped = stop.clone().drop_guard();
        // A task of its own: it sees the process to its end also where the step is given up.
        let session = task::spawn("pipes", self.clone().session(context.clone(), stop));
        let result = session.await.unwrap_or_else(|error| {
            Err(Problem::new(Code::Bug, "a Pipes session ended without an answer").cause(error.to_string()))
        })?;
        report::into_events(&result, context, self.implicit).await?;
        Ok(result)
    }

    async fn session(self, context: AssetContext, stop: CancellationToken) -> Result<PipesResult, Problem> {
        let folder = folder(&context)?;
        let OpenedReader { params, from } = self.reader.open(folder.path()).await?;
        let assets = told::assets(&context);
        let handler = Handler::new(context.clone(), assets.clone(), self.forward_stdio);
        let command = self.command(&context, assets, &params, folder.path()).await?;
        let (process, streams) = Process::start(command).await.map_err(|error| self.cannot_start(&error))?;
        let _adopted = context.run().children.adopt_with_grace(process.pid(), self.termination_timeout);
        let session = pump::Session {
            context: &context,
            handler: &handler,
            stop: &stop,
            termination_timeout: self.termination_timeout,
        };
        let exit = session.attend(process, streams, from).await;
        if !stop.is_cancelled() {
            handler.tell_what_did_not_come(&params);
        }
        self.outcome(exit, handler.finish().await, &context, &stop)
    }

    async fn command(
        &self,
        context: &AssetContext,
        assets: Option<Vec<String>>,
        messages: &Value,
        folder: &Path,
    ) -> Result<Command, Problem> {
        let told = told::context_data(context, assets, &self.extras)?;
        let context = self.injector.inject(&told, folder).await?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(&self.env);
        for (name, params) in [(bootstrap::CONTEXT, &context), (bootstrap::MESSAGES, messages)] {
            command.env(name, bootstrap::encode(name, params)?);
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        Ok(command)
    }

    fn cannot_start(&self, error: &io::Error) -> Problem {
        if let Some(cwd) = self.cwd.as_deref().filter(|cwd| !cwd.is_dir()) {
            return Problem::new(Code::FileNotFound, "the folder that the process is to work in is not there")
                .place(cwd.display().to_string())
                .cause(error.to_string())
                .remedy("make it, or give another to `cwd`");
        }
        let (code, what, remedy) = match error.kind() {
            io::ErrorKind::NotFound => (
                Code::FileNotFound,
                "the program is not there",
                "install it on the machine (or in the image) where runs work, or give its full path",
            ),
            io::ErrorKind::PermissionDenied => {
                (Code::Forbidden, "the program may not be executed", "give its file the right: chmod +x")
            }
            _ => (Code::Io, "the program could not be started", "see the cause; memory or processes may be used up"),
        };
        Problem::new(code, what).place(self.shown()).cause(error.to_string()).remedy(remedy)
    }

    fn outcome(
        &self,
        exit: Exit,
        left: Left,
        context: &AssetContext,
        stop: &CancellationToken,
    ) -> Result<PipesResult, Problem> {
        if stop.is_cancelled() {
            return Err(context.run().halt.reason());
        }
        let failed = match exit {
            Exit::Code(0) => return left.broken.map_or(Ok(left.result), |problem| Err(problem.place(self.shown()))),
            Exit::Code(code) => format!("External execution process failed with code {code}"),
            Exit::Signal(signal) => {
                format!("External execution process was ended by signal {signal} ({})", signal_name(signal))
            }
        };
        let problem = Problem::new(Code::WorkerCrashed, failed).place(self.shown());
        let problem = match left.why {
            Some(why) => problem.cause(why),
            None => problem.cause("it wrote nothing to its standard error"),
        };
        Err(problem.remedy("its output is in the step's log; mend it, and run the step again"))
    }

    /// The program and its first arguments.
    fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(self.args.iter().take(3));
        let mut shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = shown.char_indices().nth(200) {
            shown.truncate(end);
        }
        if self.args.len() > 3 {
            shown.push_str(" …");
        }
        shown
    }
}

/// The folder of a session: only the run's user may look into it, for extras may hold anything.
fn folder(context: &AssetContext) -> Result<tempfile::TempDir, Problem> {
    let scratch = context.scratch()?;
    let made =
        std::path::absolute(&scratch).and_then(|scratch| tempfile::Builder::new().prefix("pipes-").tempdir_in(scratch));
    made.map_err(|error| {
        Problem::new(Code::Io, "the folder of a Pipes session cannot be made")
            .place(scratch.display().to_string())
            .cause(error.to_string())
            .remedy("see that the disk has room and CATCHMENT_HOME may be written")
    })
}
