//! Structured logs on stderr, as text or JSON, with a level that SIGHUP can change.

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, reload};

use crate::settings::Settings;

/// Changes the level of the logs while arcad runs.
pub(crate) struct Level(Box<dyn Fn(Targets) + Send + Sync>);

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Level")
    }
}

impl Level {
    /// Applies the level that the settings ask for.
    pub(crate) fn apply(&self, settings: &Settings) {
        (self.0)(targets(settings));
    }
}

/// Starts logging.
pub(crate) fn start(settings: &Settings) -> Level {
    let (filter, handle) = reload::Layer::new(targets(settings));
    tracing_subscriber::registry()
        .with(output(settings).with_filter(filter))
        .init();
    Level(Box::new(move |targets| {
        if let Err(error) = handle.reload(targets) {
            tracing::warn!(%error, "the log level was not changed");
        }
    }))
}

fn output<S>(settings: &Settings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let plain = settings.raw_logs || !std::io::IsTerminal::is_terminal(&std::io::stderr());
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(!plain);
    if settings.log_format == "json" {
        layer.json().boxed()
    } else {
        layer.boxed()
    }
}

/// Our own crates at the level asked for; libraries only when something is wrong.
fn targets(settings: &Settings) -> Targets {
    let level = if settings.debug {
        LevelFilter::DEBUG
    } else {
        match settings.log_level.as_str() {
            "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "warn" => LevelFilter::WARN,
            "error" | "fatal" | "panic" => LevelFilter::ERROR,
            _ => LevelFilter::INFO,
        }
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("arca", level)
}
