//! The process of a run: this test program again, told by its environment what to do.

use std::time::Duration;

use catchment_core::RunId;
use catchment_core::state::Command;
use catchment_instance::{Lease, SharedInstance};
use catchment_ledger::{SharedLedger, SqliteLedger, new_id};
use catchment_model::{Asset, DatasetId, RunDoc};
use catchment_proto::v1::RunCommandResponse;
use catchment_settings::config::Pools;
use catchment_settings::{Home, clock, wake};
use jiff::SignedDuration;

/// The name of the entry in the test program, and of the variable that says what to do.
const ENTRY: &str = "entry_of_other_processes";
const BEHAVIOUR: &str = "CATCHMENT_TEST_BEHAVIOUR";
const HOME: &str = "CATCHMENT_TEST_HOME";
const LOCATION: &str = "CATCHMENT_TEST_LOCATION";

/// How this program is started as a run's process.
pub(crate) fn command(home: &Home, behaviour: &str) -> RunCommandResponse {
    RunCommandResponse {
        program: std::env::current_exe().unwrap().display().to_string(),
        arguments: ["--exact", ENTRY, "--nocapture"].map(str::to_owned).to_vec(),
        environment: [(BEHAVIOUR, behaviour.to_owned()), (HOME, home.root().display().to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    }
}

/// How this program is started as a daemon, with fail points.
pub(crate) fn daemon(home: &Home, location: &str, fail_points: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", ENTRY, "--nocapture"]);
    command.env(BEHAVIOUR, "daemon").env(HOME, home.root()).env(LOCATION, location);
    command.env("CATCHMENT_FAILPOINTS", fail_points);
    command
}

/// Does what the environment says; nothing where it says nothing.
pub(crate) async fn play() {
    let Ok(behaviour) = std::env::var(BEHAVIOUR) else { return };
    let home = Home::at(std::env::var(HOME).unwrap()).unwrap();
    let instance = catchment_instance::open(&home).await.unwrap();
    let ledger: SharedLedger = std::sync::Arc::new(SqliteLedger::open(home.ledger_db()).await.unwrap());
    if behaviour == "daemon" {
        return be_daemon(home, instance, ledger).await;
    }
    let pools = Pools::from_lookup(|name| std::env::var(name).ok()).unwrap();
    assert_eq!(pools, Some(Pools::default()), "every run is told the settings of pools");
    let run_id: RunId = std::env::var("CATCHMENT_RUN_ID").unwrap().parse().unwrap();
    let epoch = std::env::var("CATCHMENT_LEASE_EPOCH").unwrap().parse().unwrap();
    Process { home, instance, ledger, lease: Lease { run_id, epoch } }.play(&behaviour).await;
}

async fn be_daemon(home: Home, instance: SharedInstance, ledger: SharedLedger) {
    let location = std::env::var(LOCATION).unwrap();
    let config = super::daemon_config(&home, instance, ledger, &location, super::World::settings());
    catchment_daemon::run(config, std::future::pending()).await.unwrap();
}

struct Process {
    home: Home,
    instance: SharedInstance,
    ledger: SharedLedger,
    lease: Lease,
}

impl Process {
    async fn play(&self, behaviour: &str) {
        std::fs::create_dir_all(self.home.scratch_dir(&self.lease.run_id.to_string())).unwrap();
        self.start().await;
        match behaviour {
            "succeed" => self.end().await,
            "crash" => std::process::abort(),
            "hang" => self.hang().await,
            "hang_deaf" => {
                // SAFETY: ignoring a signal touches no memory.
                unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                self.hang().await;
            }
            "commit_and_crash" => {
                self.commit().await;
                std::process::abort();
            }
            "suspend" => {
                // SAFETY: stopping the own process touches no memory.
                unsafe { libc::raise(libc::SIGSTOP) };
                self.commit().await;
            }
            other => panic!("no behaviour {other}"),
        }
    }

    async fn start(&self) {
        let now = clock::now();
        let until = now + SignedDuration::from_millis(1500);
        self.instance.command(self.lease.run_id, Command::Start, Some(self.lease), Some(until), now).await.unwrap();
        wake::wake(&self.home.daemon_socket());
        let id = self.lease.run_id.to_string();
        let mut doc = RunDoc::starting(new_id(now), id, "spatial_asset_job".into(), self.lease.epoch);
        doc.expected_outputs = vec!["raw_spatial_asset".into()];
        self.ledger.open_run(doc).await.unwrap();
        self.instance.renew(self.lease, until).await.unwrap();
    }

    async fn end(&self) {
        self.instance.command(self.lease.run_id, Command::Succeed, Some(self.lease), None, clock::now()).await.unwrap();
        wake::wake(&self.home.daemon_socket());
    }

    /// Has a child, says its pid, and renews its lease until it is ended.
    async fn hang(&self) {
        let child = tokio::process::Command::new("sleep").arg("600").spawn().unwrap();
        println!("\nsaid: {}", child.id().unwrap());
        loop {
            let until = clock::now() + SignedDuration::from_millis(1500);
            self.instance.renew(self.lease, until).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn commit(&self) {
        let dataset = DatasetId::new("parcels").unwrap();
        let reserved = self.ledger.reserve_version(&dataset, clock::now()).await.unwrap();
        let run = self.ledger.run_doc(&self.lease.run_id.to_string()).await.unwrap().unwrap();
        let asset: Asset = serde_json::from_value(serde_json::json!({
            "_id": reserved.asset_id,
            "s3_key": format!("parcels/v{}/data.parquet", reserved.version),
            "dataset_id": "parcels",
            "version": reserved.version,
            "content_hash": format!("sha256:{}", "0".repeat(64)),
            "bytes": 1,
            "run_id": run.id,
            "dagster_run_id": run.dagster_run_id,
            "output": "raw_spatial_asset",
            "lease_epoch": self.lease.epoch,
            "kind": "spatial",
            "format": "geoparquet",
            "crs": "EPSG:4326",
            "bounds": null,
            "metadata": {},
            "provenance": {"batch_id": null, "sources": [], "recipe": null, "engine": null, "crs_operation": null},
            "created_at": clock::now(),
            "updated_at": clock::now(),
            "deleted_at": null,
        }))
        .unwrap();
        self.ledger.commit_asset(asset).await.unwrap();
    }
}
