//! What the schedule has to know of a step.

use std::collections::BTreeMap;

/// What is known of a step before anything runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// What it waits for; all before it.
    pub(crate) after: Vec<Edge>,
    /// The dynamic node whose mapping keys it has an instance for.
    pub(crate) mapped_over: Option<usize>,
    /// What of it runs.
    pub(crate) runs: Runs,
    /// Who is higher goes first.
    pub(crate) priority: i64,
    /// Tags, for the limits by tag.
    pub(crate) tags: BTreeMap<String, String>,
}

/// What of a step runs in this run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Runs {
    /// All of it; its mapping keys come from the dynamic node.
    #[default]
    Whole,
    /// Nothing: an earlier run gave what it gives.
    Given(LeftOut),
    /// Of these mapping keys some run; an earlier run gave the others.
    Keys(Vec<(String, Share)>),
}

/// Outputs that a step did not give though it ended well, by their places.
pub(crate) type LeftOut = Vec<usize>;

/// Who has to do with an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Share {
    /// This run: it runs.
    Runs,
    /// An earlier run gave what it gives.
    Given(LeftOut),
}

impl Runs {
    /// Whether nothing of the step runs.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::Given(_))
    }
}

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The node.
    pub(crate) node: usize,
    /// The output of it, among several; without, its end.
    pub(crate) output: Option<usize>,
}
