//! What orchestration is, without I/O, clock or async runtime.
//!
//! Here: what a code location defines ([`definitions`]), runs and their state machine ([`run`], [`state`]),
//! the event log's entries ([`event`]), what a sensor asks for ([`sensor`]), and who may start next ([`queue`]).
//!
//! Not here: where state is kept (`catchment-instance`), who carries decisions out (`catchment-daemon`), and
//! how user code is written (`catchment`).

pub mod definitions;
pub mod event;
pub mod queue;
pub mod run;
pub mod sensor;
pub mod state;
pub mod tags;

pub use event::{Event, EventKind, Level, NewEvent};
pub use run::{NewRun, Run, RunId, RunStatus};
