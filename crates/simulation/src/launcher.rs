//! Starts simulated workers, and ends them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use catchment_core::RunId;
use catchment_instance::{Lease, SharedInstance};
use catchment_launchers::{Exit, LaunchRequest, Launcher, Liveness, RunProcess, Stop};
use catchment_model::{Code, Problem};

use crate::worker::Worker;
use crate::world::{Process, World};

/// The machine that all workers run on: they outlive the daemons that started them.
pub struct Machine {
    world: Arc<World>,
    state: SharedInstance,
    processes: Mutex<BTreeMap<u32, (RunId, i64, Process)>>,
    ended: Mutex<Vec<Exit>>,
}

impl Machine {
    /// A machine without processes.
    pub fn new(world: Arc<World>, state: SharedInstance) -> Arc<Self> {
        Arc::new(Self { world, state, processes: Mutex::default(), ended: Mutex::default() })
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<u32, (RunId, i64, Process)>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a worker as `kill -9` does.
    pub fn kill(&self, pid: u32) {
        if let Some((run_id, epoch, process)) = self.processes().remove(&pid) {
            self.world.kill(process);
            self.world.tell(|| format!("worker {pid} is killed"));
            let exit = Exit { run_id, epoch, process: pid.to_string(), how: "signal: 9 (SIGKILL)".into() };
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(exit);
        }
    }

    /// The workers of a run, of this epoch and older ones.
    fn all_of(&self, run_id: RunId, epoch: i64) -> Vec<u32> {
        let processes = self.processes();
        processes.iter().filter(|(_, of)| of.0 == run_id && of.1 <= epoch).map(|(pid, _)| *pid).collect()
    }

    /// One of the workers that live.
    pub fn any(&self) -> Option<u32> {
        let pids: Vec<u32> = self.processes().keys().copied().collect();
        self.world.random().choice(pids)
    }

    fn begin(self: &Arc<Self>, request: &LaunchRequest) -> u32 {
        let process = self.world.new_process();
        let pid = u32::try_from(process.0).unwrap_or(u32::MAX);
        self.processes().insert(pid, (request.run_id, request.epoch, process));
        let lease = Lease { run_id: request.run_id, epoch: request.epoch };
        let worker = Worker::new(self.world.clone(), self.state.clone(), lease);
        self.world.tell(|| format!("worker {pid} begins with epoch {}", request.epoch));
        let machine = self.clone();
        self.world.spawn(process, worker.clone().keep_lease());
        self.world.spawn(process, async move {
            worker.work().await;
            if let Some((run_id, epoch, process)) = machine.processes().remove(&pid) {
                machine.world.kill(process);
                let exit = Exit { run_id, epoch, process: pid.to_string(), how: "exit status: 0".into() };
                machine.ended.lock().unwrap_or_else(PoisonError::into_inner).push(exit);
            }
        });
        pid
    }
}

/// A daemon's hold on the machine.
pub struct SimLauncher(pub Arc<Machine>);

impl std::fmt::Debug for SimLauncher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimLauncher")
    }
}

#[async_trait]
impl Launcher for SimLauncher {
    async fn launch(&self, request: LaunchRequest) -> Result<String, Problem> {
        let world = &self.0.world;
        let delay = world.random().i64(0..20);
        world.sleep(delay).await;
        if world.happens(10) {
            return Err(Problem::new(Code::Io, "simulated: the process cannot be started"));
        }
        Ok(self.0.begin(&request).to_string())
    }

    async fn find(&self, run_id: RunId, epoch: i64) -> Option<String> {
        self.0.all_of(run_id, epoch).first().map(ToString::to_string)
    }

    async fn stop(&self, process: &RunProcess, how: Stop) -> bool {
        let pids = self.0.all_of(process.run_id, process.epoch);
        if how == Stop::Force {
            pids.iter().for_each(|pid| self.0.kill(*pid));
        }
        !pids.is_empty()
    }

    async fn liveness(&self, process: &RunProcess) -> Liveness {
        let Some(pid) = process.handle.as_ref().and_then(|pid| pid.parse().ok()) else { return Liveness::Unknown };
        if self.0.processes().contains_key(&pid) { Liveness::Alive } else { Liveness::Gone }
    }

    async fn next_exit(&self) -> Exit {
        loop {
            let next = self.0.ended.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(exit) => return exit,
                None => self.0.world.sleep(50).await,
            }
        }
    }
}
