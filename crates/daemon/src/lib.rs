//! The daemon: decides what runs when, and sees it through.
//!
//! Each concern is a reconcile loop ([`reconcile`]): look at the state, do what is missing, wait for a hint or the
//! interval. No loop relies on a hint, and a cursor moves only after success, so the daemon may be killed anywhere.
//!
//! - `supervisor`: keeps a task for each of the [`sensors`] and [`schedules`] that run, `evaluation` is what their
//!   ticks have in common; sensors of automation conditions are evaluated in `automation`;
//! - [`freshness`]: how each asset with a policy stands;
//! - [`alerts`]: tells of what the rules of `catchment.yaml` ask for;
//! - [`retention`]: removes what is kept no longer; [`leftovers`] what deleted runs have left in the home;
//! - [`term`]: all of these, for as long as this daemon leads;
//! - `queue`: launches queued runs (who may start is decided in `catchment_core::queue`);
//! - `monitor`: leases, cancels and ends of processes; `recovery` is what it does about a run that was lost,
//!   `roll_forward` what it writes for one that had done its work, `scratch` what is left to remove; `retries` runs failed runs again;
//! - `backfills`: asks for the runs of backfills;
//! - `leader`: of all daemons that share a state one decides, and its writes are fenced by its epoch;
//! - `ledger_sync`: keeps the status in the ledger in step with the event log (`follow` reads it page by page);
//! - `locations`: what is known of the code locations, in the state.
//!
//! Not here: the state machine (`catchment-core`), the state (`catchment-instance`), the run itself (`catchment`).

pub mod alerts;
mod automation;
mod backfills;
pub mod context;
mod dynamic_keys;
mod evaluation;
mod follow;
pub mod freshness;
mod hints;
mod leader;
mod ledger_sync;
pub mod leftovers;
pub mod locations;
mod monitor;
mod queue;
pub mod reconcile;
mod recovery;
pub mod retention;
mod retries;
mod roll_forward;
pub mod schedules;
mod scratch;
pub mod sensors;
mod supervisor;
pub mod term;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::Retryable as _;
use catchment_instance::SharedInstance;
use catchment_launchers::SharedLauncher;
use catchment_ledger::SharedLedger;
use catchment_model::{Code, Problem};
use catchment_settings::config::OperatorConfig;
use catchment_settings::lock::Lock;
use catchment_settings::wake::Hint;
use catchment_settings::{Home, task, wake};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::context::{Clock, Context};
use crate::locations::SharedLocations;
use crate::reconcile::drive;
use crate::supervisor::{Role, Supervisor};
pub(crate) use crate::term::Daemon;
use crate::term::Term;

/// How long tasks may take to let go after a shutdown, before they are dropped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Between tries to hear the hints of the state.
const HINTS_AGAIN: Duration = Duration::from_secs(2);

/// What a daemon works with.
#[derive(Clone)]
pub struct DaemonConfig {
    /// The home folder; one daemon a home.
    pub home: Home,
    /// The state.
    pub instance: SharedInstance,
    /// The ledger.
    pub ledger: SharedLedger,
    /// The code locations.
    pub locations: SharedLocations,
    /// Starts the processes of runs.
    pub launcher: SharedLauncher,
    /// What the operator has set.
    pub config: Arc<OperatorConfig>,
    /// What tells the time.
    pub clock: Clock,
}

