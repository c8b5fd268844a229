//! Slots of concurrency pools: how a step gets one, and gives it back.

use std::time::Duration;

use catchment_instance::{Lease, SharedInstance, SlotClaim};
use catchment_model::Problem;
use catchment_settings::clock;

use super::Halt;
use super::patience::patiently;

/// The first wait for a slot, and the longest: it doubles in between.
const FIRST_WAIT: Duration = Duration::from_millis(25);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The pools, as a run sees them.
#[derive(Clone)]
pub(crate) struct Slots {
    pub(crate) instance: SharedInstance,
    pub(crate) lease: Lease,
    /// The limit of a pool that has none of its own.
    pub(crate) default_limit: Option<u32>,
    /// Whether steps take slots; else their runs do, and have them when they begin.
    pub(crate) of_steps: bool,
}

impl Slots {
    /// Asks for a slot; answers how many are before the step where there is none for it yet.
    pub(crate) async fn claim(&self, pool: &str, step_key: &str, priority: i64) -> Result<Option<u32>, Problem> {
        if !self.of_steps {
            return Ok(None);
        }
        let now = clock::now();
        match self.instance.claim_slot(pool, step_key, priority, self.default_limit, self.lease, now).await? {
            SlotClaim::Claimed => Ok(None),
            SlotClaim::Waiting { before } => Ok(Some(before)),
        }
    }

    /// Gives the slot back, if need be with patience: other steps of this very run may wait for it. Where it cannot
    /// be given back, the end of the run does it.
    pub(crate) async fn free(&self, pool: &str, step_key: &str, halt: &Halt) {
        if !self.of_steps {
            return;
        }
        let free = async || Ok(self.instance.free_slot(pool, self.lease.run_id, step_key).await?);
        if let Err(problem) = patiently(halt, "a slot is given back", free).await {
            tracing::warn!(%problem, pool, "the slot was not given back");
        }
    }
}

/// How long a step waits before it asks for the `attempt`-th time again (the first is 0). `random` is drawn from 0 to
/// 1, so that those who wait do not come together.
pub(crate) fn wait(attempt: u32, random: f64) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt.min(16))).min(LONGEST_WAIT);
    wait.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_WAIT, wait};

    #[test]
    fn the_wait_for_a_slot_doubles_up_to_a_second() {
        assert!(wait(0, 1.0) < wait(1, 1.0));
        assert_eq!(wait(40, 1.0), LONGEST_WAIT);
        assert_eq!(wait(40, 0.0), LONGEST_WAIT / 2);
    }
}
