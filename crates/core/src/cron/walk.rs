//! From wall-clock times to instants, through the changes of the clock.
//!
//! Time is walked in stretches of one UTC offset. Inside a stretch, wall clock and instants differ by a constant.
//! At its border the clock jumps: forward (a gap) or back (a repeated stretch of wall-clock time).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::expression::Expression;

const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

/// When a schedule ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick {
    /// The instant.
    pub(crate) at: Timestamp,
    /// The wall-clock time that the expression names: that of `at`, or a time of the gap that ends at `at`.
    pub(crate) named: DateTime,
}

/// The least instant after `at`.
pub(super) fn just_after(at: Timestamp) -> Timestamp {
    at.saturating_add(NANOSECOND).unwrap_or(Timestamp::MAX)
}

/// The greatest instant before `at`.
pub(super) fn just_before(at: Timestamp) -> Timestamp {
    at.saturating_sub(NANOSECOND).unwrap_or(Timestamp::MIN)
}

/// A change of the clock.
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

impl Change {
    /// The wall-clock time at which the clock jumps, and the one that it jumps to.
    fn wall(&self) -> (DateTime, DateTime) {
        (self.before.to_datetime(self.at), self.after.to_datetime(self.at))
    }

    fn next(zone: &TimeZone, after: Timestamp) -> Option<Self> {
        let before = zone.to_offset(after);
        let change = zone.following(after).find(|change| change.offset() != before)?;
        Some(Self { at: change.timestamp(), before, after: change.offset() })
    }

    /// The last change at `at` or before it.
    fn last(zone: &TimeZone, at: Timestamp) -> Option<Self> {
        let after = zone.to_offset(at);
        zone.preceding(just_after(at)).find_map(|change| {
            let at = change.timestamp();
            let before = zone.to_offset(just_before(at));
            (before != after).then_some(Self { at, before, after })
        })
    }
}

/// The first tick after `after`.
pub(super) fn next(expression: &Expression, zone: &TimeZone, after: Timestamp) -> Option<Tick> {
    let mut offset = zone.to_offset(after);
    let mut from = offset.to_datetime(after).checked_add(NANOSECOND).ok()?;
    let mut cursor = after;
    loop {
        let named = expression.at_or_after(from)?;
        let at = offset.to_timestamp(named).ok()?;
        let Some(change) = Change::next(zone, cursor) else { return Some(Tick { at, named }) };
        let (_, resume) = change.wall();
        let repeated = !expression.every_hour && named >= resume;
        if at < change.at && !repeated {
            return Some(Tick { at, named });
        }
        if !expression.every_hour && at >= change.at && named < resume {
            // Of several times in the gap the last gives its name, as it does when the walk goes backwards.
            let named = expression.at_or_before(resume)?;
            return Some(Tick { at: change.at, named });
        }
        (offset, from, cursor) = (change.after, resume, change.at);
    }
}

/// The last tick before `before`.
pub(super) fn previous(expression: &Expression, zone: &TimeZone, before: Timestamp) -> Option<Tick> {
    let mut until = just_before(before);
    loop {
        let offset = zone.to_offset(until);
        let mut wall = offset.to_datetime(until);
        if !expression.every_hour
            && let Some(change) = Change::next(zone, until)
        {
            // What the next stretch repeats ticks there.
            let (_, resume) = change.wall();
            wall = wall.min(resume.checked_sub(NANOSECOND).ok()?);
        }
        let named = expression.at_or_before(wall)?;
        let at = offset.to_timestamp(named).ok()?;
        let Some(change) = Change::last(zone, until) else { return Some(Tick { at, named }) };
        if at >= change.at {
            return Some(Tick { at, named });
        }
        let (jump, _) = change.wall();
        if !expression.every_hour && named >= jump {
            return Some(Tick { at: change.at, named });
        }
        until = just_before(change.at);
    }
}

/// How many ticks lie in `from..to`.
pub(super) fn count(expression: &Expression, zone: &TimeZone, from: Timestamp, to: Timestamp) -> u64 {
    let mut total = 0;
    let mut cursor = from;
    // The gap's tick lies at the change itself, so it counts with the stretch that begins there.
    let mut gap = Change::last(zone, from).filter(|change| change.at == from);
    while cursor < to {
        let offset = zone.to_offset(cursor);
        let change = Change::next(zone, cursor);
        let end = change.as_ref().map_or(to, |change| change.at.min(to));
        let mut until = offset.to_datetime(end);
        if !expression.every_hour {
            if let Some(change) = &change {
                until = until.min(change.wall().1);
            }
            if let Some((jump, resume)) = gap.take().map(|change| change.wall())
                && expression.count(jump, resume) > 0
                && expression.at_or_after(resume) != Some(resume)
            {
                total += 1;
            }
        }
        total += expression.count(offset.to_datetime(cursor), until);
        cursor = end;
        gap = change;
    }
    total
}
