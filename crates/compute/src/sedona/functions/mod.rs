//! The functions that recipes need beyond SedonaDB's own. All are volatile: they count what they see, so the
//! engine may neither leave a call out nor make it twice.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, UInt64Type};
use catchment_model::Problem;
use datafusion::logical_expr::ScalarUDF;

use super::tally::Tally;
use crate::hilbert::Extent;

mod hilbert;
mod make_valid;
mod transform;
mod world;

/// The functions of one job.
pub(super) fn all(tally: &Arc<Tally>, extent: Extent) -> Vec<ScalarUDF> {
    vec![
        ScalarUDF::from(transform::Transform::new(tally.clone())),
        ScalarUDF::from(make_valid::MakeValid::new(tally.clone())),
        ScalarUDF::from(hilbert::Hilbert::new(tally.clone(), extent)),
    ]
}

/// Says which feature a problem is about, where its number is still known.
fn at_feature(problem: Problem, rows: &ArrayRef, index: usize) -> Problem {
    if rows.data_type() != &DataType::UInt64 || rows.is_null(index) {
        return problem;
    }
    problem.place(format!("feature {} of the source", rows.as_primitive::<UInt64Type>().value(index)))
}

/// Equality of functions by identity: each job has its own.
macro_rules! identity {
    ($function:ty) => {
        impl PartialEq for $function {
            fn eq(&self, other: &Self) -> bool {
                std::sync::Arc::ptr_eq(&self.tally, &other.tally)
            }
        }
        impl Eq for $function {}
        impl std::hash::Hash for $function {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                std::sync::Arc::as_ptr(&self.tally).hash(state);
            }
        }
    };
}
use identity;

/// Things that are costly to make and belong to one thread at a time: taken, used, put back.
#[derive(Debug)]
struct Pool<T>(std::sync::Mutex<Vec<T>>);

impl<T> Pool<T> {
    const fn new() -> Self {
        Self(std::sync::Mutex::new(Vec::new()))
    }

    fn take(&self, make: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
        let idle = self.0.lock().ok().and_then(|mut idle| idle.pop());
        idle.map_or_else(make, Ok)
    }

    fn put(&self, thing: T) {
        if let Ok(mut idle) = self.0.lock() {
            idle.push(thing);
        }
    }
}
