//! What orchestration is, without I/O, clock or async runtime.
//!
//! Here: what a code location defines ([`definitions`]), runs and their state machine ([`run`], [`state`]),
//! the event log's entries ([`event`]) and their typed metadata ([`metadata`]), sensors and schedules with their ticks
//! ([`instigator`]) and what they ask for ([`sensor`]), backfills ([`backfill`]), and who may start next ([`queue`]).
//!
//! Not here: where state is kept (`catchment-instance`), who carries decisions out (`catchment-daemon`), and
//! how user code is written (`catchment`).

pub mod backfill;
pub mod definitions;
pub mod event;
pub mod instigator;
pub mod metadata;
pub mod queue;
pub mod run;
pub mod sensor;
pub mod state;
pub mod tags;

pub use event::{Event, EventKind, Level, NewEvent};
pub use instigator::Instigator;
pub use run::{NewRun, Run, RunId, RunKey, RunStatus, Selection};
