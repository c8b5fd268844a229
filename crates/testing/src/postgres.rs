//! A PostgreSQL server for tests.
//!
//! Started with the first database that is asked for, on a free port of 127.0.0.1, in a temporary folder, and without
//! `fsync`, unless `CATCHMENT_TEST_POSTGRES_URL` (`postgres://user[:password]@host[:port]/database`, a role that may
//! create databases) names another. A shell that waits for the end of the test program, however that comes, stops the
//! server and removes its folder.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use catchment_settings::{PostgresSettings, Secret};

/// The variable that names another server.
pub const URL: &str = "CATCHMENT_TEST_POSTGRES_URL";

/// What the server is asked to do without: tests lose nothing by a power cut.
const FAST: &str = "-c fsync=off -c full_page_writes=off -c synchronous_commit=on -c shared_buffers=64MB \
     -c max_connections=300";

struct Server {
    settings: PostgresSettings,
    /// Holds the shell's standard input open for as long as this program lives.
    _shell: Option<Child>,
}

/// A new, empty database.
///
/// # Panics
/// Where no server can be started and none is named: tests that need one fail, they are not passed over.
pub fn database() -> PostgresSettings {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = &SERVER.get_or_init(Server::start).settings;
    let name = format!("catchment_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let done = psql(server, &format!("CREATE DATABASE {name} TEMPLATE template0")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    PostgresSettings { database: name, ..server.clone() }
}

/// `psql` with one statement, in a database.
pub fn psql(settings: &PostgresSettings, statement: &str) -> Command {
    let mut command = Command::new(binaries().join("psql"));
    command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", &settings.host, "-U", &settings.user]);
    command.args(["-p", &settings.port.to_string(), "-d", &settings.database, "-c", statement]);
    if let Some(password) = &settings.password {
        command.env("PGPASSWORD", password.reveal());
    }
    command
}

/// The variables by which a child process finds a database.
pub fn environment(settings: &PostgresSettings) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("DAGSTER_POSTGRES_HOST", settings.host.clone()),
        ("DAGSTER_POSTGRES_PORT", settings.port.to_string()),
        ("DAGSTER_POSTGRES_USER", settings.user.clone()),
        ("DAGSTER_POSTGRES_DB", settings.database.clone()),
        ("DAGSTER_POSTGRES_SSLMODE", settings.ssl_mode.clone()),
    ];
    variables.extend(settings.password.as_ref().map(|p| ("DAGSTER_POSTGRES_PASSWORD", p.reveal().to_owned())));
    variables
}

impl Server {
    fn start() -> Self {
        match std::env::var(URL) {
            Ok(url) if !url.is_empty() => Self { settings: parse(&url), _shell: None },
            _ => Self::start_own(),
        }
    }

    fn start_own() -> Self {
        let folder = tempfile::Builder::new().prefix("catchment-pg-").tempdir().unwrap().keep();
        let mut shell = Command::new("sh");
        // PostgreSQL does not run as root: then its own user starts it.
        if fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0) {
            let (uid, gid) = postgres_user();
            chown(&folder, Some(uid), Some(gid)).unwrap();
            shell.uid(uid).gid(gid);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The read ends when the last process that holds the other end of the pipe is gone: this one.
        let script = r#"
            "$BIN/initdb" -D "$DIR/data" -U postgres -A trust --no-sync --locale=C -E UTF8 >"$DIR/log" 2>&1 &&
            "$BIN/pg_ctl" -D "$DIR/data" -w -t 60 -l "$DIR/log" \
                -o "$OPTIONS -c listen_addresses=127.0.0.1 -c port=$PORT -c unix_socket_directories=$DIR" \
                start >>"$DIR/log" 2>&1 </dev/null && echo ready || { cat "$DIR/log"; rm -rf "$DIR"; exit 1; }
            trap '' INT TERM HUP
            cat >/dev/null
            "$BIN/pg_ctl" -D "$DIR/data" -m immediate stop >/dev/null 2>&1
            rm -rf "$DIR"
        "#;
        shell.args(["-c", script]).env("BIN", binaries()).env("DIR", &folder).env("OPTIONS", FAST);
        shell.env("PORT", port.to_string()).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C at the terminal ends the tests, and then the shell does its work.
        let mut shell = shell.process_group(0).spawn().unwrap();
        let said: Vec<String> = BufReader::new(shell.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .take_while(|line| line != "ready")
            .collect();
        let failed = shell.try_wait().unwrap().is_some_and(|status| !status.success());
        assert!(!failed, "PostgreSQL did not start:\n{}", said.join("\n"));
        let settings = PostgresSettings {
            host: "127.0.0.1".into(),
            port,
            user: "postgres".into(),
            password: None,
            database: "postgres".into(),
            ssl_mode: "disable".into(),
        };
        Self { settings, _shell: Some(shell) }
    }
}

/// The newest installation of a server.
fn binaries() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let mut installed: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
            .collect();
        installed.sort();
        folders.extend(installed.into_iter().rev().map(|(_, path)| path));
        folders
            .into_iter()
            .find(|folder| folder.join("initdb").exists() && folder.join("psql").exists())
            .unwrap_or_else(|| {
                panic!("no PostgreSQL server is installed: install it (Debian: postgresql), or set {URL}")
            })
    })
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let fields: Vec<&str> = user.expect("the package of PostgreSQL makes the user postgres").split(':').collect();
    (fields[1].parse().unwrap(), fields[2].parse().unwrap())
}

fn parse(url: &str) -> PostgresSettings {
    try_parse(url).unwrap_or_else(|| panic!("{URL} is not postgres://user[:password]@host[:port]/database"))
}

fn try_parse(url: &str) -> Option<PostgresSettings> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let (who, place) = rest.split_once('@')?;
    let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
    let (server, database) = place.split_once('/')?;
    let (host, port) = server.split_once(':').unwrap_or((server, "5432"));
    Some(PostgresSettings {
        host: host.into(),
        port: port.parse().ok()?,
        user: user.into(),
        password: password.map(Secret::new),
        database: database.into(),
        ssl_mode: "prefer".into(),
    })
}
