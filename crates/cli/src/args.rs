//! The command line as clap reads it. The help texts are fixed by snapshots.

mod orchestrator;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use orchestrator::*;

use crate::dev::DevArgs;

/// Catchment leads spatial files from a landing zone into a versioned data lake.
///
/// Exit codes: 0 done, 1 the work failed, 2 wrong usage or bad input, 3 a service is out of reach.
#[derive(Debug, Parser)]
#[command(name = "catchment", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading of the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Answer in JSON, for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// The home folder (default: CATCHMENT_HOME, else ./.catchment)
    #[arg(long, global = true, value_name = "PATH", help_heading = EVERYWHERE)]
    pub(crate) home: Option<PathBuf>,
    /// The web server (default: CATCHMENT_URL, else the one of the home)
    #[arg(long, global = true, value_name = "URL", help_heading = EVERYWHERE)]
    pub(crate) url: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on embedded defaults, in one folder
    Dev(DevArgs),
    /// Start the web server and API
    Webserver(WebserverArgs),
    /// Start the daemon: sensors, run queue, run monitoring
    Daemon(DaemonArgs),
    /// Start the embedded S3 server, or care for its keys
    S3(S3Args),
    /// Bring files into the lake: upload, announce, wait
    Ingest(IngestArgs),
    /// Check and submit manifests
    #[command(subcommand)]
    Manifest(ManifestCommand),
    /// See, cancel and re-execute runs
    #[command(subcommand)]
    Run(RunCommand),
    /// See and make assets
    #[command(subcommand, alias = "assets")]
    Asset(AssetCommand),
    /// See the checks of assets
    #[command(subcommand, alias = "checks")]
    Check(CheckCommand),
    /// See and launch jobs
    #[command(subcommand, alias = "jobs")]
    Job(JobCommand),
    /// See, start, stop and try sensors
    #[command(subcommand, alias = "sensors")]
    Sensor(InstigatorCommand),
    /// See, start, stop and try schedules
    #[command(subcommand, alias = "schedules")]
    Schedule(InstigatorCommand),
    /// Fill many partitions
    #[command(subcommand, alias = "backfills")]
    Backfill(BackfillCommand),
    /// See and change partitions
    #[command(subcommand, alias = "partitions")]
    Partition(PartitionCommand),
    /// See and reload code locations
    #[command(subcommand, alias = "locations")]
    Location(LocationCommand),
    /// See and set the limits of concurrency pools
    #[command(subcommand, alias = "pools")]
    Pool(PoolCommand),
    /// See what was told to whom
    #[command(subcommand, alias = "alerts")]
    Alert(AlertCommand),
    /// See how the installation is
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// See and download datasets
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Prove and clean the lake
    #[command(subcommand)]
    Lake(LakeCommand),
    /// Say how this machine and this installation are
    Doctor,
}

/// Which code locations there are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WorkspaceArgs {
    /// The file that lists the code locations (default: workspace.yaml of the home; without it, the platform's own)
    #[arg(long, short, value_name = "FILE", env = "CATCHMENT_WORKSPACE", hide_env = true)]
    pub(crate) workspace: Option<PathBuf>,
    /// The binary of the only code location, in the place of a workspace
    #[arg(long, value_name = "PATH")]
    pub(crate) location: Option<PathBuf>,
}

/// Arguments of `catchment webserver`; port 0 takes a free one and prints it.
#[derive(Debug, Clone, Args)]
pub(crate) struct WebserverArgs {
    #[command(flatten)]
    pub(crate) workspace: WorkspaceArgs,
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
}

/// Arguments of `catchment daemon`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    pub(crate) workspace: WorkspaceArgs,
}

/// Arguments of `catchment s3`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct S3Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    #[command(subcommand)]
    pub(crate) command: Option<S3Command>,
}

/// Commands under `catchment s3`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum S3Command {
    /// Keys for people and programs
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Commands under `catchment s3 key`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; its secret is shown this once
    Add {
        /// Whose it is
        name: String,
        /// What it may do: an uploader writes the landing zone and reads the lake, a reader reads the lake
        #[arg(long, value_enum)]
        role: KeyRole,
    },
    /// List the keys
    List,
    /// Take a key back: it opens nothing any more
    Revoke {
        /// Whose it is
        name: String,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyRole {
    /// Reads and writes the landing zone, reads the lake
    Uploader,
    /// Reads the lake
    Reader,
}

impl KeyRole {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Uploader => "uploader",
            Self::Reader => "reader",
        }
    }
}

