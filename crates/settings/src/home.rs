//! The home folder (`CATCHMENT_HOME`) and the names in it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;

/// The folder that holds all state of an installation on embedded defaults. Every path is absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Where the services of this home can be reached, written by whoever started them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The web server and API, such as `http://127.0.0.1:3000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// The S3 server, such as `http://127.0.0.1:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
}

impl Home {
    /// The home at `root`; creates the folders that every process relies on (mode 0700).
    ///
    /// # Errors
    /// Where a folder cannot be made or `root` cannot be made absolute.
    pub fn open(root: impl AsRef<Path>) -> io::Result<Self> {
        let home = Self::at(root)?;
        for folder in ["state", "scratch", "logs/runs", "run"] {
            durable::create_dir_private(&home.root.join(folder))?;
        }
        Ok(home)
    }

    /// The home at `root` without touching the disk.
    ///
    /// # Errors
    /// Where `root` cannot be made absolute.
    pub fn at(root: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Optional settings of the installation.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("catchment.yaml")
    }

    /// The code locations, where the defaults are not meant.
    pub fn workspace_file(&self) -> PathBuf {
        self.root.join("workspace.yaml")
    }

    /// The admin key of the embedded S3 server.
    pub fn credentials_file(&self) -> PathBuf {
        self.root.join("credentials.json")
    }

    /// Orchestrator state (SQLite).
    pub fn instance_db(&self) -> PathBuf {
        self.root.join("state/instance.db")
    }

    /// The embedded ledger (SQLite documents).
    pub fn ledger_db(&self) -> PathBuf {
        self.root.join("state/ledger.db")
    }

    /// The folder of the embedded S3 server.
    pub fn s3_dir(&self) -> PathBuf {
        self.root.join("s3")
    }

    /// Scratch of one run; removed when the run has ended.
    pub fn scratch_dir(&self, run_id: &str) -> PathBuf {
        self.root.join("scratch").join(run_id)
    }

    /// Scratch of all runs.
    pub fn scratch_root(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Values that ops and assets without another IO manager give; those of ops are in a folder of their run.
    pub fn storage_root(&self) -> PathBuf {
        self.root.join("storage")
    }

    /// Log file of a long-lived process.
    pub fn process_log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    /// The folders with the raw output of the processes of runs, by the run's id.
    pub fn run_log_root(&self) -> PathBuf {
        self.root.join("logs/runs")
    }

    /// The raw output of one run's process: `stdout.log` and `stderr.log` in it.
    pub fn run_log_dir(&self, run_id: &str) -> PathBuf {
        self.run_log_root().join(run_id)
    }

    /// An advisory lock of that name; it holds the pid of its owner.
    pub fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join("run").join(format!("{name}.lock"))
    }

    /// The socket of the code server that the daemon keeps for a location.
    pub fn location_socket(&self, location: &str) -> PathBuf {
        self.root.join("run").join(format!("{location}.sock"))
    }

    /// The datagram socket that wakes the daemon.
    pub fn daemon_socket(&self) -> PathBuf {
        self.root.join("run/daemon.sock")
    }

    /// Where the services of this home were last started.
    ///
    /// # Errors
    /// Where the file is there and cannot be read or is not what [`Home::write_endpoints`] wrote.
    pub fn endpoints(&self) -> io::Result<Endpoints> {
        match std::fs::read(self.root.join("endpoints.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Endpoints::default()),
            Err(e) => Err(e),
        }
    }

    /// Writes the endpoints, whole or not at all.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write_endpoints(&self, endpoints: &Endpoints) -> io::Result<()> {
        durable::write(&self.root.join("endpoints.json"), &serde_json::to_vec_pretty(endpoints)?)
    }
}
