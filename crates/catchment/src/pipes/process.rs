//! The process: a group of its own, waited for on a thread of its own.
//!
//! The thread is there for as long as the process is: the kernel's "kill it when its parent dies" means the thread that
//! started it, and threads of an async runtime come and go. The process is reaped only when [`Process`] is dropped, so
//! that its number is nobody else's while signals may be sent.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;

use tokio::sync::oneshot;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A process that was started. Dropping it kills what is left of its group.
pub(super) struct Process {
    pid: u32,
    exited: oneshot::Receiver<Exit>,
    _reap_when_dropped: mpsc::Sender<()>,
}

/// The ends of its standard streams.
pub(super) struct Streams {
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

type Started = io::Result<(u32, Streams)>;

impl Process {
    /// Starts it.
    pub(super) async fn start(mut command: Command) -> io::Result<(Self, Streams)> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec only system calls that are async-signal-safe are made.
        unsafe { command.pre_exec(move || before_exec(parent)) };
        let (started, begun) = oneshot::channel();
        let (ended, exited) = oneshot::channel();
        let (reap, may_reap) = mpsc::channel();
        std::thread::Builder::new()
            .name("pipes".to_owned())
            .spawn(move || attend(command, started, ended, &may_reap))?;
        let (pid, streams) = begun.await.map_err(|_| io::Error::other("the thread of the process ended early"))??;
        Ok((Self { pid, exited, _reap_when_dropped: reap }, streams))
    }

    /// Its number, which is also its group's.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end.
    pub(super) async fn exited(&mut self) -> Exit {
        // The thread ends without a word only where the kernel says that there is no such child.
        (&mut self.exited).await.unwrap_or(Exit::Signal(libc::SIGKILL))
    }

    /// Sends a signal to all of its group.
    pub(super) fn signal(&self, signal: i32) {
        if let Ok(pid) = libc::pid_t::try_from(self.pid) {
            // SAFETY: sending a signal touches no memory; the leader is not reaped, so the number is the group's.
            unsafe { libc::kill(-pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

fn attend(
    mut command: Command,
    started: oneshot::Sender<Started>,
    ended: oneshot::Sender<Exit>,
    may_reap: &mpsc::Receiver<()>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            started.send(Err(error)).ok();
            return;
        }
    };
    let streams = streams(&mut child);
    // Whoever asked may be gone; then the sender that is waited for below is gone too, and the child is killed.
    if started.send(streams.map(|streams| (child.id(), streams))).is_err() {
        child.kill().ok();
    }
    if let Some(exit) = wait_without_reaping(child.id()) {
        ended.send(exit).ok();
    }
    // Answers when the sender is dropped.
    may_reap.recv().ok();
    child.wait().ok();
}

fn streams(child: &mut Child) -> io::Result<Streams> {
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => Ok(Streams { stdout, stderr }),
        _ => Err(io::Error::other("the process has no standard streams")),
    }
}

/// Runs in the child. It dies with this process; and SIGINT is heard even where this process was started to ignore it.
fn before_exec(parent: u32) -> io::Result<()> {
    // SAFETY: plain system calls on values.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_DFL);
        #[cfg(target_os = "linux")]
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(io::Error::last_os_error());
        }
        if u32::try_from(libc::getppid()) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

fn wait_without_reaping(pid: u32) -> Option<Exit> {
    loop {
        // SAFETY: `siginfo_t` is plain data, for which zeros are a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a value of this frame.
        if unsafe { libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOWAIT) } == 0 {
            // SAFETY: after `waitid` with WEXITED the status is what is set.
            let status = unsafe { info.si_status() };
            return Some(if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) });
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// The name of a signal, where it is one that ends processes in practice.
pub(super) fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => "a signal",
    }
}
