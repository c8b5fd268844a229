//! The one place that reads the machine's clocks; elsewhere time is passed in.
#![allow(clippy::disallowed_methods, reason = "this module is the one that provides time")]

use std::time::Instant;

use jiff::Timestamp;

/// The wall-clock time, in UTC, cut to microseconds: what every store keeps without loss.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A point of the monotonic clock, for durations and deadlines.
pub fn monotonic() -> Instant {
    Instant::now()
}
