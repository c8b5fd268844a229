//! The state as a process sees it: each call may come late, get lost on the way, or be carried out without an answer.
//!
//! The calls themselves go to the real store, each as one event of the simulation. What must hold of every single write
//! (only the newest lease of a run, and only the leading daemon, changes anything) is checked here.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use catchment_core::backfill::{Backfill, BackfillId, NewBackfill};
use catchment_core::instigator::{InstigatorKind, InstigatorState, InstigatorStatus, Tick, TickLog, TickStatus};
use catchment_core::sensor::{Claim, ClaimKey, SensorResult};
use catchment_core::state::Command;
use catchment_core::{Event, EventKind, Instigator, NewEvent, NewRun, Run, RunId, RunKey};
use catchment_instance::sql::Hints;
use catchment_instance::*;
use catchment_model::Problem;
use jiff::Timestamp;
use serde_json::Value;

use crate::world::World;

/// How often things go wrong, in a thousand calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A request is lost.
    pub lost_request: u32,
    /// An answer is lost: what was asked for was done.
    pub lost_answer: u32,
    /// A call takes seconds.
    pub slow: u32,
}

/// A fault that is planted to see that the simulation finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Leases are not looked at.
    ForgottenLease,
    /// A daemon that no longer leads goes on writing.
    ForgottenFence,
    /// A run key does not keep a second run from being made.
    ForgottenRunKey,
    /// A cursor moves before what it has passed is dealt with.
    HastyCursor,
    /// A slot of a pool is given to whoever asks.
    GenerousPool,
}

/// A process's view of the state.
pub struct Flaky {
    inner: SharedInstance,
    /// The same without a fence, to look at.
    bare: SharedInstance,
    world: Arc<World>,
    faults: Faults,
    planted: Option<Planted>,
    epoch: Option<i64>,
}

impl Flaky {
    /// A view that nothing fences.
    pub fn new(inner: SharedInstance, world: Arc<World>, faults: Faults, planted: Option<Planted>) -> Self {
        Self { bare: inner.clone(), inner, world, faults, planted, epoch: None }
    }

    /// The way of a call: it waits, and may be lost.
    async fn way(&self) -> Result<bool> {
        let delay = {
            let mut random = self.world.random();
            if random.u32(0..1000) < self.faults.slow { random.i64(1000..9000) } else { random.i64(0..3) }
        };
        self.world.sleep(delay).await;
        if self.world.happens(self.faults.lost_request) {
            return Err(lost("request"));
        }
        Ok(self.world.happens(self.faults.lost_answer))
    }

    /// After a write went through: was this the leader?
    fn check_leader(&self, call: &str) {
        self.world.written();
        let Some(epoch) = self.epoch else { return };
        if let Ok(Some(leader)) = self.world.at_once(self.bare.leader())
            && leader.epoch != epoch
        {
            self.world.violated(format!("{call} of a daemon with epoch {epoch} went through; {} leads", leader.epoch));
        }
    }

    fn newest_epoch(&self, run_id: RunId) -> Option<i64> {
        self.world.at_once(self.bare.run(run_id)).ok().flatten().map(|run| run.lease_epoch)
    }

    /// A write under a lease: only the newest one may go through.
    fn check_lease(&self, call: &str, lease: Option<Lease>, before: Option<i64>, went_through: bool) {
        if let (Some(lease), Some(before), true) = (lease, before, went_through)
            && lease.epoch != before
        {
            let run_id = lease.run_id;
            self.world.violated(format!("{call} with epoch {} of {run_id} went through; {before} is new", lease.epoch));
        }
    }

    /// The lease that the store gets to see.
    fn shown(&self, lease: Option<Lease>) -> Option<Lease> {
        lease.filter(|_| self.planted != Some(Planted::ForgottenLease))
    }
}

fn lost(what: &str) -> InstanceError {
    InstanceError::Database(format!("simulated: the {what} was lost"))
}

