//! Which resource waits for which while resources are made.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Each wait, once for each time that it is waited.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<(String, String)>>);

/// A wait of one resource for another, while it lasts.
pub(crate) struct Wait<'a> {
    waits: &'a Waits,
    edge: (String, String),
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = waiting.iter().position(|edge| *edge == self.edge) {
            waiting.swap_remove(at);
        }
    }
}

impl Waits {
    /// Notes that `who` waits for `what`; the way back from `what` to `who` where there is one, for then both would
    /// wait for ever. Two steps may make resources that need each other from both ends.
    pub(crate) fn begin(&self, who: &str, what: &str) -> Result<Wait<'_>, Vec<String>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ways = vec![vec![what.to_owned()]];
        let mut seen = BTreeSet::from([what.to_owned()]);
        while let Some(way) = ways.pop() {
            if way.last().is_some_and(|last| last == who) {
                return Err(way);
            }
            for (_, next) in waiting.iter().filter(|(from, _)| way.last() == Some(from)) {
                if seen.insert(next.clone()) {
                    ways.push(way.iter().chain([next]).cloned().collect());
                }
            }
        }
        let edge = (who.to_owned(), what.to_owned());
        waiting.push(edge.clone());
        drop(waiting);
        Ok(Wait { waits: self, edge })
    }
}
