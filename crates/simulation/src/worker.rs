//! The process of a run, as far as the state sees it: it starts, keeps its lease, writes events, claims a slot of a pool,
//! and ends, or hangs so long that others have given it up, and then goes on as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catchment_core::state::Command;
use catchment_core::{EventKind, Level, NewEvent, RunStatus};
use catchment_instance::{InstanceError, Lease, SharedInstance, SlotClaim};
use catchment_model::{Code, Problem};
use serde_json::json;

use crate::world::World;

/// The pool that every second run needs a slot of.
pub const POOL: &str = "database";
/// Its slots.
pub const POOL_SLOTS: u32 = 2;

/// One process.
#[derive(Clone)]
pub struct Worker {
    world: Arc<World>,
    state: SharedInstance,
    lease: Lease,
    halted: Arc<AtomicBool>,
    canceled: Arc<AtomicBool>,
}

/// Why a worker stops.
enum Over {
    /// Its run is not its own any more, or has ended.
    NotMine,
    /// The run was cancelled.
    Canceled,
}

impl Worker {
    /// A process of a run, with the lease that it was started with.
    pub fn new(world: Arc<World>, state: SharedInstance, lease: Lease) -> Self {
        Self { world, state, lease, halted: Arc::default(), canceled: Arc::default() }
    }

    /// Renews the lease until the process ends.
    pub async fn keep_lease(self) {
        loop {
            self.world.sleep(2_000).await;
            let until = ahead(&self.world, 10);
            match self.state.renew(self.lease, until).await {
                Ok(run) if run.status == RunStatus::Canceling => self.canceled.store(true, Ordering::Relaxed),
                Ok(run) if run.status.is_final() => self.halted.store(true, Ordering::Relaxed),
                Ok(_) | Err(InstanceError::Database(_)) => {}
                Err(_) => self.halted.store(true, Ordering::Relaxed),
            }
        }
    }

    /// Works, and ends the run.
    pub async fn work(self) {
        let outcome = self.steps().await;
        let command = match outcome {
            Ok(true) => Command::Succeed,
            Ok(false) => Command::Fail(Problem::new(Code::InvalidInput, "simulated: a step failed")),
            Err(Over::Canceled) => Command::Canceled,
            Err(Over::NotMine) => return,
        };
        // An answer that is lost is asked for again: the run may have ended by it.
        for _ in 0..20 {
            match self.state.command(self.lease.run_id, command.clone(), Some(self.lease), None, self.world.now()).await
            {
                Err(InstanceError::Database(_)) => self.world.sleep(500).await,
                _ => return,
            }
        }
    }

    /// Whether every step ended well.
    async fn steps(&self) -> Result<bool, Over> {
        let (steps, pooled, fails, hangs) = {
            let mut random = self.world.random();
            (random.u32(1..4), random.bool(), random.u32(0..10) < 2, random.u32(0..100) < 7)
        };
        self.start().await?;
        for step in 0..steps {
            let key = format!("step_{step}");
            if pooled {
                self.claim(&key).await?;
            }
            self.event(EventKind::StepStart, &key, pooled).await?;
            let time = if hangs && step == 0 { 60_000 } else { self.world.random().i64(10..2_000) };
            self.world.sleep(time).await;
            let ended = if fails && step + 1 == steps { EventKind::StepFailure } else { EventKind::StepSuccess };
            self.event(ended, &key, pooled).await?;
            if pooled {
                // Runs that each hold a slot that was not given back, and want another, would wait for each other.
                while let Err(InstanceError::Database(_)) = self.state.free_slot(POOL, self.lease.run_id, &key).await {
                    self.world.sleep(500).await;
                }
            }
            if self.halted.load(Ordering::Relaxed) && !hangs {
                return Err(Over::NotMine);
            }
            if self.canceled.load(Ordering::Relaxed) {
                return Err(Over::Canceled);
            }
        }
        Ok(!fails)
    }

    async fn start(&self) -> Result<(), Over> {
        loop {
            let until = Some(ahead(&self.world, 10));
            let now = self.world.now();
            match self.state.command(self.lease.run_id, Command::Start, Some(self.lease), until, now).await {
                Ok(_) => return Ok(()),
                Err(InstanceError::Database(_)) => {}
                // Its answer may have been lost before.
                Err(InstanceError::Refused(refused)) if refused.from == RunStatus::Started => return Ok(()),
                Err(_) => return Err(Over::NotMine),
            }
            self.world.sleep(300).await;
        }
    }

    async fn event(&self, kind: EventKind, step: &str, pooled: bool) -> Result<(), Over> {
        let event = NewEvent {
            run_id: self.lease.run_id,
            timestamp: self.world.now(),
            kind,
            step_key: Some(step.to_owned()),
            level: Level::Info,
            message: format!("{kind} of {step}"),
            data: json!({ "pooled": pooled }),
        };
        loop {
            match self.state.append(std::slice::from_ref(&event), Some(self.lease)).await {
                Ok(_) => return Ok(()),
                Err(InstanceError::Database(_)) => self.world.sleep(200).await,
                Err(_) => return Err(Over::NotMine),
            }
        }
    }

    async fn claim(&self, step: &str) -> Result<(), Over> {
        loop {
            let now = self.world.now();
            match self.state.claim_slot(POOL, step, 0, None, self.lease, now).await {
                Ok(SlotClaim::Claimed) => return Ok(()),
                Ok(SlotClaim::Waiting { .. }) | Err(InstanceError::Database(_)) => {}
                Err(_) => return Err(Over::NotMine),
            }
            if self.canceled.load(Ordering::Relaxed) {
                return Err(Over::Canceled);
            }
            self.world.sleep(400).await;
        }
    }
}

fn ahead(world: &World, seconds: i64) -> jiff::Timestamp {
    world.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX)
}
