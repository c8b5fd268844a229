//! The process groups of a run's children: a cancel kills them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The groups that live.
#[derive(Clone, Default)]
pub(crate) struct Children(Arc<Mutex<BTreeSet<i32>>>);

impl Children {
    /// Takes charge of a group.
    pub(crate) fn adopt(&self, pid: u32) -> ChildGuard {
        let group = i32::try_from(pid).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        ChildGuard { children: self.clone(), group }
    }

    /// Kills every group at once (SIGKILL).
    pub(crate) fn kill(&self) {
        for group in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|group| **group > 1) {
            // SAFETY: sending a signal touches no memory; a group that is gone answers ESRCH.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

/// Charge of a child's process group, until it is dropped.
pub struct ChildGuard {
    children: Children,
    group: i32,
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.children.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.group);
    }
}
