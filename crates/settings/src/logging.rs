//! Structured logs: to standard error, plain for people or JSON for machines.

use tracing_subscriber::EnvFilter;

/// Sets `tracing` up once for a process. `RUST_LOG` wins over `LOG_LEVEL`, which defaults to `info`;
/// `LOG_FORMAT=json` writes a JSON object a line.
pub fn init() {
    // The S3 layer calls every 404 an error; what does go wrong there, our server says itself.
    let by_level = || format!("{},s3s=off", std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".into()));
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| by_level());
    let filter =
        EnvFilter::try_new(directives.to_lowercase()).unwrap_or_else(|_| EnvFilter::new("info,s3s=off"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let done = if std::env::var("LOG_FORMAT").is_ok_and(|f| f == "json") {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    if let Err(error) = done {
        tracing::debug!(%error, "logging was set up before");
    }
}
