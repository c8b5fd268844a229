//! What happens to the features of a job, counted by whoever sees it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use catchment_model::{Crs, Problem};

use crate::engine::{CrsOperation, Report};
use crate::proj;

/// Counters that all threads of a job share.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    nulls: AtomicU64,
    empties: AtomicU64,
    repaired: AtomicU64,
    still_invalid: AtomicU64,
    snapped: AtomicU64,
    ways: Mutex<Vec<Way>>,
}

/// A transformation from one CRS to another, and what was seen of it.
#[derive(Debug)]
struct Way {
    source: Crs,
    target: Crs,
    used: BTreeMap<String, Option<f64>>,
    area: Option<[f64; 4]>,
}

impl Tally {
    pub(super) fn came_in(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Relaxed);
    }

    pub(super) fn went_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Relaxed);
    }

    pub(super) fn placed(&self, nulls: u64, empties: u64) {
        self.nulls.fetch_add(nulls, Relaxed);
        self.empties.fetch_add(empties, Relaxed);
    }

    pub(super) fn repaired(&self, repaired: u64, still_invalid: u64) {
        self.repaired.fetch_add(repaired, Relaxed);
        self.still_invalid.fetch_add(still_invalid, Relaxed);
    }

    pub(super) fn snapped(&self, coordinates: u64) {
        self.snapped.fetch_add(coordinates, Relaxed);
    }

    /// A batch was transformed; `area` are its bounds in the target CRS.
    pub(super) fn transformed(
        &self,
        source: &Crs,
        target: &Crs,
        used: &BTreeMap<String, Option<f64>>,
        area: Option<[f64; 4]>,
    ) {
        let Ok(mut ways) = self.ways.lock() else { return };
        let known = ways.iter().position(|way| way.source == *source && way.target == *target);
        let index = known.unwrap_or_else(|| {
            let (source, target) = (source.clone(), target.clone());
            ways.push(Way { source, target, used: BTreeMap::new(), area: None });
            ways.len() - 1
        });
        let way = &mut ways[index];
        way.used.extend(used.iter().map(|(name, accuracy)| (name.clone(), *accuracy)));
        if let Some(area) = area {
            let all = way.area.get_or_insert(area);
            *all = [all[0].min(area[0]), all[1].min(area[1]), all[2].max(area[2]), all[3].max(area[3])];
        }
    }

    pub(super) fn report(&self) -> Result<Report, Problem> {
        Ok(Report {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            repaired: self.repaired.load(Relaxed),
            null_geometries: self.nulls.load(Relaxed),
            empty_geometries: self.empties.load(Relaxed),
            still_invalid: self.still_invalid.load(Relaxed),
            snapped: self.snapped.load(Relaxed),
            crs_operation: self.crs_operation()?,
        })
    }

    /// All operations of all ways as one; its accuracy is that of the worst, and unknown if any is.
    fn crs_operation(&self) -> Result<Option<CrsOperation>, Problem> {
        let Ok(ways) = self.ways.lock() else { return Ok(None) };
        let mut names = Vec::new();
        let mut accuracy = Some(0.0f64);
        let mut better = Vec::new();
        for way in ways.iter().filter(|way| !way.used.is_empty()) {
            names.extend(way.used.keys().cloned());
            let worst = way.used.values().try_fold(0.0f64, |worst, own| own.map(|own| worst.max(own)));
            accuracy = accuracy.zip(worst).map(|(a, b)| a.max(b));
            let area = way.area.filter(|_| super::is_geographic(&way.target));
            better.extend(proj::better_operation(&way.source, &way.target, worst, area)?);
        }
        if names.is_empty() {
            return Ok(None);
        }
        let better = (!better.is_empty()).then(|| better.join("; "));
        Ok(Some(CrsOperation { name: names.join("; "), accuracy_m: accuracy, better }))
    }
}
