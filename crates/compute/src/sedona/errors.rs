//! From the errors of DataFusion and SedonaDB to problems that a reader can act on.

use arrow::error::ArrowError;
use catchment_model::{Code, Problem};
use datafusion::error::DataFusionError;

/// Our own problems come through as they were; what the engine says itself gets a code and, where there is one, a
/// remedy.
pub(super) fn from_datafusion(error: DataFusionError) -> Problem {
    if let Some(problem) = own(&error) {
        return problem;
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(cause) => {
            Problem::new(Code::LimitExceeded, "the memory or disk for the transformation is used up")
                .cause(cause.clone())
                .remedy("give the run more memory, or more room in its scratch folder")
        }
        DataFusionError::IoError(cause) => Problem::new(Code::Io, "the engine cannot spill to disk")
            .cause(cause.to_string())
            .remedy("look for a full disk, then run it again"),
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::SQL(..) => {
            Problem::new(Code::RecipeInvalid, "the recipe's SQL cannot be run").cause(error.strip_backtrace())
        }
        _ => {
            Problem::new(Code::GeometryInvalid, "the engine cannot carry the recipe out").cause(error.strip_backtrace())
        }
    }
}

/// A thread of the engine broke off.
pub(super) fn panicked(message: &str) -> Problem {
    Problem::new(Code::Bug, "the spatial engine broke off").cause(message.to_owned())
}

/// Wraps a problem so that it travels through the engine.
pub(super) fn external(problem: Problem) -> DataFusionError {
    DataFusionError::External(Box::new(problem))
}

fn own(error: &DataFusionError) -> Option<Problem> {
    let inner: &(dyn std::error::Error + 'static) = match error.find_root() {
        DataFusionError::External(inner) => inner.as_ref(),
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::ExternalError(inner) => inner.as_ref(),
            _ => return None,
        },
        _ => return None,
    };
    match inner.downcast_ref::<Problem>() {
        Some(problem) => Some(problem.clone()),
        None => inner.downcast_ref::<DataFusionError>().and_then(own),
    }
}
