//! Where a process of Catchment finds its surroundings.
//!
//! Here: the environment variables of the contract ([`env`], [`postgres`]), the home folder and the names in it ([`home`]), the
//! files that an operator writes ([`config`]),
//! the one clock ([`clock`]) and the one way to start a task ([`task`]), advisory locks that say who holds
//! them ([`lock`]), wake-up hints between processes ([`wake`]), durable small files ([`durable`]), secrets
//! that cannot be printed ([`secret`]), the embedded S3 server's admin key ([`credentials`]), fail points for tests of survival ([`failpoint`]) and the set-up of
//! logging ([`logging`]).
//!
//! Not here: anything that knows what a run, a manifest or a dataset is.

pub mod clock;
pub mod config;
pub mod credentials;
pub mod durable;
pub mod env;
pub mod failpoint;
pub mod home;
pub mod lock;
pub mod logging;
pub mod postgres;
pub mod secret;
pub mod task;
pub mod wake;

pub use credentials::S3Credentials;
pub use env::Environment;
pub use home::Home;
pub use postgres::PostgresSettings;
pub use secret::Secret;
