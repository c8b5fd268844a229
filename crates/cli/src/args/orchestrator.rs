//! Commands about code locations and what they define.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which code location is meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InLocation {
    /// The code location, where several define it
    #[arg(long, value_name = "NAME")]
    pub(crate) location: Option<String>,
}

/// What a run is given.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// Run config: a file in JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The partition
    #[arg(long, value_name = "KEY")]
    pub(crate) partition: Option<String>,
    /// A tag of the run; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// Wait until the run has ended; the exit code is 1 where it has failed
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) place: InLocation,
}

/// Commands under `catchment location`.
#[derive(Debug, Subcommand)]
pub(crate) enum LocationCommand {
    /// List the code locations, with what is wrong with them
    List,
    /// Load a code location anew and wait until that is done
    Reload {
        /// Which one
        name: String,
    },
}

/// Commands under `catchment asset`.
#[derive(Debug, Subcommand)]
pub(crate) enum AssetCommand {
    /// List assets, with when they were made last
    List {
        /// Only these: a, +a, a+1, group:"g" and not b, …
        selection: Option<String>,
        #[command(flatten)]
        place: InLocation,
    },
    /// Show one asset: what it needs, its checks, its partitions
    Show {
        /// Its key
        key: String,
        #[command(flatten)]
        place: InLocation,
    },
    /// List the evaluations of an asset's automation condition, newest first
    Evaluations {
        /// Its key, or asset:check
        key: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Forget that an asset was made; what is in the lake stays
    Wipe {
        /// Its key
        key: String,
        /// Only this partition; may be given several times
        #[arg(long = "partition", value_name = "KEY")]
        partitions: Vec<String>,
    },
    /// Make assets: a, +a, a+1, group:"g" and not b, *
    Materialize {
        /// Which ones
        selection: String,
        #[command(flatten)]
        run: RunArgs,
    },
}

/// Commands under `catchment job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs
    List {
        #[command(flatten)]
        place: InLocation,
    },
    /// Put a run of a job into the queue
    Launch {
        /// The job
        name: String,
        /// Only these steps, separated by commas
        #[arg(long, value_name = "STEPS", value_delimiter = ',')]
        steps: Vec<String>,
        #[command(flatten)]
        run: RunArgs,
    },
}

/// Commands under `catchment sensor` and `catchment schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum InstigatorCommand {
    /// List them: whether they run, and how they last went
    List {
        #[command(flatten)]
        place: InLocation,
    },
    /// Let one run
    Start {
        /// Its name
        name: String,
        #[command(flatten)]
        place: InLocation,
    },
    /// Let one rest
    Stop {
        /// Its name
        name: String,
        #[command(flatten)]
        place: InLocation,
    },
    /// Leave it to the code again whether one runs
    Reset {
        /// Its name
        name: String,
        #[command(flatten)]
        place: InLocation,
    },
    /// List the evaluations of one, newest first
    Ticks {
        /// Its name
        name: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        #[command(flatten)]
        place: InLocation,
    },
    /// Evaluate one now
    Tick {
        /// Its name
        name: String,
        /// Keep nothing of it: only say what it would ask for
        #[arg(long)]
        dry_run: bool,
        /// The cursor of a dry run, in the place of its own
        #[arg(long, value_name = "TEXT", requires = "dry_run")]
        cursor: Option<String>,
        #[command(flatten)]
        place: InLocation,
    },
    /// Set where a sensor stands
    #[command(subcommand)]
    Cursor(CursorCommand),
}

/// Commands under `catchment sensor cursor`.
#[derive(Debug, Subcommand)]
pub(crate) enum CursorCommand {
    /// Set it; without a text, forget it
    Set {
        /// The sensor
        name: String,
        /// The cursor
        cursor: Option<String>,
        #[command(flatten)]
        place: InLocation,
    },
}

/// Commands under `catchment backfill`.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// List backfills, newest first
    List {
        /// Only in these statuses, separated by commas
        #[arg(long)]
        status: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
    /// Show one backfill
    Show {
        /// Its id
        id: String,
    },
    /// Run many partitions of a job or of assets
    Create(Box<BackfillArgs>),
    /// Ask for no further run until it is resumed
    Pause {
        /// Its id
        id: String,
    },
    /// Go on after a pause
    Resume {
        /// Its id
        id: String,
    },
    /// End it, and cancel its runs
    Cancel {
        /// Its id
        id: String,
    },
}

/// Arguments of `catchment backfill create`.
#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    /// The assets: a, +a, group:"g", …
    #[arg(required_unless_present = "job", conflicts_with = "job")]
    pub(crate) selection: Option<String>,
    /// A job, in the place of assets
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,
    /// These partitions, separated by commas (default: all)
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub(crate) partitions: Vec<String>,
    /// The first partition of a range
    #[arg(long, value_name = "KEY", conflicts_with = "partitions")]
    pub(crate) from: Option<String>,
    /// The last partition of a range
    #[arg(long, value_name = "KEY", conflicts_with = "partitions")]
    pub(crate) to: Option<String>,
    /// Only partitions that are `missing` or `failed`
    #[arg(long, value_name = "STATUS", value_parser = ["missing", "failed"])]
    pub(crate) only: Option<String>,
    /// So many partitions to a run; 0 puts all into one run
    #[arg(long, value_name = "N")]
    pub(crate) partitions_per_run: Option<u32>,
    /// Run config of every run: a file in JSON; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A tag of every run; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) place: InLocation,
}

/// Commands under `catchment partition`.
#[derive(Debug, Subcommand)]
pub(crate) enum PartitionCommand {
    /// List partitions definitions, or the keys of one
    List {
        /// The definition
        name: Option<String>,
        /// Say of each key how it stands for this asset
        #[arg(long, value_name = "KEY", requires = "name")]
        asset: Option<String>,
        #[command(flatten)]
        place: InLocation,
    },
    /// Add keys to dynamic partitions
    Add {
        /// The definition
        name: String,
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        place: InLocation,
    },
    /// Take keys out of dynamic partitions
    Delete {
        /// The definition
        name: String,
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        place: InLocation,
    },
}

/// Commands under `catchment check`.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckCommand {
    /// List the checks of assets, with their newest results
    List {
        #[command(flatten)]
        place: InLocation,
    },
    /// Evaluate one check of an asset, without making the asset
    Run {
        /// The asset
        asset: String,
        /// The check
        check: String,
        #[command(flatten)]
        run: RunArgs,
    },
    /// List the evaluations of a check, newest first
    Executions {
        /// The asset
        asset: String,
        /// The check
        check: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
}

/// Commands under `catchment pool`.
#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// List concurrency pools: limits, holders, waiters
    List,
    /// Set the limit of a pool; without a number, take it away
    Set {
        /// The pool
        name: String,
        /// How many steps may hold a slot, 0 to 1000
        limit: Option<u32>,
    },
}

/// Commands under `catchment alert`.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// List alerts, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
    },
}

/// Commands under `catchment instance`.
#[derive(Debug, Subcommand)]
pub(crate) enum InstanceCommand {
    /// Say what this installation is, which daemon leads, and how its concerns are
    Info,
}
