//! A deterministic simulation of daemons, workers and the state, under random crashes, delays and lost messages.
//!
//! The daemon's own tasks and the real state (SQLite) are played, step by step, by one thread: a seed decides who is
//! next, how long a call takes, what is lost, and who is killed. Time is simulated; a schedule of eleven minutes takes
//! a fraction of a second, and the same seed plays it again.
//!
//! Here: [`world`] (time, chance, actors), what surrounds the daemon ([`flaky`] state, [`launcher`], [`worker`]s,
//! code [`location`], [`ledger`]), and the [`scenario`] with what must always hold.
//!
//! Not here: real processes; they are killed in `tests/`.

pub mod flaky;
pub mod launcher;
pub mod ledger;
pub mod location;
pub mod scenario;
pub mod worker;
pub mod world;
