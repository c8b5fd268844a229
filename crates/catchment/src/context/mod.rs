//! Contexts: what user code is told about the step, sensor or claim that it works on.
//!
//! [`scope`] holds what a run and a step of it are; [`step`] is what user code sees of them, [`evaluation`] what sensors
//! and schedules are told, [`end`] what hooks and claim handlers are.

mod end;
mod evaluation;
mod scope;
mod step;

use crate::resource::Resources;

pub use end::{ClaimContext, HookContext};
pub use evaluation::{ScheduleContext, SensorContext};
pub(crate) use scope::{InputValue, Reported, RetryRequested, RunScope, StepScope};
pub use step::{AssetContext, CheckContext, OpContext, StepContext};

/// A context of user code.
pub trait Context: Clone + Send + Sync + 'static {
    /// The resources of the process.
    fn resources(&self) -> &Resources;
}

macro_rules! its_own_extractor {
    ($context:ident) => {
        impl FromContext<$context> for $context {
            fn needs(_: &str) -> Vec<Need> {
                Vec::new()
            }

            async fn from_context(context: &$context, _: &str) -> Result<Self, Problem> {
                Ok(context.clone())
            }
        }
    };
}

use its_own_extractor;