/// Each call goes its way and is carried out at once; a write of a fenced handle is checked. What is written by hand
/// stands at the end.
macro_rules! pass_on {
    ($trait:ident {
        $( $kind:ident $name:ident ( $($arg:ident : $ty:ty),* ) -> $ret:ty; )*
    } by hand { $($hand:tt)* }) => {
        #[async_trait]
        impl $trait for Flaky {
            $(async fn $name(&self $(, $arg: $ty)*) -> Result<$ret> {
                let answer_lost = self.way().await?;
                let answer = self.world.at_once(self.inner.$name($($arg),*));
                pass_on!(@$kind self $name answer);
                if answer_lost { Err(lost("answer")) } else { answer }
            })*
            $($hand)*
        }
    };
    (@reads $self:ident $name:ident $answer:ident) => {};
    (@writes $self:ident $name:ident $answer:ident) => {
        if $answer.is_ok() {
            $self.check_leader(stringify!($name));
        }
    };
}

pass_on! { Runs {
    writes enqueue(run: NewRun, now: Timestamp) -> Run;
    reads run(run_id: RunId) -> Option<Run>;
    reads runs(filter: &RunFilter, before: Option<RunId>, limit: u32) -> Vec<Run>;
    reads count_runs(filter: &RunFilter) -> u64;
    reads live_runs() -> Vec<Run>;
    writes revoke(run_id: RunId, now: Timestamp) -> i64;
    writes set_tags(run_id: RunId, tags: &[(String, String)]) -> Run;
    writes delete_run(run_id: RunId) -> ();
    writes purge_runs(ended_before: Timestamp, limit: u32) -> u64;
    reads deleted_runs(run_ids: &[RunId]) -> HashSet<RunId>;
    reads run_tags(key: Option<&str>, prefix: &str, limit: u32) -> Vec<String>;
} by hand {
        async fn enqueue_once(&self, key: RunKey, run: NewRun, now: Timestamp) -> Result<Enqueued> {
            let answer_lost = self.way().await?;
            let answer = if self.planted == Some(Planted::ForgottenRunKey) {
                let run = NewRun { run_id: RunId::random(), ..run };
                self.world.at_once(self.inner.enqueue(run, now)).map(|run| Enqueued::Made(Box::new(run)))
            } else {
                self.world.at_once(self.inner.enqueue_once(key, run, now))
            };
            if answer.is_ok() {
                self.check_leader("enqueue_once");
            }
            if answer_lost { Err(lost("answer")) } else { answer }
        }

        async fn command(
            &self,
            run_id: RunId,
            command: Command,
            lease: Option<Lease>,
            until: Option<Timestamp>,
            now: Timestamp,
        ) -> Result<Run> {
            let answer_lost = self.way().await?;
            let before = self.newest_epoch(run_id);
            let name = command.name();
            let answer = self.world.at_once(self.inner.command(run_id, command, self.shown(lease), until, now));
            self.check_lease(name, lease, before, answer.is_ok());
            if let Ok(run) = &answer {
                self.check_leader(name);
                self.world.tell(|| format!("{name} → {} epoch {}", run.status, run.lease_epoch));
            }
            if answer_lost { Err(lost("answer")) } else { answer }
        }

        async fn renew(&self, lease: Lease, until: Timestamp) -> Result<Run> {
            let answer_lost = self.way().await?;
            let before = self.newest_epoch(lease.run_id);
            let answer = self.world.at_once(self.inner.renew(lease, until));
            self.check_lease("renew", Some(lease), before, answer.is_ok());
            if answer_lost { Err(lost("answer")) } else { answer }
        }

        async fn note_process(&self, lease: Lease, process: &str) -> Result<Run> {
            let answer_lost = self.way().await?;
            let before = self.newest_epoch(lease.run_id);
            let answer = self.world.at_once(self.inner.note_process(lease, process));
            self.check_lease("note", Some(lease), before, answer.is_ok());
            if answer_lost { Err(lost("answer")) } else { answer }
        }
}
}

