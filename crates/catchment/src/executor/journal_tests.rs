//! The journal on a state that does not always answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use catchment_core::{EventKind, Level, NewEvent, RunId};
use catchment_model::{Code, Problem};
use serde_json::Value;

use super::{Journal, Record};
use crate::executor::Halt;

/// A list that answers an error so many times before it takes what it is given.
struct Busy {
    errors: AtomicUsize,
    code: Code,
    kept: Mutex<Vec<String>>,
}

impl Busy {
    fn new(errors: usize, code: Code) -> Arc<Self> {
        Arc::new(Self { errors: AtomicUsize::new(errors), code, kept: Mutex::default() })
    }
}

#[async_trait]
impl Record for Busy {
    async fn append(&self, events: &[NewEvent]) -> Result<(), Problem> {
        let fails = self.errors.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails {
            return Err(Problem::new(self.code, "the database is locked"));
        }
        self.kept.lock().unwrap().extend(events.iter().map(|event| event.message.clone()));
        Ok(())
    }
}

fn event(journal: &Journal, message: &str) -> NewEvent {
    journal.event(EventKind::EngineEvent, None, Level::Info, message.to_owned(), Value::Null)
}

#[tokio::test]
async fn a_state_that_is_busy_for_a_moment_loses_nothing_and_stops_nothing() {
    let (record, halt) = (Busy::new(3, Code::Unavailable), Halt::default());
    let journal = Journal::start(RunId::random(), record.clone(), halt.clone());
    journal.tell(vec![event(&journal, "first")]);
    journal.write(vec![event(&journal, "second")]).await.unwrap();
    assert_eq!(*record.kept.lock().unwrap(), ["first", "second"]);
    assert_eq!(record.errors.load(Ordering::SeqCst), 0);
    assert!(!halt.token.is_cancelled());
}

#[tokio::test]
async fn a_lost_lease_is_not_asked_for_twice() {
    let (record, halt) = (Busy::new(2, Code::LeaseLost), Halt::default());
    let journal = Journal::start(RunId::random(), record.clone(), halt.clone());
    let problem = journal.write(vec![event(&journal, "first")]).await.unwrap_err();
    assert_eq!((problem.code, halt.reason().code), (Code::LeaseLost, Code::LeaseLost));
    assert_eq!(record.errors.load(Ordering::SeqCst), 1);
    assert!(halt.token.is_cancelled());
}

#[tokio::test]
async fn a_run_that_is_halted_waits_for_no_state() {
    let (record, halt) = (Busy::new(usize::MAX, Code::Unavailable), Halt::default());
    let journal = Journal::start(RunId::random(), record, halt.clone());
    let write = journal.write(vec![event(&journal, "first")]);
    halt.stop(Problem::new(Code::Canceled, "the run was cancelled"));
    assert_eq!(write.await.unwrap_err().code, Code::Unavailable);
    assert_eq!(halt.reason().code, Code::Canceled);
}
