//! Sizes, times and tables as people read them.

use catchment_model::Bounds;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A size in decimal units: `1.2 MB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A whole number with thin groups: `12 345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let head = digits.len() % 3;
    let mut text = digits[..head].to_owned();
    for group in digits.as_bytes()[head..].chunks(3) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(group.iter().map(|b| char::from(*b)));
    }
    text
}

/// A time that something took: `850 ms`, `2.4 s`, `3 min 20 s`.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// A point of time where the reader is: `2026-11-21 14:05:09`.
pub(crate) fn time(at: Timestamp) -> String {
    time_in(at, TimeZone::system())
}

fn time_in(at: Timestamp, zone: TimeZone) -> String {
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time of day where the reader is, to the millisecond.
pub(crate) fn clock_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

/// A bounding box in the order x, y: `7.10 46.90 … 7.20 47.00`.
pub(crate) fn bounds(b: &Bounds) -> String {
    format!("{:.5} {:.5} … {:.5} {:.5}", b.minx, b.miny, b.maxx, b.maxy)
}

/// What may be missing.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| v.to_string())
}

/// An empty table with a header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    table
}

/// Prints facts as two columns.
pub(crate) fn facts(rows: &[(&str, String)]) {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, value) in rows {
        let mut lines = value.lines();
        println!("{label:<width$}  {}", lines.next().unwrap_or_default());
        for line in lines {
            println!("{:<width$}  {line}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, duration, time_in};

    #[test]
    fn sizes_counts_and_times_are_readable() {
        assert_eq!([bytes(0), bytes(999), bytes(1000), bytes(1_234_567)], ["0 B", "999 B", "1.0 kB", "1.2 MB"]);
        assert_eq!(bytes(999_960), "1.0 MB");
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([duration(850), duration(2430), duration(200_000)], ["850 ms", "2.4 s", "3 min 20 s"]);
    }

    #[test]
    fn a_time_is_shown_where_its_reader_is() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(time_in("2026-11-21T12:05:09.5Z".parse().unwrap(), zone), "2026-11-21 14:05:09");
    }
}
