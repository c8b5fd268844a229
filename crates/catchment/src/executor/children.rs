//! The process groups of a run's children: the run's end is theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The groups that live.
#[derive(Clone, Default)]
pub(crate) struct Children(Arc<Groups>);

#[derive(Default)]
struct Groups {
    /// How long each may take to end when it was asked to; those without are killed at once.
    graces: Mutex<BTreeMap<i32, Duration>>,
    changed: Notify,
}

impl Children {
    /// Takes charge of a group.
    pub(crate) fn adopt(&self, pid: u32) -> ChildGuard {
        self.adopt_with_grace(pid, Duration::ZERO)
    }

    /// Takes charge of a group that whoever started it asks to end when the run is halted: it is killed only when it has
    /// not ended in that time.
    pub(crate) fn adopt_with_grace(&self, pid: u32, grace: Duration) -> ChildGuard {
        let group = i32::try_from(pid).unwrap_or_default();
        self.graces().insert(group, grace);
        ChildGuard { children: self.clone(), group }
    }

    /// Ends every group: at once (SIGKILL), or, with `gently`, when its grace is over.
    pub(crate) async fn end(&self, gently: bool) {
        let longest = self.graces().values().copied().max().filter(|longest| gently && !longest.is_zero());
        self.kill(|grace| longest.is_none() || grace.is_zero());
        if let Some(longest) = longest {
            tokio::time::timeout(longest, self.let_go_of_all()).await.ok();
            self.kill(|_| true);
        }
    }

    async fn let_go_of_all(&self) {
        loop {
            let changed = self.0.changed.notified();
            if self.graces().values().all(Duration::is_zero) {
                return;
            }
            changed.await;
        }
    }

    fn kill(&self, which: impl Fn(&Duration) -> bool) {
        for (group, _) in self.graces().iter().filter(|(group, grace)| **group > 1 && which(grace)) {
            // SAFETY: sending a signal touches no memory; a group that is gone answers ESRCH.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }

    fn graces(&self) -> MutexGuard<'_, BTreeMap<i32, Duration>> {
        self.0.graces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Charge of a child's process group, until it is dropped.
pub struct ChildGuard {
    children: Children,
    group: i32,
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.children.graces().remove(&self.group);
        self.children.0.changed.notify_waiters();
    }
}