/// Runs the daemon until `shutdown` comes true. Runs that work go on working; the next daemon takes them up. Where
/// another daemon leads, this one waits, and takes over when that one is gone.
///
/// # Errors
/// `already_running` where another daemon holds this home, with its pid; where the wake-up socket cannot be used;
/// `bug` where a task has panicked (whoever supervises the process starts it anew).
pub async fn run(config: DaemonConfig, shutdown: impl Future<Output = ()> + Send) -> Result<(), Problem> {
    let _lock = Lock::take(&config.home.lock_file("daemon"))?;
    let socket = config.home.daemon_socket();
    let listener = wake::Listener::bind(&socket).map_err(|e| {
        Problem::new(Code::Io, "the socket that wakes the daemon cannot be made")
            .place(socket.display().to_string())
            .cause(e.to_string())
            .remedy("see that the folder may be written and that its path is shorter than 100 bytes")
    })?;
    let listener = Arc::new(listener);
    let holder = leader::Holder::new(&config.home).map_err(|e| {
        Problem::new(Code::Io, "the id of this home cannot be made")
            .place(config.home.root().display().to_string())
            .cause(e.to_string())
            .remedy("see that the folder may be read and written")
    })?;
    let mut shutdown = pin!(shutdown);
    loop {
        let epoch = tokio::select! {
            () = &mut shutdown => return Ok(()),
            epoch = leader::win(&config.instance, &holder) => epoch,
        };
        tracing::info!(epoch, "the daemon leads");
        let term = Term::new(&config, epoch);
        let over = lead(&term, listener.clone(), &holder, epoch, shutdown.as_mut()).await?;
        if over {
            leader::resign(&config.instance, &holder).await;
            return Ok(());
        }
    }
}

/// Works while this daemon leads. Answers whether it is to end (or has only lost the lead).
async fn lead(
    term: &Term,
    listener: Arc<wake::Listener>,
    holder: &leader::Holder,
    epoch: i64,
    shutdown: impl Future<Output = ()>,
) -> Result<bool, Problem> {
    term.begin().await;
    let context = term.context().clone();
    let mut tasks = FuturesUnordered::new();
    let keep = leader::keep(context.instance.clone(), holder.clone(), epoch, context.stop.clone());
    tasks.push(task::spawn("lead", keep));
    tasks.push(task::spawn("wake", forward_hints(context.clone(), listener)));
    tasks.push(task::spawn("hints", forward_hints_of_the_state(context.clone())));
    tasks.push(task::spawn("exits", term.gather_exits()));
    tasks.push(task::spawn("definitions", forward_changes(context.clone())));
    for work in term.tasks()? {
        tasks.push(task::spawn("reconcile", drive(work, context.clone())));
    }
    for role in Role::ALL {
        tasks.push(task::spawn("instigators", drive(Supervisor::new(context.clone(), role), context.clone())));
    }

    let outcome = tokio::select! {
        biased;
        () = shutdown => Ok(true),
        () = context.stop.cancelled() => Ok(false),
        Some(ended) = tasks.next() => Err(Problem::new(Code::Bug, "a task of the daemon has ended")
            .cause(ended.err().map_or_else(|| "it returned".to_owned(), |e| e.to_string()))
            .remedy("start the daemon again, and report this as a bug of Catchment")),
    };
    context.stop.cancel();
    let all_ended = async { while tasks.next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended).await.is_err() {
        tracing::warn!("tasks of the daemon had not let go in time; what they were at is taken up by the next one");
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
    outcome
}

/// Wakes those who look at definitions when a location has come, gone or changed.
async fn forward_changes(context: Context) {
    let mut changed = context.locations.changed();
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            change = changed.changed() => match change {
                Ok(()) => context.hints.all(),
                // Nothing changes any more: a fixed set of locations.
                Err(_) => return context.stop.cancelled().await,
            }
        }
    }
}

/// Passes on the hints of other processes. A socket that fails leaves the intervals, so nothing is lost.
async fn forward_hints(context: Context, listener: Arc<wake::Listener>) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            hint = listener.woken() => pass_on(&context, hint),
        }
    }
}

fn pass_on(context: &Context, hint: Hint) {
    match hint {
        Hint::Runs => context.hints.runs(),
        Hint::Anything => context.hints.all(),
    }
}

/// Passes on the hints of other hosts that share the state, where it gives any.
async fn forward_hints_of_the_state(context: Context) {
    let forward = async {
        let again = backon::ConstantBuilder::new().with_delay(HINTS_AGAIN).without_max_times();
        let listen = || context.instance.hints();
        let Ok(mut hints) = listen.retry(again).await else { return };
        loop {
            pass_on(&context, hints.woken().await);
        }
    };
    tokio::select! {
        () = context.stop.cancelled() => {}
        () = forward => {}
    }
}
