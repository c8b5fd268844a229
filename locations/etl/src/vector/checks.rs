//! The blocking checks of a vector output: what must hold before it is committed.

use catchment::CheckResult;

use super::Produced;

/// Rows, validity, CRS and bounds.
pub fn checks(produced: &Produced) -> Vec<CheckResult> {
    [rows(produced), validity(produced), crs(produced), bounds(produced)].map(CheckResult::blocking).to_vec()
}

/// Every row that was read reached the engine, and every row that left it was written.
fn rows(produced: &Produced) -> CheckResult {
    let Produced { summary, report, written, .. } = produced;
    let read = summary.trailer.rows;
    let description = format!(
        "{read} rows were read, {} reached the engine, {} left it, {} were written",
        report.rows_in, report.rows_out, written.rows
    );
    CheckResult::new("rows", report.rows_in == read && report.rows_out == written.rows, description)
        .with("read", read)
        .with("written", written.rows)
        .with("dropped_by_recipe", report.rows_in.saturating_sub(report.rows_out))
}

/// No geometry is invalid (OGC Simple Features, as GEOS judges it).
fn validity(produced: &Produced) -> CheckResult {
    let Produced { report, written, .. } = produced;
    let description = format!("{} geometries were repaired, {} could not be", report.repaired, report.still_invalid);
    CheckResult::new("validity", report.still_invalid == 0, description)
        .with("repaired", report.repaired)
        .with("still_invalid", report.still_invalid)
        .with("null_geometries", written.null_geometries)
        .with("empty_geometries", written.empty_geometries)
}

/// The CRS of the coordinates is known and written into the file.
fn crs(produced: &Produced) -> CheckResult {
    let crs = &produced.crs;
    CheckResult::new("crs", !crs.projjson.is_null(), format!("coordinates are in {}", crs.label()))
        .with("crs", crs.label())
}

/// Finite, ordered and, in degrees, within the world.
fn bounds(produced: &Produced) -> CheckResult {
    let Some([minx, miny, maxx, maxy]) = produced.written.bounds else {
        return CheckResult::new("bounds", true, "no row has a position");
    };
    let ordered = [minx, miny, maxx, maxy].iter().all(|v| v.is_finite()) && minx <= maxx && miny <= maxy;
    let degrees = produced.crs.authority.as_deref() == Some("EPSG:4326");
    let within = |limit: f64, low: f64, high: f64| low >= -limit && high <= limit;
    let world = !degrees || (within(180.0, minx, maxx) && within(90.0, miny, maxy));
    let description = format!("x {minx} to {maxx}, y {miny} to {maxy} in {}", produced.crs.label());
    CheckResult::new("bounds", ordered && world, description)
        .with("bounds", serde_json::json!([minx, miny, maxx, maxy]))
}
