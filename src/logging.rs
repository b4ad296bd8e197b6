//! The process' own log: to standard error, for people or as JSON lines. Access lines go to
//! standard output or a file, by the data path's own writer.

use anyhow::Context;
use std::{fs::OpenOptions, io::IsTerminal};
use tidegate_config::{AccessLog as Destination, Log, LogFormat, LogLevel};
use tidegate_proxy::{AccessFormat, AccessLog};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Starts the log. `RUST_LOG` refines the document's level.
pub(crate) fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // What libraries tell at `warn` a client can cause at will; at `debug` we want to see it.
    let others = if level == "debug" || level == "trace" { "info" } else { "error" };
    let default = format!("{others},tidegate={level}");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let human = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colours);
    let started = match log.format {
        LogFormat::Human => registry.with(human).try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
    };
    if let Err(error) = started {
        eprintln!("tidegate: the log cannot be started: {error}");
    }
}

/// Opens the access log.
pub(crate) fn access(log: &Log) -> anyhow::Result<Option<AccessLog>> {
    let format = match log.format {
        LogFormat::Human => AccessFormat::Human,
        LogFormat::Json => AccessFormat::Json,
    };
    Ok(match &log.access {
        Destination::Off => None,
        Destination::Stdout => Some(AccessLog::new(format, std::io::stdout())),
        Destination::File(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.with_context(|| format!("log.access: `{}`", path.display()))?;
            Some(AccessLog::new(format, file))
        }
    })
}
