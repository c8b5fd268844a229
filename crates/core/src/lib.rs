//! What orchestration is, without I/O, clock or async runtime.
//!
//! Here: what a code location defines ([`definitions`]), runs and their state machine ([`run`], [`state`]),
//! the event log's entries ([`event`]) and their typed metadata ([`metadata`]), sensors and schedules with their ticks
//! ([`instigator`]) and what they ask for ([`sensor`]), backfills ([`backfill`], [`backfill_plan`]), and who may start next ([`queue`]). When
//! things are due and for what: [`cron`], [`partitions`] and how they depend on each other ([`mapping`]), what lets an
//! asset run by itself ([`automation`]), how new it should be ([`freshness`]), when a step is tried again
//! ([`retry`]), what of a run is run again ([`reexecution`], [`rerun`]).
//!
//! Not here: where state is kept (`catchment-instance`), who carries decisions out (`catchment-daemon`), and
//! how user code is written (`catchment`).

pub mod automation;
pub mod backfill;
pub mod backfill_plan;
pub mod cron;
pub mod definitions;
pub mod event;
pub mod freshness;
pub mod instigator;
pub mod mapping;
pub mod metadata;
pub mod partitions;
pub mod queue;
pub mod reexecution;
pub mod rerun;
pub mod retry;
pub mod run;
pub mod selection;
pub mod sensor;
pub mod state;
pub mod tags;

pub use event::{Event, EventKind, Level, NewEvent};
pub use instigator::Instigator;
pub use run::{NewRun, Run, RunId, RunKey, RunStatus, Selection};
