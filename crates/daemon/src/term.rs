//! What a daemon works with and at while it leads.
//!
//! A term is made anew each time that the daemon takes the lead: its tasks write through a handle of the state that is
//! fenced with the term's epoch, and nothing of an earlier term is kept in memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use catchment_core::{Event, EventKind, RunId};
use catchment_launchers::{Exit, SharedLauncher};
use catchment_ledger::SharedLedger;
use catchment_model::Problem;
use catchment_settings::Home;

use crate::context::Context;
use crate::ledger_sync::{LedgerFollower, LedgerSync};
use crate::locations::Keeper;
use crate::reconcile::Reconcile;
use crate::{DaemonConfig, alerts, backfills, freshness, leftovers, monitor, queue, recovery, retention, retries};

/// How many events of a run are read at once.
const EVENTS: u32 = 1000;

/// One term of a daemon.
pub struct Term(Arc<Daemon>);

impl Term {
    /// The term with this epoch.
    pub fn new(config: &DaemonConfig, epoch: i64) -> Self {
        Self(Arc::new(Daemon::new(config, epoch)))
    }

    /// What its tasks share.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// What is done before anything else: what an earlier leader had begun and not finished is put back.
    pub async fn begin(&self) {
        recovery::find_what_was_not_noted(&self.0).await;
    }

    /// Notes the ends of processes for the monitor, for as long as the term lasts. Those that are missed with the end
    /// of a daemon are found by the next one: it looks for the processes.
    pub fn gather_exits(&self) -> impl Future<Output = ()> + Send + use<> {
        gather_exits(self.0.clone())
    }

    /// Its tasks, besides the sensors and schedules.
    ///
    /// # Errors
    /// Where the settings of a channel of alerts cannot be used.
    pub fn tasks(&self) -> Result<Vec<Box<dyn Reconcile>>, Problem> {
        let (daemon, context) = (&self.0, &self.0.context);
        let mut tasks: Vec<Box<dyn Reconcile>> = vec![
            Box::new(Keeper::new(context.clone())),
            Box::new(queue::Queue::new(daemon.clone())),
            Box::new(monitor::Monitor::new(daemon.clone())),
            Box::new(retries::Retries::new(daemon.clone())),
            Box::new(backfills::Backfills::new(context.clone())),
            Box::new(freshness::Freshness::new(context.clone())),
            Box::new(alerts::Watcher::new(context.clone())),
            Box::new(alerts::Deliverer::new(context.clone())?),
            Box::new(retention::Retention::new(context.clone())),
            Box::new(leftovers::Leftovers::new(context.clone(), daemon.home.clone())),
        ];
        if let Some(sync) = &context.ledger_sync {
            tasks.push(Box::new(LedgerFollower::new(daemon.clone(), sync.clone())));
        }
        Ok(tasks)
    }
}

/// What the tasks of one term share that see runs through.
pub(crate) struct Daemon {
    pub(crate) context: Context,
    pub(crate) home: Home,
    pub(crate) ledger: SharedLedger,
    pub(crate) launcher: SharedLauncher,
    children: Mutex<Children>,
}

/// The processes that this daemon has launched: it hears of their end itself.
#[derive(Debug, Default)]
struct Children {
    alive: HashSet<(RunId, i64)>,
    ended: Vec<Exit>,
}

impl Daemon {
    /// What the tasks of one term share: the state is written through a handle that is fenced with its epoch.
    pub(crate) fn new(config: &DaemonConfig, epoch: i64) -> Self {
        let DaemonConfig { home, instance, ledger, locations, launcher, config, clock } = config.clone();
        let mut context = Context::new(instance.fenced(epoch), locations, config, clock);
        context.ledger_sync = Some(Arc::new(LedgerSync::new(context.instance.clone(), ledger.clone())));
        Self { context, home, ledger, launcher, children: Mutex::default() }
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events of a run, in order, without the lines of its log.
    pub(crate) async fn run_events(&self, run_id: RunId) -> Result<Vec<Event>, Problem> {
        let mut events: Vec<Event> = Vec::new();
        let mut after = 0;
        loop {
            let page = self.context.instance.run_events(run_id, after, EVENTS).await?;
            let Some(last) = page.last() else { return Ok(events) };
            after = last.id;
            events.extend(page.into_iter().filter(|event| event.event.kind != EventKind::Log));
        }
    }

    /// Notes that a process is being launched, or that its launch has failed.
    pub(crate) fn set_child(&self, run_id: RunId, epoch: i64, alive: bool) {
        let mut children = self.children();
        if alive {
            children.alive.insert((run_id, epoch));
        } else {
            children.alive.remove(&(run_id, epoch));
        }
    }

    /// Whether the end of this process will be reported.
    pub(crate) fn is_child(&self, run_id: RunId, epoch: i64) -> bool {
        self.children().alive.contains(&(run_id, epoch))
    }

    /// The processes that have ended since the last call.
    pub(crate) fn take_ended(&self) -> Vec<Exit> {
        let mut children = self.children();
        let ended = std::mem::take(&mut children.ended);
        for exit in &ended {
            children.alive.remove(&(exit.run_id, exit.epoch));
        }
        ended
    }
}

async fn gather_exits(daemon: Arc<Daemon>) {
    loop {
        tokio::select! {
            () = daemon.context.stop.cancelled() => return,
            exit = daemon.launcher.next_exit() => {
                tracing::debug!(run_id = %exit.run_id, how = exit.how, "the process of a run has ended");
                daemon.children().ended.push(exit);
                daemon.context.hints.runs();
            }
        }
    }
}