/// Arguments of `catchment ingest`.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngestArgs {
    /// The files; each becomes a batch of its own. A Shapefile is taken with the files beside it
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The dataset that it is a new version of (default: from the file's name)
    #[arg(long, value_name = "ID")]
    pub(crate) dataset: Option<String>,
    /// What is to be done with it: the name of a recipe (default: the usual one of its kind)
    #[arg(long, value_name = "INTENT")]
    pub(crate) intent: Option<String>,
    /// The CRS, where the file states none: EPSG:n, WKT or a PROJ string
    #[arg(long, value_name = "CRS")]
    pub(crate) crs: Option<String>,
    /// Its name for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// The layer, where the file has several
    #[arg(long, value_name = "NAME")]
    pub(crate) layer: Option<String>,
    /// What the batch is called: once and for ever (default: name, time and a random part)
    #[arg(long, value_name = "ID")]
    pub(crate) batch_id: Option<String>,
    /// GDAL's short name of the format (default: from the extension)
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
    /// A further fact for the recipe or for readers; may be given several times
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    pub(crate) tags: Vec<String>,
    /// Return as soon as it is announced
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Commands under `catchment manifest`.
#[derive(Debug, Subcommand)]
pub(crate) enum ManifestCommand {
    /// Check a manifest and list every fault
    Validate {
        /// The manifest; `-` reads standard input
        file: PathBuf,
    },
    /// Put a manifest into the landing zone and wait for its run
    Submit {
        /// The manifest; `-` reads standard input
        file: PathBuf,
        /// Return as soon as it is announced
        #[arg(long)]
        no_wait: bool,
    },
    /// Print the JSON Schema of manifests
    Schema,
}

/// Commands under `catchment run`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first
    List {
        /// Only in these statuses, separated by commas: QUEUED, STARTED, SUCCESS, FAILURE, …
        #[arg(long)]
        status: Option<String>,
        /// Only of this job
        #[arg(long)]
        job: Option<String>,
        /// Only of this dataset
        #[arg(long)]
        dataset: Option<String>,
        /// Only of this batch
        #[arg(long)]
        batch_id: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// The last run of the page before
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
    /// Show one run: its steps, what it made, why it failed
    Show {
        /// The run's id, or its beginning
        id: String,
    },
    /// Print what a run has to say
    Logs {
        /// The run's id, or its beginning
        id: String,
        /// Go on until the run has ended
        #[arg(long, short)]
        follow: bool,
        /// The raw output of the run's process instead of its events
        #[arg(long, value_enum, value_name = "STREAM")]
        raw: Option<RawStream>,
    },
    /// End a run early
    Cancel {
        /// The run's id, or its beginning
        id: String,
        /// At once, whatever its process does
        #[arg(long)]
        force: bool,
    },
    /// Run a run again (default: all of its steps)
    Reexecute {
        /// The run's id, or its beginning
        id: String,
        /// Only what failed or did not come to run, with the values of the other steps taken over
        #[arg(long)]
        from_failure: bool,
        /// Only the assets and checks that were not made
        #[arg(long, conflicts_with = "from_failure")]
        from_asset_failure: bool,
        /// Only these steps, separated by commas
        #[arg(long, value_name = "STEPS", value_delimiter = ',', conflicts_with_all = ["from_failure", "from_asset_failure"])]
        steps: Vec<String>,
        /// Wait until the new run has ended; the exit code is 1 where it has failed
        #[arg(long)]
        wait: bool,
    },
    /// Remove a run that has ended from the records; what it made stays
    Delete {
        /// The run's id, or its beginning
        id: String,
    },
}

/// Outputs of a process.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RawStream {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
}

/// Commands under `catchment dataset`.
#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// List datasets with their newest versions
    List,
    /// Show one dataset: extent, columns, checks, where it came from
    Show {
        /// The dataset
        id: String,
    },
    /// List the versions of a dataset
    Versions {
        /// The dataset
        id: String,
    },
    /// Download a version and verify it
    Download {
        /// The dataset
        id: String,
        /// Which version (default: the newest)
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// Where to (default: a name made from dataset and version; a folder is taken as that)
        #[arg(long, short, value_name = "PATH")]
        output: Option<PathBuf>,
        /// Replace a file that is there
        #[arg(long)]
        force: bool,
    },
}

/// Commands under `catchment lake`.
#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Prove that ledger and lake agree, both ways
    Verify {
        /// Mend what can be mended without loss
        #[arg(long)]
        repair: bool,
        /// Do not read the bytes: compare sizes, links and recorded hashes
        #[arg(long)]
        quick: bool,
    },
    /// Remove what no ledger record names
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// How old it must be, such as 0s, 30m, 12h, 7d (default: 24h)
        #[arg(long, value_name = "TIME")]
        grace: Option<String>,
    },
}
