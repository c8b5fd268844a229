//! The attributes of the SDK, re-exported and explained by the crate `catchment`.
//!
//! Each turns a function `name` into two things of the same name, which Rust keeps apart because one is a type and
//! the other a function:
//!
//! - `name()` answers the definition, to be listed in `definitions.rs`;
//! - `name::call(…)` is the function as it was written, to be called with fakes in a test. An op and a graph have
//!   `name::node(g, …)` besides, which puts them into a graph.
//!
//! What is generated is a chain of builder calls and one closure that takes the arguments out of the context,
//! each through its `FromContext`; all else is plain code in the SDK. [`step`] writes what runs in a run (assets, ops,
//! checks), [`instigate`] what runs around one (sensors, schedules, hooks, resources), [`wiring`] graphs and jobs.
//!
//! Not here: anything that happens at run time.

mod arguments;
mod function;
mod instigate;
mod returns;
mod step;
mod wiring;

use proc_macro::TokenStream;
use syn::parse_macro_input;

macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident: $on:ty => $expand:path) => {
        $(#[$doc])*
        #[proc_macro_attribute]
        pub fn $name(arguments: TokenStream, item: TokenStream) -> TokenStream {
            let arguments = parse_macro_input!(arguments as arguments::Arguments);
            let function = parse_macro_input!(item as $on);
            $expand(arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
        }
    };
}

attribute! {
    /// Makes an asset of an `async fn` that returns `Result<T, E>` with `E: Into<Problem>`; `T` is its value, `Staged`,
    /// `Materialization` or `(T, Materialization)`.
    ///
    /// Arguments: `key = "a"` (default: the function's name), `group = "g"`, `kinds = ["k"]`, `deps = ["a"]` (edges
    /// without a value), `partitions = path::of::function`, `mappings = [("a", PartitionMapping::Last)]`,
    /// `code_version = "1"`, `owners = ["team:x"]`, `tags = [("k", "v")]`, `metadata = [("k", 1)]`, `io_manager = "m"`,
    /// `pool = "p"`, `retry = 3` or a `RetryPolicy`, `automation = AutomationCondition::eager()`,
    /// `freshness = FreshnessPolicy::…`, `backfill_policy = BackfillPolicy::SingleRun`, `checks = ["c"]` (checks that it
    /// reports itself), `blocking_checks = ["c"]` (the same, whose failure keeps it from being committed), `hooks = [path::of::function]`. The doc comment is the description.
    asset: function::Function => step::asset
}

attribute! {
    /// Makes several assets of an `async fn` that returns `Result<(A, B), E>`.
    ///
    /// Arguments: `assets = ["a", "b"]`, the keys in the order of the tuple; `name = "n"` (the step's key, default: the
    /// function's name); `can_subset` where a run may make some without the others (their types are `Optional<T>`
    /// then, where `T` may be all that an asset returns: a value, `Staged`, `(T, Materialization)`…); and those of
    /// `#[asset]`, for all of them.
    multi_asset: function::Function => step::multi_asset
}

attribute! {
    /// Makes of an `async fn` that returns `Result<Observation, E>` what looks at an asset that is made elsewhere.
    ///
    /// Arguments: those of `#[asset]`.
    observable_source_asset: function::Function => step::observable_source_asset
}

attribute! {
    /// Makes an op of an `async fn` that returns `Result<T, E>`; `T` is its value, `Vec<DynamicOutput<T>>` where it fans
    /// out, or a tuple where it has several outputs.
    ///
    /// Arguments: `name = "o"` (default: the function's name), `outputs = ["a", "b"]` (names of several outputs, in the
    /// order of the tuple), `kinds`, `tags`, `retry`, `pool`, `code_version`, `hooks` and `io_manager` as of `#[asset]`.
    /// `name::node(g, …)` puts it into a graph.
    op: function::Function => step::op
}

attribute! {
    /// Makes a check of an asset of an `async fn` that returns `Result<CheckResult, E>`.
    ///
    /// Arguments: `asset = "a"`, `name = "c"` (default: the function's name), `blocking` (its failure stops what is
    /// downstream of the asset), `deps = ["b"]`, `automation`, `kinds`, `tags`, `retry`, `pool`, `code_version`, `hooks`.
    asset_check: function::Function => step::asset_check
}

attribute! {
    /// Makes a graph of a function that wires ops: `fn name(g: &mut Graph, a: Wire<A>) -> Wire<B>`.
    ///
    /// Arguments: `name = "g"`. `name::node(g, …)` puts it into another graph, `name().to_job("j")` makes a job of it.
    graph: wiring::Wiring => wiring::graph
}

attribute! {
    /// Makes a job of a function that wires ops: `fn name(g: &mut Graph)`. What it takes as `Wire<A>` comes from run
    /// config.
    ///
    /// Arguments: `name = "j"`, `tags = [("k", "v")]`, `partitions = path::of::function`, `concurrency = 4`,
    /// `config = json!({…})`, `hooks = [path::of::function]`.
    job: wiring::Wiring => wiring::job
}

attribute! {
    /// Makes a sensor of an `async fn` that returns `Result<T, E>`; `T` is a `SensorResult`, one `RunRequest` or a list
    /// or `Option` of them, a `SkipReason`, or nothing.
    ///
    /// Arguments: `name = "s"` (default: the function's name), `jobs = ["j"]`, `assets = ["a"]` (what it may ask for),
    /// `minimum_interval_s = 30` (never sooner than that after the last time; default: as soon as something wakes it, and
    /// else every 30 s), `watch = "inbox"` (the resource, a `PathBuf`, that says in which folder a change wakes it at
    /// once), `default = running` or `stopped`. The doc comment is the description.
    sensor: function::Function => instigate::sensor
}

attribute! {
    /// Makes a sensor of an `async fn` that is called for each run that reaches one of some statuses: it takes the
    /// `Run`, and returns as one of `#[sensor]`.
    ///
    /// Arguments: `statuses = [Failure]` (of `RunStatus`), `monitored_jobs = ["j"]` (default: all of the location),
    /// `monitor_all_locations`, and those of `#[sensor]`.
    run_status_sensor: function::Function => instigate::run_status_sensor
}

attribute! {
    /// Makes a sensor of an `async fn` that is called when one of some assets was materialised: it takes the newest
    /// `Event`, and finds all of them in its context.
    ///
    /// Arguments: `asset = "a"` or `assets = ["a", "b"]`, `jobs`, `name`, `minimum_interval_s`, `default` as of `#[sensor]`.
    asset_sensor: function::Function => instigate::asset_sensor
}

attribute! {
    /// Makes a schedule of an `async fn` that says what to run at a time; it returns as one of `#[sensor]`.
    ///
    /// Arguments: `cron = "0 3 * * *"` or a list, `timezone = "Europe/Zurich"` (default: UTC), `job = "j"`,
    /// `name = "s"`, `tags = [("k", "v")]`, `default = running` or `stopped`.
    schedule: function::Function => instigate::schedule
}

attribute! {
    /// Makes a resource of an `async fn` that returns `Result<T, E>`, or `Result<Arc<dyn Trait>, E>`. It may take
    /// `Config<C>`, other resources and a `ResourceContext`.
    ///
    /// Arguments: `name = "r"` (default: the function's name).
    resource: function::Function => instigate::resource
}

attribute! {
    /// Makes of an `async fn` that returns `Result<(), E>` what is called when a step has ended well. It takes a
    /// `HookContext` and resources.
    success_hook: function::Function => instigate::success_hook
}

attribute! {
    /// Makes of an `async fn` that returns `Result<(), E>` what is called when a step has failed for good. It takes a
    /// `HookContext` and resources.
    failure_hook: function::Function => instigate::failure_hook
}

attribute! {
    /// Makes of an `async fn` that returns `Result<(), E>` what finishes a sensor's claims. It is called at least
    /// once for each claim, so it must be idempotent.
    claim_handler: function::Function => instigate::claim_handler
}
