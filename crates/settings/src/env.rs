//! The environment variables that CONTRACTS.md fixes, read once at the start of a process.

use std::path::PathBuf;

use catchment_model::problem::{Code, Problem};

use crate::config::Pools;
use crate::{Home, Secret};

/// What the environment (and `.env`) says. Variables of services that are not set mean the embedded default.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `CATCHMENT_HOME`, else `DAGSTER_HOME`, else `./.catchment`.
    pub home: PathBuf,
    /// `MINIO_ROOT_USER` and `MINIO_ROOT_PASSWORD`, where both are set.
    pub s3_root: Option<(String, Secret)>,
    /// `MINIO_LANDING_BUCKET`.
    pub landing_bucket: String,
    /// `MINIO_LAKE_BUCKET`.
    pub lake_bucket: String,
    /// `CATCHMENT_POOL_GRANULARITY` and `CATCHMENT_POOL_DEFAULT_LIMIT`: what the daemon tells the process of a run of
    /// its settings.
    pub pools: Option<Pools>,
}

impl Environment {
    /// Reads `.env` of the working folder (which never overrides what is set), then the environment.
    ///
    /// # Errors
    /// Where `.env` is malformed, a value is not what its variable takes, or a variable asks for a backend
    /// that this version does not have.
    pub fn load() -> Result<Self, Problem> {
        match dotenvy::dotenv() {
            Err(error) if !error.not_found() => {
                return Err(Problem::new(Code::InvalidConfig, "the file .env cannot be read")
                    .cause(error.to_string())
                    .remedy("write one NAME=value a line"));
            }
            _ => {}
        }
        Self::from_lookup(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    /// The same from any source of variables.
    ///
    /// # Errors
    /// As [`Environment::load`].
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        for (name, what) in [
            ("MINIO_ENDPOINT", "a foreign S3 server"),
            ("MONGO_CONNECTION_STRING", "a MongoDB ledger"),
            ("MONGO_HOST", "a MongoDB ledger"),
            ("POSTGRES_HOST", "PostGIS as compute"),
        ] {
            if get(name).is_some() {
                return Err(Problem::new(Code::InvalidConfig, format!("{what} is not available in this version"))
                    .place(name)
                    .remedy(format!("unset {name}: the embedded default is then used")));
            }
        }
        match get("MINIO_USE_SSL").as_deref() {
            None | Some("false" | "0" | "no") => {}
            Some(_) => {
                return Err(Problem::new(Code::InvalidConfig, "the embedded S3 server does not speak TLS")
                    .place("MINIO_USE_SSL")
                    .remedy("unset it, or set it to false"));
            }
        }
        crate::PostgresSettings::from_lookup(&get)?;
        Ok(Self {
            home: get("CATCHMENT_HOME").or_else(|| get("DAGSTER_HOME")).unwrap_or_else(|| ".catchment".into()).into(),
            s3_root: get("MINIO_ROOT_USER").zip(get("MINIO_ROOT_PASSWORD").map(Secret::new)),
            landing_bucket: get("MINIO_LANDING_BUCKET").unwrap_or_else(|| "landing-zone".into()),
            lake_bucket: get("MINIO_LAKE_BUCKET").unwrap_or_else(|| "data-lake".into()),
            pools: Pools::from_lookup(&get)?,
        })
    }

    /// Opens the home folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open_home(&self) -> Result<Home, Problem> {
        Home::open(&self.home).map_err(|e| {
            Problem::new(Code::Io, "the home folder cannot be used")
                .place(self.home.display().to_string())
                .cause(e.to_string())
                .remedy("set CATCHMENT_HOME to a folder that you may write")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;
    use crate::config::{PoolGranularity, Pools};

    #[test]
    fn nothing_set_means_embedded_defaults() {
        let env = Environment::from_lookup(|_| None).unwrap();
        assert_eq!(env.home.to_str(), Some(".catchment"));
        assert_eq!((env.landing_bucket.as_str(), env.lake_bucket.as_str()), ("landing-zone", "data-lake"));
    }

    #[test]
    fn what_the_daemon_tells_of_pools_arrives() {
        let read = |told: &Pools| {
            let variables = told.variables();
            Environment::from_lookup(move |name| variables.get(name).cloned()).unwrap().pools
        };
        for (default_limit, granularity) in [(None, PoolGranularity::Op), (Some(3), PoolGranularity::Run)] {
            let told = Pools { default_limit, granularity };
            assert_eq!(read(&told), Some(told));
        }
        assert_eq!(Environment::from_lookup(|_| None).unwrap().pools, None, "the file decides");
        let wrong = Environment::from_lookup(|name| (name == Pools::GRANULARITY).then(|| "asset".into()));
        assert_eq!(wrong.unwrap_err().place.as_deref(), Some("CATCHMENT_POOL_GRANULARITY"));
    }

    #[test]
    fn a_backend_that_is_not_there_yet_is_refused_by_name() {
        let error = Environment::from_lookup(|n| (n == "MONGO_HOST").then(|| "db".into())).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("MONGO_HOST"));
    }

    #[test]
    fn tls_that_is_not_there_is_refused_and_not_passed_over() {
        let with =
            |value: &'static str| Environment::from_lookup(move |n| (n == "MINIO_USE_SSL").then(|| value.into()));
        assert!(with("false").is_ok());
        assert_eq!(with("true").unwrap_err().place.as_deref(), Some("MINIO_USE_SSL"));
    }
}
