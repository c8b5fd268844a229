//! Where a PostgreSQL server is, as the environment says.

use std::fmt;

use catchment_model::problem::{Code, Problem};

use crate::Secret;

/// How to reach a database of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The server: a name, an address, or the folder of its socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// The role's password, where it needs one.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// PostgreSQL's `sslmode`: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub ssl_mode: String,
}

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl PostgresSettings {
    /// Where the orchestrator's state is: `DAGSTER_POSTGRES_HOST`, `_PORT` (5432), `_USER` (`dagster`), `_PASSWORD`,
    /// `_DB` (`dagster`) and `_SSLMODE` (`prefer`). `None` where no host is set: the state is a file.
    ///
    /// # Errors
    /// Where a value is not what its variable takes.
    pub fn from_environment() -> Result<Option<Self>, Problem> {
        Self::from_lookup(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    /// The same from any source of variables.
    ///
    /// # Errors
    /// As [`PostgresSettings::from_environment`].
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Problem> {
        let Some(host) = get("DAGSTER_POSTGRES_HOST") else { return Ok(None) };
        let port = match get("DAGSTER_POSTGRES_PORT") {
            None => 5432,
            Some(text) => text.parse().map_err(|_| {
                Problem::new(Code::InvalidConfig, format!("`{text}` is no port"))
                    .place("DAGSTER_POSTGRES_PORT")
                    .remedy("give a number from 1 to 65535, or unset it for 5432")
            })?,
        };
        let ssl_mode = get("DAGSTER_POSTGRES_SSLMODE").unwrap_or_else(|| "prefer".into());
        if !SSL_MODES.contains(&ssl_mode.as_str()) {
            return Err(Problem::new(Code::InvalidConfig, format!("`{ssl_mode}` is no sslmode"))
                .place("DAGSTER_POSTGRES_SSLMODE")
                .remedy(format!("give one of {}", SSL_MODES.join(", "))));
        }
        Ok(Some(Self {
            host,
            port,
            user: get("DAGSTER_POSTGRES_USER").unwrap_or_else(|| "dagster".into()),
            password: get("DAGSTER_POSTGRES_PASSWORD").map(Secret::new),
            database: get("DAGSTER_POSTGRES_DB").unwrap_or_else(|| "dagster".into()),
            ssl_mode,
        }))
    }
}

/// For people, without the password.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL at {}:{}, database {} as {}", self.host, self.port, self.database, self.user)
    }
}

#[cfg(test)]
mod tests {
    use super::PostgresSettings;

    fn with(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    #[test]
    fn without_a_host_the_state_is_a_file() {
        assert_eq!(PostgresSettings::from_lookup(with(&[("DAGSTER_POSTGRES_DB", "x")])).unwrap(), None);
    }

    #[test]
    fn a_host_alone_takes_the_usual_port_and_names_and_the_password_is_never_shown() {
        let set = &[("DAGSTER_POSTGRES_HOST", "db"), ("DAGSTER_POSTGRES_PASSWORD", "hush")];
        let settings = PostgresSettings::from_lookup(with(set)).unwrap().unwrap();
        assert_eq!(settings.to_string(), "PostgreSQL at db:5432, database dagster as dagster");
        assert!(!format!("{settings:?}").contains("hush"));
    }

    #[test]
    fn a_value_that_its_variable_does_not_take_is_refused_by_name() {
        for (name, value) in [("DAGSTER_POSTGRES_PORT", "many"), ("DAGSTER_POSTGRES_SSLMODE", "maybe")] {
            let get = |n: &str| match n {
                "DAGSTER_POSTGRES_HOST" => Some("db".to_owned()),
                n if n == name => Some(value.to_owned()),
                _ => None,
            };
            assert_eq!(PostgresSettings::from_lookup(get).unwrap_err().place.as_deref(), Some(name));
        }
    }
}
