//! SedonaDB's dialect. The functions `catchment_…` are registered by [`crate::sedona`].

use super::Dialect;

/// Writes SQL for SedonaDB.
#[derive(Debug, Clone, Copy)]
pub struct SedonaDialect;

impl Dialect for SedonaDialect {
    fn name(&self) -> &'static str {
        "sedonadb"
    }

    fn number(&self, value: f64) -> String {
        format!("CAST({value:?} AS DOUBLE)")
    }

    fn transform(&self, geometry: &str, row: &str, to: &str) -> String {
        format!("catchment_transform({geometry}, {}, {row})", self.text(to))
    }

    fn make_valid(&self, geometry: &str, row: &str) -> String {
        format!("catchment_make_valid({geometry}, {row})")
    }

    fn simplify(&self, geometry: &str, tolerance: f64) -> String {
        format!("ST_SimplifyPreserveTopology({geometry}, {})", self.number(tolerance))
    }

    fn force_2d(&self, geometry: &str) -> String {
        format!("ST_Force2D({geometry})")
    }

    fn is_empty(&self, geometry: &str) -> String {
        format!("ST_IsEmpty({geometry})")
    }

    fn sort_key(&self, geometry: &str) -> String {
        format!("catchment_hilbert({geometry})")
    }
}
