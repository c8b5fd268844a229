//! Declarative automation: conditions under which an asset is materialised without a schedule.
//!
//! [`AutomationCondition`] is an expression in Dagster's vocabulary. [`evaluate`] answers for which partitions it is
//! true in this tick, from what an [`AutomationView`] knows and from what the last tick left ([`AutomationState`]).
//! Statuses (`missing`) are true as long as they last, events (`newly_updated`) in one tick only; `since` and
//! `newly_true` turn one into the other and are all that needs memory.

mod build;
mod condition;
mod evaluate;
mod view;

#[cfg(test)]
mod tests;

pub use condition::{AutomationCondition, DepSelection};
pub use evaluate::{AutomationState, ConditionResult, Evaluation, evaluate};
pub use view::AutomationView;
