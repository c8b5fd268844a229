//! New document ids.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use catchment_model::ObjectId;

static PROCESS: OnceLock<([u8; 5], AtomicU32)> = OnceLock::new();

/// A new id. Those of one process rise; those of several do not collide (five random bytes and a counter that
/// begins at random, as MongoDB's drivers do it).
pub fn new_id(now: jiff::Timestamp) -> ObjectId {
    let (process, counter) = PROCESS.get_or_init(|| {
        let [a, b, c, d, e, f, g, ..] = *uuid::Uuid::new_v4().as_bytes();
        // The upper half of the counter's room stays free, so that ids rise for eight million documents.
        ([a, b, c, d, e], AtomicU32::new(u32::from_be_bytes([0, 0, f, g])))
    });
    ObjectId::from_parts(now, *process, counter.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_of_one_process_rise() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let ids: Vec<_> = (0..1000).map(|_| super::new_id(now)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}