pass_on! { Events {
    reads run_events(run_id: RunId, after: i64, limit: u32) -> Vec<Event>;
    reads events_after(after: i64, kinds: &[EventKind], limit: u32) -> Vec<Event>;
    reads events(filter: &EventFilter, before: Option<i64>, limit: u32) -> Vec<Event>;
    reads last_event_id() -> i64;
    writes purge_events(before: Timestamp, limit: u32) -> u64;
} by hand {
        async fn append(&self, events: &[NewEvent], lease: Option<Lease>) -> Result<i64> {
            let answer_lost = self.way().await?;
            let before = lease.and_then(|lease| self.newest_epoch(lease.run_id));
            let answer = self.world.at_once(self.inner.append(events, self.shown(lease)));
            self.check_lease("append", lease, before, answer.is_ok());
            if answer.is_ok() {
                self.check_leader("append");
            }
            if answer_lost { Err(lost("answer")) } else { answer }
        }
}
}

pass_on! { Instigators {
    reads instigator(instigator: &Instigator) -> InstigatorState;
    reads instigators() -> Vec<InstigatorState>;
    writes set_status(instigator: &Instigator, status: InstigatorStatus, running: bool, now: Timestamp) -> InstigatorState;
    writes set_cursor(instigator: &Instigator, cursor: Option<&str>, now: Timestamp) -> ();
    writes begin_tick(instigator: &Instigator, scheduled_for: Option<Timestamp>, now: Timestamp) -> Tick;
    writes log_tick(tick: i64, log: &[TickLog]) -> ();
    writes fail_tick(tick: i64, problem: Problem, cursor: Option<&str>, now: Timestamp) -> ();
    reads tick(tick: i64) -> Option<Tick>;
    reads ticks(instigator: &Instigator, filter: &TickFilter, before: Option<i64>, limit: u32) -> Vec<Tick>;
    writes purge_ticks(kind: InstigatorKind, statuses: &[TickStatus], before: Timestamp, limit: u32) -> u64;
    reads unfinished_claims(sensor: &Instigator, limit: u32) -> Vec<Claim>;
    writes finish_claims(sensor: &Instigator, claims: &[ClaimKey]) -> ();
} by hand {
        async fn admit(&self, tick: i64, result: SensorResult, origins: &[RunId], now: Timestamp) -> Result<Admitted> {
            let answer_lost = self.way().await?;
            if self.planted == Some(Planted::HastyCursor)
                && let Some(cursor) = &result.cursor
                && let Ok(Some(found)) = self.world.at_once(self.inner.tick(tick))
            {
                self.world.at_once(self.inner.set_cursor(&found.instigator, Some(cursor), now))?;
                self.way().await?;
            }
            let answer = self.world.at_once(self.inner.admit(tick, result, origins, now));
            if answer.is_ok() {
                self.check_leader("admit");
            }
            if answer_lost { Err(lost("answer")) } else { answer }
        }
}
}

pass_on! { Partitions {
    writes add_partitions(definition: &str, keys: &[String]) -> Vec<String>;
    writes delete_partitions(definition: &str, keys: &[String]) -> Vec<String>;
    reads partitions(definition: &str) -> Vec<String>;
    reads has_partition(definition: &str, key: &str) -> bool;
} by hand {} }

pass_on! { Assets {
    reads assets(keys: &[String], after: Option<&str>, limit: u32) -> Vec<AssetRecord>;
    reads asset_partitions(asset_key: &str, only: &[String]) -> Vec<PartitionState>;
    reads count_partitions(asset_key: &str) -> PartitionCounts;
    writes wipe_asset(asset_key: &str, partitions: Option<&[String]>, now: Timestamp) -> ();
    reads check_executions(asset_key: &str, check_name: &str, before: Option<i64>, limit: u32) -> Vec<CheckExecution>;
    reads latest_of_partitions(asset_key: &str, check_name: &str) -> Vec<CheckExecution>;
    reads latest_checks(asset_keys: &[String]) -> Vec<CheckExecution>;
} by hand {} }

