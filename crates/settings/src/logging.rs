//! Structured logs: to standard error, plain for people or JSON for machines.

use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::{Identity, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// Sets `tracing` up once for a process. `RUST_LOG` wins over `LOG_LEVEL`, which defaults to `info`;
/// `LOG_FORMAT=json` writes a JSON object a line.
pub fn init() {
    init_with(Identity::new());
}

/// The same with a further layer, which sees what the level lets through, and spans from `info` on in any case.
pub fn init_with(layer: impl Layer<Registry> + Send + Sync) {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let print = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let print: Box<dyn Layer<_> + Send + Sync> = if std::env::var("LOG_FORMAT").is_ok_and(|f| f == "json") {
        print.json().with_filter(levels()).boxed()
    } else {
        print.with_ansi(terminal).with_filter(levels()).boxed()
    };
    let further =
        layer.with_filter(filter_fn(|metadata| metadata.is_span() && *metadata.level() <= Level::INFO).or(levels()));
    if let Err(error) = tracing_subscriber::registry().with(further).with(print).try_init() {
        tracing::debug!(%error, "logging was set up before");
    }
}

fn levels() -> EnvFilter {
    // The S3 layer calls every 404 an error; what does go wrong there, our server says itself.
    let by_level = || format!("{},s3s=off", std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".into()));
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| by_level());
    EnvFilter::try_new(directives.to_lowercase()).unwrap_or_else(|_| EnvFilter::new("info,s3s=off"))
}
