//! Time, chance and the actors: everything that happens does so here, one thing after the other, as the seed says.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;

/// How long an actor that does not say what it waits for is left alone, in microseconds.
const LOOK_AGAIN: i64 = 20_000;

thread_local! {
    /// Until when the actor that is being polled waits.
    static WAITS_UNTIL: Cell<i64> = const { Cell::new(i64::MAX) };
}

/// What all actors share.
pub struct World {
    now: AtomicI64,
    processes: AtomicU64,
    writes: AtomicU64,
    random: Mutex<fastrand::Rng>,
    born: Mutex<Vec<Actor>>,
    dead: Mutex<Vec<Process>>,
    trace: Mutex<Vec<String>>,
    violations: Mutex<Vec<String>>,
    runtime: tokio::runtime::Handle,
}

/// A simulated process: it ends as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub u64);

struct Actor {
    process: Process,
    until: i64,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World at {}", self.now())
    }
}

impl World {
    /// A world that begins at a fixed time. Timers of tokio that nobody waits for need its runtime.
    pub fn new(seed: u64, runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicI64::new(1_800_000_000_000_000),
            processes: AtomicU64::new(1),
            writes: AtomicU64::new(0),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            born: Mutex::default(),
            dead: Mutex::default(),
            trace: Mutex::default(),
            violations: Mutex::default(),
            runtime,
        })
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.now.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
    }

    /// Chance.
    pub fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something that happens `times` in a thousand times happens now.
    pub fn happens(&self, times: u32) -> bool {
        self.random().u32(0..1000) < times
    }

    /// A process that did not exist before.
    pub fn new_process(&self) -> Process {
        Process(self.processes.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets an actor begin.
    pub fn spawn(&self, process: Process, future: impl Future<Output = ()> + Send + 'static) {
        let actor = Actor { process, until: 0, future: Box::pin(future) };
        self.born.lock().unwrap_or_else(PoisonError::into_inner).push(actor);
    }

    /// Ends a process where it stands: whatever it is at is never finished.
    pub fn kill(&self, process: Process) {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner).push(process);
    }

    /// Waits in simulated time.
    pub fn sleep(self: &Arc<Self>, milliseconds: i64) -> Sleep {
        Sleep { until: self.now.load(Ordering::Relaxed) + milliseconds * 1000, world: self.clone() }
    }

    /// Carries out a call on real stores, which is one event of the simulation: nothing else happens meanwhile.
    pub fn at_once<T>(&self, call: impl Future<Output = T>) -> T {
        let _entered = self.runtime.enter();
        futures::executor::block_on(call)
    }

    /// Notes that the state may have changed.
    pub fn written(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the state may have changed.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Notes what happens.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        let now = self.now.load(Ordering::Relaxed) - 1_800_000_000_000_000;
        let line = format!("{:>9.3} {}", now as f64 / 1e6, what());
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// What has happened.
    pub fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something was seen that must never be.
    pub fn violated(&self, what: String) {
        self.tell(|| format!("VIOLATION {what}"));
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// All that was seen that must never be.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Waits in simulated time.
pub struct Sleep {
    until: i64,
    world: Arc<World>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.now.load(Ordering::Relaxed) >= self.until {
            return Poll::Ready(());
        }
        WAITS_UNTIL.with(|waits| waits.set(waits.get().min(self.until)));
        // Those who wait for several things at once look again at what was woken.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The actors, and who is next.
#[derive(Default)]
pub struct Actors(Vec<Actor>);

impl Actors {
    /// Lets the world go on until `end`, or until nobody is left, or until `enough` says so: it is asked after each step.
    pub fn run(&mut self, world: &Arc<World>, end: Timestamp, mut enough: impl FnMut() -> bool) {
        let end = end.as_microsecond();
        loop {
            self.0.append(&mut world.born.lock().unwrap_or_else(PoisonError::into_inner));
            let dead = std::mem::take(&mut *world.dead.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.retain(|actor| !dead.contains(&actor.process));
            let now = world.now.load(Ordering::Relaxed);
            let ready: Vec<usize> = (0..self.0.len()).filter(|place| self.0[*place].until <= now).collect();
            if ready.is_empty() {
                let Some(next) = self.0.iter().map(|actor| actor.until).min() else { return };
                if next > end {
                    world.now.store(end, Ordering::Relaxed);
                    return;
                }
                world.now.store(next, Ordering::Relaxed);
                continue;
            }
            let place = ready[world.random().usize(0..ready.len())];
            WAITS_UNTIL.with(|waits| waits.set(i64::MAX));
            let entered = world.runtime.enter();
            let polled = self.0[place].future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            drop(entered);
            match polled {
                Poll::Ready(()) => drop(self.0.swap_remove(place)),
                Poll::Pending => {
                    let until = WAITS_UNTIL.with(Cell::get);
                    self.0[place].until = if until == i64::MAX { now + LOOK_AGAIN } else { until };
                }
            }
            if enough() {
                return;
            }
        }
    }

    /// Whether a process has an actor.
    pub fn lives(&self, process: Process) -> bool {
        self.0.iter().any(|actor| actor.process == process)
    }
}