pass_on! { Backfills {
    writes request_backfill(backfill: NewBackfill, now: Timestamp) -> Backfill;
    reads backfill(id: &BackfillId) -> Option<Backfill>;
    reads backfills(filter: &BackfillFilter, before: Option<&BackfillId>, limit: u32) -> Vec<Backfill>;
    writes update_backfill(backfill: &Backfill) -> Backfill;
} by hand {} }

pass_on! { Pools {
    reads pools() -> Vec<Pool>;
    writes set_pool_limit(pool: &str, limit: Option<u32>) -> ();
    writes free_slot(pool: &str, run_id: RunId, step_key: &str) -> ();
    writes free_slots_of(run_id: RunId) -> u64;
} by hand {
        async fn claim_slot(
            &self,
            pool: &str,
            step_key: &str,
            priority: i64,
            default_limit: Option<u32>,
            lease: Lease,
            now: Timestamp,
        ) -> Result<SlotClaim> {
            let answer_lost = self.way().await?;
            let before = self.newest_epoch(lease.run_id);
            let call = self.inner.claim_slot(pool, step_key, priority, default_limit, lease, now);
            let mut answer = self.world.at_once(call);
            self.check_lease("claim_slot", Some(lease), before, answer.is_ok());
            if self.planted == Some(Planted::GenerousPool) && answer.is_ok() {
                answer = Ok(SlotClaim::Claimed);
            }
            if answer_lost { Err(lost("answer")) } else { answer }
        }
}
}

pass_on! { Automations {
    reads automation_states(location: &str) -> Vec<(String, Value)>;
    writes save_automation(location: &str, states: &[(String, Value)], records: &[AutomationRecord]) -> ();
    reads evaluations(key: &str, before: Option<i64>, limit: u32) -> Vec<AutomationRecord>;
    writes purge_evaluations(before: Timestamp, limit: u32) -> u64;
} by hand {} }

pass_on! { Alerts {
    writes raise(alerts: &[NewAlert], follower: Option<(&str, i64)>, now: Timestamp) -> ();
    reads due_alerts(now: Timestamp, limit: u32) -> Vec<Alert>;
    writes alert_delivered(id: i64) -> ();
    writes alert_failed(id: i64, error: &str, next: Option<Timestamp>) -> ();
    reads alerts(before: Option<i64>, limit: u32) -> Vec<Alert>;
    writes purge_alerts(before: Timestamp, limit: u32) -> u64;
} by hand {} }

pass_on! { Locations {
    reads locations() -> Vec<LocationRecord>;
    writes save_location(location: &LocationRecord) -> ();
    writes forget_location(name: &str) -> ();
} by hand {} }

pass_on! { Leadership {
    reads lead(holder: &str, until: Timestamp, now: Timestamp) -> Leading;
    reads resign(holder: &str) -> ();
    reads leader() -> Option<Leading>;
} by hand {} }

pass_on! { Heartbeats {
    writes beat(beat: &Heartbeat) -> ();
    reads heartbeats() -> Vec<Heartbeat>;
} by hand {} }

pass_on! { Cursors {
    reads follow_cursor(name: &str) -> Option<i64>;
    writes set_follow_cursor(name: &str, event_id: i64) -> ();
} by hand {} }

#[async_trait]
impl Instance for Flaky {
    async fn hints(&self) -> Result<Hints> {
        self.inner.hints().await
    }

    fn fenced(&self, epoch: i64) -> SharedInstance {
        let inner = match self.planted {
            Some(Planted::ForgottenFence) => self.inner.clone(),
            _ => self.inner.fenced(epoch),
        };
        Arc::new(Self {
            inner,
            bare: self.bare.clone(),
            world: self.world.clone(),
            faults: self.faults,
            planted: self.planted,
            epoch: Some(epoch),
        })
    }
}
