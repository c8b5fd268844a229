//! What a process leaves for the code that launched it.

use serde_json::Value;

pub use super::message::{PipesCheck, PipesMaterialization};

/// What a process reported. The step's events hold it already; an asset may return it, or look at it first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipesResult {
    /// The assets that it made, in the order of its reports.
    pub materializations: Vec<PipesMaterialization>,
    /// The checks that it evaluated, in the order of its reports.
    pub checks: Vec<PipesCheck>,
    /// What it sent besides.
    pub custom_messages: Vec<Value>,
    /// What it said about itself when it opened Pipes; none where it did not.
    pub opened: Option<Value>,
}
