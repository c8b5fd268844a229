//! A handle that can stop the worker's process group at any time, from any thread, and never another's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stops the process when asked to, or when dropped.
pub(crate) struct StopOnDrop(pub(crate) ProcessHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Who is running, if anyone. A pid is only ever signalled under the lock, and is taken out under the lock
/// before it is reaped: it cannot have become another process's in between.
#[derive(Clone, Default)]
pub(crate) struct ProcessHandle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pid: Option<libc::pid_t>,
    stopped: bool,
}

impl ProcessHandle {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the process group, now or as soon as it exists.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(pid) = state.pid {
            kill_group(pid);
        }
    }

    /// Whether [`Self::stop`] was called.
    pub(crate) fn was_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Says that the process runs.
    pub(crate) fn started(&self, pid: libc::pid_t) {
        let mut state = self.lock();
        state.pid = Some(pid);
        if state.stopped {
            kill_group(pid);
        }
    }

    /// Kills what is left of the group and forgets the pid; the process is dead and may be reaped.
    pub(crate) fn ended(&self) {
        if let Some(pid) = self.lock().pid.take() {
            kill_group(pid);
        }
    }
}

fn kill_group(pid: libc::pid_t) {
    // SAFETY: a plain system call; the child was started as the leader of a group of its own and has not
    // been reaped, so the number is its.
    unsafe { libc::killpg(pid, libc::SIGKILL) };
}
