//! The memory of a job, shared out so that no part of a sort can starve another.
//!
//! An external sort has three parts, and each would take all that a common pool has left: the sorters that fill up
//! before they spill, the merges that open as many spilled runs as they can, and the last merge, which cannot do
//! with less than it asks for and would fail. Here each sorter and each merge of a partition has a share of its
//! own. A sorter is empty when its merge begins, and reserves twice what a batch weighs, so the sum stays about the
//! limit. The last merge holds a few batches for each partition, which are bounded by their size in bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Blocks of this size and more are given back to the system as soon as they are free.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: i32 = 1 << 20;

/// Keeps glibc from hoarding. By default it raises the size from which blocks are given back with each large block
/// that is freed, up to 32 MB, and with batches of that size on several threads the process grows to more than
/// twice of what is in use: 624 MB instead of 285 for 10,000 polygons of 2,000 corners. It holds for the process.
pub(super) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets two numbers of the allocator, under its lock; where it refuses, all stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, GIVEN_BACK);
    }
}

/// The last merge, over all partitions.
const LAST_MERGE: &str = "SortPreservingMergeExec";

/// A pool in which each consumer may hold its share and no more.
#[derive(Debug)]
pub(super) struct SharePool {
    limit: usize,
    share: usize,
    held: Mutex<HashMap<usize, usize>>,
}

impl SharePool {
    /// Shares `limit` bytes among the consumers of `partitions`.
    pub(super) fn new(limit: usize, partitions: usize) -> Self {
        Self { limit, share: limit / partitions.max(1), held: Mutex::new(HashMap::new()) }
    }

    fn change(&self, consumer: &MemoryConsumer, change: impl FnOnce(usize) -> Option<usize>) -> Result<(), usize> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.entry(consumer.id()).or_default();
        *own = change(*own).ok_or(*own)?;
        Ok(())
    }
}

impl MemoryPool for SharePool {
    fn name(&self) -> &str {
        "shares"
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        // Growing without a limit cannot fail.
        let _ = self.change(reservation.consumer(), |own| Some(own.saturating_add(additional)));
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let _ = self.change(reservation.consumer(), |own| Some(own.saturating_sub(shrink)));
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let limit = if consumer.name().starts_with(LAST_MERGE) { usize::MAX } else { self.share };
        let within = |own: usize| own.checked_add(additional).filter(|sum| *sum <= limit);
        self.change(consumer, within).map_err(|own| {
            DataFusionError::ResourcesExhausted(format!(
                "{} holds {own} bytes of its share of {limit} and needs {additional} more",
                consumer.name()
            ))
        })
    }

    fn reserved(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for SharePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shares of {} bytes", self.share)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};

    use super::SharePool;

    #[test]
    fn a_consumer_has_its_share_whatever_others_hold_and_the_last_merge_is_never_refused() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharePool::new(200, 2));
        let one = MemoryConsumer::new("ExternalSorter[0]").register(&pool);
        let two = MemoryConsumer::new("ExternalSorter[1]").register(&pool);
        let last = MemoryConsumer::new("SortPreservingMergeExec[0]").register(&pool);
        one.try_grow(100).unwrap();
        assert!(one.try_grow(1).unwrap_err().to_string().contains("share of 100"));
        two.try_grow(100).unwrap();
        last.try_grow(1000).unwrap();
        one.free();
        one.try_grow(60).unwrap();
        let part = one.split(30);
        assert!(part.try_grow(41).is_err(), "the parts of a reservation count together");
        assert_eq!(pool.reserved(), 1160);
        drop((one, two, last, part));
        assert_eq!(pool.reserved(), 0);
    }
}
